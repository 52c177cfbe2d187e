"""The kinds of stages that a plan knows, each with what it does."""

from collections.abc import Callable
from typing import Any

from puna.scaling.recipe import documents, models
from puna.scaling.recipe.effort import Effort
from puna.scaling.recipe.volume import Volume, together
from puna.scaling.recipe.work import PROCESS, START_SECONDS, Given, Unknown, Work

_FILTER_SECONDS = 3.5e-4  # a document; set on one lap of recipes/nano.yaml, as those of documents.py


def _nothing(config: Any, given: Given) -> Work:
    try:
        passed = together(given.of(name) for name in given.names())
    except Unknown:
        passed = Volume()
    return Work(Effort(alone=START_SECONDS), PROCESS, {"": passed})


WORK: dict[str, Callable[[Any, Given], Work]] = {
    "world": documents.world,
    "pollute": _nothing,
    "languages": documents.languages,
    "thresholds": _nothing,
    "curate": documents.curate,
    "embed": documents.over_documents(2e-3),
    "semantic-dedup": documents.over_documents(4e-4, kept=0.98),
    "label": documents.label,
    "label-model": documents.label,
    "classify": documents.classify,
    "filter": documents.over_documents(_FILTER_SECONDS, kept=0.98),
    "tokenizer": documents.tokenizer,
    "tokens": documents.tokens,
    "needles": documents.needles,
    "mix": documents.mix,
    "mix-search": models.mix_search,
    "ladder": models.ladder,
    "evaluate-ladder": models.evaluate_ladder,
    "forecast": _nothing,
    "compare-forecasts": _nothing,
    "pretrain": models.pretrain,
    "extend": models.extend,
    "sft": models.sft,
    "reward": models.reward,
    "generate": models.generate,
    "judge": models.judge,
    "annotate": models.annotate,
    "select": models.select,
    "dpo": models.dpo,
    "ppo": models.ppo,
    "keep": models.keep,
    "baselines": documents.baselines,
    "evaluate": models.evaluate,
    "export": models.export,
}

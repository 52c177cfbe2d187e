"""What a recipe says of a task, and what a task gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic

from puna.base.config import Config
from puna.evals.items import ItemResult, Score
from puna.evals.statistics import wilson_interval
from puna.needle.plant import NeedleConfig

_USES = {
    "exam": {"normalise", "max_tokens", "file", "written"},
    "mmlu": {"shots", "max_tokens"},
    "gsm8k": {"shots", "max_tokens"},
    "bits_per_byte": {"window"},
    "samples": {"file", "samples", "temperature", "max_tokens"},
    "needle": {"lengths", "depths", "per_depth", "needles"},
}

DEPTHS = tuple(tenth / 10 for tenth in range(11))


class TaskConfig(Config):
    """One task of an evaluation. A setting that its kind does not use is refused.

    input: name of the stage's input with its files. limit: that many items, chosen by hash, the same for every model.
    shots: worked examples before the question; fewer where the context is too short. normalise: what a base model's
    log P of an option is divided by. max_tokens: of a generated answer. window: tokens seen at once for bits per byte
    (0: the model's context). file: the exam's name, where the task has another. written: a
    base model writes its choice with the options before it, as a chat model does, instead of the likeliest option
    being taken: what fine-tuning gained is measured on the same task only so. samples, temperature: answers drawn for
    each item, for pass@k. lengths: tokens of texts with a needle (none: the model's context), `per_depth` of them with
    the needle at each of `depths`, a share of the text.
    """

    name: str = pydantic.Field(min_length=1, pattern=r"^[\w.-]+$")
    kind: Literal["exam", "mmlu", "gsm8k", "bits_per_byte", "samples", "needle"]
    input: str
    limit: int = pydantic.Field(0, ge=0)
    shots: int = pydantic.Field(0, ge=0)
    headline: bool = False
    normalise: Literal["bytes", "tokens", "none"] = "bytes"
    max_tokens: int = pydantic.Field(128, ge=1)
    window: int = pydantic.Field(0, ge=0)
    file: str = ""
    written: bool = False
    samples: int = pydantic.Field(16, ge=1)
    temperature: float = pydantic.Field(1.0, gt=0)
    lengths: tuple[Annotated[int, pydantic.Field(ge=16)], ...] = ()
    depths: tuple[Annotated[float, pydantic.Field(ge=0, le=1)], ...] = pydantic.Field(DEPTHS, min_length=1)
    per_depth: int = pydantic.Field(20, ge=1)
    needles: NeedleConfig = pydantic.Field(default_factory=NeedleConfig)

    @pydantic.model_validator(mode="after")
    def _refuse_unused(self) -> "TaskConfig":
        unused = set().union(*_USES.values()) - _USES[self.kind]
        wrong = sorted(unused & self.model_fields_set)
        if wrong:
            raise ValueError(f"no {', '.join(wrong)} for a task of the kind {self.kind}, which does not use it")
        return self


@dataclass(frozen=True)
class TaskResult:
    """Every item's result, and the scores that follow from them; the first score is the task's main one."""

    items: list[ItemResult]
    scores: list[Score]


def accuracy(task: str, items: Sequence[ItemResult], metric: str = "accuracy", **settings: Any) -> Score:
    """The share of right answers with Wilson's interval."""
    num_right = sum(item.verdict == "correct" for item in items)
    return Score(task, metric, num_right / len(items), wilson_interval(num_right, len(items)), len(items), settings)

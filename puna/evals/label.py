"""The stage `label-model`: one of our own models as the labeller of documents; labels as those of the stage `label`.

A model that cannot follow the rubric's form can still choose: `choose` takes of every answer that the rubric allows the
one that the model finds likeliest, so that all documents get labels, however bad.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from puna.base.config import Config, Hardware
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.curate.classify.asking import Ask, ask_all
from puna.curate.classify.label import Sample, choose, show
from puna.curate.classify.labels import LABELS_FILE, read_labels, write_labels
from puna.curate.classify.rubric import TOP_QUALITY, Rubric
from puna.engine import Engine, SamplingParams
from puna.evals.candidate import Candidate
from puna.model import load_model
from puna.tokenizer import Tokenizer


class LabelModelConfig(Config):
    """form: whether the model writes its answer (greedily, at most max_tokens), or its likeliest one is chosen.

    style: whether it is asked in a dialog or, a base model, with the text of the rubric. name: of the labeller.
    """

    name: str = "model"
    style: Literal["base", "chat"] = "chat"
    form: Literal["write", "choose"] = "write"
    sample: Sample = Sample()
    rubric: Rubric = Rubric()
    max_tokens: int = Field(default=32, ge=1)
    max_batch: Annotated[int, Hardware] = Field(default=64, ge=1)


def run(config: LabelModelConfig, inputs: Inputs, out: StageOutput) -> None:
    """Label documents. Inputs: `documents` (a curate stage), `model`; `beside`: labels to compare with."""
    if not out.done(LABELS_FILE):
        documents = choose(inputs.one("documents"), config.sample, out.seed)
        prepare_machine(out.threads)
        tokenizer = Tokenizer.load(inputs.one("model"))
        engine = Engine(load_model(inputs.one("model")), tokenizer, config.max_batch, out.threads)
        ask = labeller(Candidate(engine, tokenizer, config.style), config)
        state = out.state / "answers.jsonl"
        labels = ask_all(
            documents,
            config.rubric,
            ask,
            config.name,
            state,
            config.max_batch,
            lambda done, total: out.progress(done, total, "documents"),
        )
        with out.unit(LABELS_FILE) as unit:
            write_labels(unit.path, labels)
    show(read_labels(out.path), inputs, out)


def labeller(candidate: Candidate, config: LabelModelConfig) -> Ask:
    """A callable that asks the candidate; the answer to a prompt that its context has no room for is empty."""
    answer = {"write": _write, "choose": _choose}[config.form]

    def ask(prompts: Sequence[str]) -> Iterator[str]:
        encode = candidate.encode_dialog if config.style == "chat" else candidate.encode
        ids = [encode(prompt) for prompt in prompts]
        fit = [row for row, one in enumerate(ids) if len(one) + config.max_tokens <= candidate.context]
        answers = dict(zip(fit, answer(candidate, [ids[row] for row in fit], config), strict=True))
        yield from (answers.get(row, "") for row in range(len(prompts)))

    return ask


def _write(candidate: Candidate, prompts: Sequence[list[int]], config: LabelModelConfig) -> list[str]:
    params = SamplingParams(max_tokens=config.max_tokens, temperature=0.0)
    return [one.text for one in candidate.engine.generate(prompts, params)]


def _choose(candidate: Candidate, prompts: Sequence[list[int]], config: LabelModelConfig) -> list[str]:
    """The likeliest answer to each question by itself, per byte, written as the rubric wants it."""
    scale = {
        "Quality": [str(score) for score in range(TOP_QUALITY + 1)],
        "Domain": list(config.rubric.domains),
        "Toxic": ["yes", "no"],
    }
    lines: list[list[str]] = [[] for _ in prompts]
    for question, values in scale.items():
        texts = [f"{question}: {value}" for value in values]
        ids = [candidate.tokenizer.encode(text) for text in texts]
        pairs = [(prompt, one) for prompt in prompts for one in ids]
        scores = iter(candidate.engine.score([prompt for prompt, _ in pairs], [one for _, one in pairs]))
        for mine in lines:
            likelihoods = [float(next(scores).sum()) / len(text.encode()) for text in texts]
            mine.append(texts[likelihoods.index(max(likelihoods))])
    return ["\n".join(mine) for mine in lines]

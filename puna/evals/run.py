"""The stage `evaluate`: a model answers tasks; scores.json and items.parquet, and panels for the report.

Each task is a unit that a killed run need not make again.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from puna.base.config import Config, Hardware
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.base.rng import hash64
from puna.engine import Engine
from puna.evals.candidate import Candidate
from puna.evals.foretold import Foretold
from puna.evals.items import ItemResult, read_results, write_results
from puna.evals.publish import publish, scores_table
from puna.evals.statistics import wilson_interval
from puna.evals.tasks import bits_per_byte, exam, gsm8k, mmlu, needle, samples
from puna.evals.tasks.spec import TaskConfig, TaskResult
from puna.model import load_model
from puna.tokenizer import Tokenizer

TASKS: dict[str, Callable[[TaskConfig, Sequence[Path], Candidate], TaskResult]] = {
    "exam": exam.evaluate,
    "mmlu": mmlu.evaluate,
    "gsm8k": gsm8k.evaluate,
    "bits_per_byte": bits_per_byte.evaluate,
    "samples": samples.evaluate,
    "needle": needle.evaluate,
}


class EvaluateConfig(Config):
    """Tasks of an evaluation. style: whether the model goes on with text (base) or speaks in dialogs (chat).

    samples: items shown in the report, the same ones for every model. max_batch: sequences computed at once.
    """

    tasks: list[TaskConfig] = pydantic.Field(min_length=1)
    style: Literal["base", "chat"] = "base"
    samples: int = pydantic.Field(8, ge=0)
    max_batch: Annotated[int, Hardware] = pydantic.Field(256, ge=1)

    @pydantic.field_validator("tasks")
    @classmethod
    def _names_differ(cls, tasks: list[TaskConfig]) -> list[TaskConfig]:
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError("a name of its own for each task")
        return tasks


def run(config: EvaluateConfig, inputs: Inputs, out: StageOutput) -> None:
    """model and the tasks' inputs -> scores.json, items.parquet, tasks/NAME.parquet.

    With an input `reference`, tasks that sample also measure the KL divergence from that model. With an input
    `forecast`, what was foretold of the tasks is shown beside what came.
    """
    foretold = None
    if inputs.has("forecast"):
        foretold = Foretold.load(inputs.one("forecast"), inputs.one("model"), config.style, config.tasks)
    for task in config.tasks:
        inputs.many(task.input)  # a missing input is told before the first task has run
    loaded = _Loaded(config, inputs, out)
    results: dict[str, list[ItemResult]] = {}
    for number, task in enumerate(config.tasks):
        name = f"tasks/{task.name}.parquet"
        if not out.done(name):
            loaded.candidate.on_progress = _progress(out, number, len(config.tasks), task.name)
            with out.unit(name) as unit:
                result = TASKS[task.kind](task, inputs.many(task.input), loaded.candidate)
                write_results(unit.path, result.items)
                unit.info["scores"] = [asdict(score) for score in result.scores]
        results[task.name] = read_results(out.path / name)
        out.progress(number + 1, len(config.tasks), "tasks")
    scores = [
        {**score, "headline": task.headline and i == 0}
        for task in config.tasks
        for i, score in enumerate(out.info(f"tasks/{task.name}.parquet")["scores"])
    ]
    publish(scores, [item for items in results.values() for item in items], out)
    _panels(config, scores, results, out)
    if foretold:
        foretold.show(results, out)


class _Loaded:
    """The model, loaded when the first unfinished task asks for it."""

    def __init__(self, config: EvaluateConfig, inputs: Inputs, out: StageOutput) -> None:
        self.config, self.inputs, self.out = config, inputs, out

    @cached_property
    def candidate(self) -> Candidate:
        prepare_machine(self.out.threads)
        folder = self.inputs.one("model")
        tokenizer = Tokenizer.load(folder)
        engine = Engine(load_model(folder), tokenizer, self.config.max_batch, self.out.threads)
        candidate = Candidate(engine, tokenizer, self.config.style)
        if self.inputs.has("reference"):
            other = load_model(self.inputs.one("reference"))
            candidate.reference = Engine(other, tokenizer, self.config.max_batch, self.out.threads)
        return candidate


def _progress(out: StageOutput, number: int, num_tasks: int, name: str) -> Callable[[int, int], None]:
    return lambda done, total: out.progress(number + done / total, num_tasks, "tasks", task=name)


def _panels(
    config: EvaluateConfig, scores: Sequence[dict[str, Any]], results: dict[str, list[ItemResult]], out: StageOutput
) -> None:
    scores_table(scores, out)
    kinds = {task.name: task.kind for task in config.tasks}
    judged = {name: items for name, items in results.items() if kinds[name] not in ("bits_per_byte", "samples")}
    for name, items in judged.items():
        if kinds[name] == "needle":
            out.panels.append(needle.panel(items, f"{name}: found by length and depth"))
            continue
        bars = _subject_bars(items)
        if len(bars) > 1:
            out.panel("bars", f"{name} by subject", unit="share right", items=bars)
    samples = sample_items(judged, config.samples)
    if samples:
        shown = [
            {"id": s.id, "prompt": s.prompt, "answer": s.output, "expected": s.expected, "verdict": s.verdict}
            for s in samples
        ]
        out.panel("samples", "Sample answers", items=shown)


def _subject_bars(items: Sequence[ItemResult]) -> list[dict[str, Any]]:
    by_subject: dict[str, list[float]] = {}
    for item in items:
        by_subject.setdefault(item.subject or "all", []).append(item.value)
    bars = []
    for subject, values in sorted(by_subject.items()):
        low, high = wilson_interval(int(sum(values)), len(values))
        bars.append({"label": subject, "value": sum(values) / len(values), "low": low, "high": high})
    return bars


def sample_items(results: dict[str, list[ItemResult]], num_samples: int) -> list[ItemResult]:
    """Items to look at, in turn from each task, chosen by the hash of their id: the same whatever a model answered.

    If it got all of these right, its first two failures are added: a reader wants to see them too.
    """
    ranked = [sorted(items, key=lambda item: hash64(0, "sample", item.id)) for items in results.values()]
    rounds = max((len(items) for items in ranked), default=0)
    in_turn = [items[i] for i in range(rounds) for items in ranked if i < len(items)]
    chosen = in_turn[:num_samples]
    if chosen and all(item.verdict == "correct" for item in chosen):
        chosen += [item for item in in_turn if item.verdict != "correct"][:2]
    return chosen

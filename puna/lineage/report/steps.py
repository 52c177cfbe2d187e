"""The steps of the lap on one task: which model each evaluation measured, and what it gained over the one that stood.

A step stands until a later one takes its place. A round that was rolled back is a step that never stood: the lap went
on from the model before it, so the next step counts from there too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from puna.lineage.report.compare import mover_interval
from puna.lineage.report.formats import is_proportion, lower_is_better

Stages = Mapping[str, Mapping[str, Any]]
FEW = 2  # steps of a task that are shown as points


@dataclass(frozen=True)
class Step:
    """One model on one task. `rise` is its score less that of the step that stood before; `undone` the metrics of the
    `keep` stage that rolled it back; `also` what tells it from another step of the same model."""

    label: str
    score: Mapping[str, Any]
    rise: float | None = None
    rise_ci95: tuple[float, float] | None = None
    undone: Mapping[str, Any] | None = None
    also: str | None = None

    @property
    def stands(self) -> bool:
        """Whether the lap went on from this model."""
        return self.undone is None

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval of the rise leaves out 0, else `open`."""
        if self.rise is None or self.rise_ci95 is None or self.rise_ci95[0] <= 0 <= self.rise_ci95[1]:
            return "open"
        return "better" if (self.rise > 0) != lower_is_better(self.score["metric"]) else "worse"

    @property
    def rise_text(self) -> str:
        """`+3.1` in points of percent for shares, `-0.0312` otherwise."""
        return format_rise(self.score["metric"], self.rise)


def lap_steps(scores: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> list[Step]:
    """The steps that a task's scores make, in the order of the lap; scores without a value are left out."""
    stages = {stage["name"]: stage for stage in report["stages"]}
    rolled_back = rollbacks(report)
    seen: list[tuple[Any, ...]] = []
    steps: list[Step] = []
    standing: Step | None = None
    for score in scores:
        model = model_of(score["stage"], stages)
        key = (model, score["metric"], score["settings"])
        if score["value"] is None or key in seen:
            continue
        twice = any(model == other for other, _, _ in seen)
        seen.append(key)
        undone = rolled_back.get(model) or rolled_back.get(score["stage"])
        rise, ci95 = difference(standing.score if standing else None, score)
        step = Step(model, score, rise, ci95, undone, score["stage"] if twice else None)
        steps.append(step)
        standing = step if step.stands else standing
    return steps


def is_climb(steps: Sequence[Step]) -> bool:
    """Whether a task's steps are shown as a staircase: there are more than a few, or one was rolled back."""
    return len(steps) > FEW or not all(step.stands for step in steps)


def difference(
    before: Mapping[str, Any] | None, score: Mapping[str, Any]
) -> tuple[float | None, tuple[float, float] | None]:
    """score less before, with its interval (items taken as unpaired: conservative); None without a like before it."""
    if before is None or before["metric"] != score["metric"]:
        return None, None
    rise = score["value"] - before["value"]
    if not before["ci95"] or not score["ci95"]:
        return rise, None
    return rise, mover_interval(before["value"], before["ci95"], score["value"], score["ci95"])


def format_rise(metric: str, rise: float | None) -> str:
    """A difference with its sign; nothing for None."""
    if rise is None:
        return ""
    scale, digits = (100, 1) if is_proportion(metric) else (1, 3)
    return f"{scale * rise:+.{digits}f}".replace("-", "\u2212")


def measured_model(stage: Mapping[str, Any]) -> str | None:
    """The stage whose model a stage measured, if it read one."""
    return next(iter(sources(stage, "model")), None)


def model_of(name: str, stages: Stages) -> str:
    """The stage that made the model which stage `name` measured; the stage itself if it read none from the lap.

    What a round kept is the model that the round made, under another name.
    """
    model = measured_model(stages[name]) or name
    while is_keep(stages.get(model)) and stages[model]["metrics"].get("kept"):
        made = next(iter(sources(stages[model], "after")), None)
        if made is None:
            break
        model = made
    return model


def rollbacks(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The metrics of each `keep` stage that rolled back: under its own name, its model's and its evaluations'."""
    found: dict[str, Mapping[str, Any]] = {}
    for stage in report["stages"]:
        if is_keep(stage) and stage["metrics"].get("kept") == 0:
            names = [stage["name"], *sources(stage, "after"), *sources(stage, "scores_after")]
            found |= dict.fromkeys(names, stage["metrics"])
    return found


def is_keep(stage: Mapping[str, Any] | None) -> bool:
    """Whether a stage decides if a round's model stays."""
    return stage is not None and stage["kind"] == "keep"


def sources(stage: Mapping[str, Any], name: str) -> list[str]:
    """The stages that an input of a stage came from."""
    return [source["stage"] for source in (stage["inputs"] or {}).get(name) or () if source.get("stage")]

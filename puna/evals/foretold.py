"""What the stage `forecast` wrote of a model's exams, beside what came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json
from puna.base.output import StageOutput
from puna.evals.items import ItemResult
from puna.evals.likelihood import how_asked, measure_choices
from puna.evals.tasks.spec import TaskConfig
from puna.model.convert.huggingface import read_config


@dataclass(frozen=True)
class Foretold:
    """By task: likelihood and accuracy with their intervals, or `why` not."""

    tasks: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, place: Path, model: Path, style: str, tasks: Sequence[TaskConfig]) -> "Foretold":
        """The tasks of a forecast (an artifact or a forecast.json) that are asked of `model`.

        Raises DataError if it is no forecast of exams; ConfigError if it is of another size or none of its tasks is
        asked as the ladder's models were.
        """
        path = place / "forecast.json" if place.is_dir() else place
        made = read_json(path) if path.is_file() else {}
        if not made.get("tasks"):
            raise DataError(f"expected a forecast of exams at {place}, came none; give `forecast` the input exams")
        parameters = read_config(model).num_met_parameters()
        if made["parameters"] != parameters:
            raise ConfigError(
                f"{place}: expected a forecast of this model, of {parameters:,} parameters, came one of "
                f"{made['parameters']:,}"
            )
        asked = {task.name: how_asked(task) for task in tasks} if style == "base" else {}
        alike = {name: one for name, one in made["tasks"].items() if asked.get(name) == one["settings"]}
        if not alike:
            raise ConfigError(
                f"{place}: expected a task that is asked here as of the ladder's models ({', '.join(made['tasks'])}, "
                "style base, the same settings), came none"
            )
        return cls(alike)

    def show(self, results: Mapping[str, Sequence[ItemResult]], out: StageOutput) -> None:
        """Metrics and a table of what was foretold and what came."""
        rows = []
        for name, one in self.tasks.items():
            came = measure_choices(name, results[name])
            if "why" in one:
                rows.append([name, round(one["chance"], 3), one["why"], round(came.nats_per_byte, 4), "",
                             round(came.accuracy, 4), ""])  # fmt: skip
                continue
            low, high = one["accuracy_interval"]
            inside = low <= came.accuracy <= high
            ends = [_with_ends(one[what], one[f"{what}_interval"]) for what in ("likelihood", "accuracy")]
            rows.append([name, round(one["chance"], 3), ends[0], round(came.nats_per_byte, 4), ends[1],
                         round(came.accuracy, 4), "inside" if inside else "outside"])  # fmt: skip
            numbers = {"predicted_accuracy": one["accuracy"], "predicted_low": low, "predicted_high": high}
            numbers |= {"predicted_nats_per_byte": one["likelihood"], "nats_per_byte": came.nats_per_byte}
            numbers["accuracy_inside"] = float(inside)
            out.metric(**{f"{name}/{what}": value for what, value in numbers.items()})
        columns = ["task", "chance", "nats a byte foretold", "came", "accuracy foretold", "came", "95% interval"]
        note = "nats a byte of the right answer; foretold from the ladder's models before this one was trained"
        out.panel("table", "Exams foretold and what came", columns=columns, rows=rows, note=note)


def _with_ends(value: float, ends: Sequence[float]) -> str:
    return f"{value:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"

"""The stage `evaluate-ladder`: exams for every model of a ladder -> likelihoods of right answers and accuracies.

Pretraining knows no exams; the ladder keeps its models (`keep_models`), and here they are asked.

runs/NAME.json     one model's tasks, a unit
downstream.json    tasks, how they were asked, what guessing gives, and every run's measures: an input of `forecast`
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pydantic

from puna.base.config import Config, Hardware
from puna.base.errors import DataError
from puna.base.files import read_json, write_json
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.engine import Engine
from puna.evals.candidate import Candidate
from puna.evals.likelihood import how_asked, measure_choices
from puna.evals.run import TASKS
from puna.evals.tasks.spec import TaskConfig
from puna.model import load_model
from puna.tokenizer import Tokenizer


class EvaluateLadderConfig(Config):
    """Tasks of several choices, as the stage `evaluate` has them; max_batch: sequences computed at once."""

    tasks: list[TaskConfig] = pydantic.Field(min_length=1)
    max_batch: Annotated[int, Hardware] = pydantic.Field(256, ge=1)

    @pydantic.field_validator("tasks")
    @classmethod
    def _are_choices(cls, tasks: list[TaskConfig]) -> list[TaskConfig]:
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError("a name of its own for each task")
        for task in tasks:
            if task.kind not in ("exam", "mmlu") or task.written:
                raise ValueError(f"tasks of several choices (exam or mmlu, not written), came {task.name}")
        return tasks


def run(config: EvaluateLadderConfig, inputs: Inputs, out: StageOutput) -> None:
    """`ladder` and the tasks' inputs -> downstream.json. Raises DataError if the ladder kept no models, or a task has
    items without choices.
    """
    place = inputs.one("ladder")
    for task in config.tasks:
        inputs.many(task.input)  # a missing input is told before the first task has run
    rows = read_json(place / "ladder.json")["runs"]
    for number, row in enumerate(rows):
        file = f"runs/{row['name']}.json"
        if not out.done(file):
            out.progress(number, len(rows), "models")
            measured = _measured(config, inputs, place / "models" / row["name"], out.threads)
            with out.unit(file) as unit:
                write_json(unit.path, measured)
    results = [read_json(out.path / "runs" / f"{row['name']}.json") for row in rows]
    tasks = {task.name: _described(task, results) for task in config.tasks}
    runs = [
        {what: row[what] for what in ("name", "parameters", "tokens")} | {"tasks": own}
        for row, own in zip(rows, results, strict=True)
    ]
    if not out.done("downstream.json"):
        with out.unit("downstream.json") as unit:
            write_json(unit.path, {"tasks": tasks, "runs": runs})
    out.metric(num_runs=len(rows))
    columns = ["run", *(f"{name}, {what}" for name in tasks for what in ("nats a byte", "accuracy"))]
    cells = [
        [row["name"], *(round(row["tasks"][name][what], 3) for name in tasks for what in ("nats_per_byte", "accuracy"))]
        for row in runs
    ]
    note = "chance: " + ", ".join(f"{name} {task['chance']:.3f}" for name, task in tasks.items())
    out.panel("table", "Exams of the ladder", columns=columns, rows=cells, note=note)


def _measured(config: EvaluateLadderConfig, inputs: Inputs, folder: Path, threads: int) -> dict[str, Any]:
    if not folder.is_dir():
        raise DataError(f"expected the model of a run at {folder}, came none; set keep_models of the ladder to true")
    prepare_machine(threads)
    tokenizer = Tokenizer.load(folder)
    candidate = Candidate(Engine(load_model(folder), tokenizer, config.max_batch, threads), tokenizer, "base")
    return {
        task.name: asdict(measure_choices(task.name, TASKS[task.kind](task, inputs.many(task.input), candidate).items))
        for task in config.tasks
    }


def _described(task: TaskConfig, results: list[dict[str, Any]]) -> dict[str, Any]:
    one = results[0][task.name]
    return {"settings": how_asked(task), "chance": one["chance"], "items": one["items"]}

"""What a larger run will score, foretold in two steps from small runs' exams.

First the negative log-likelihood of the right answer, in nats a byte: by a law of parameters and tokens as the loss has
(Bhagia 2024, arXiv 2412.04403), or by a line over log FLOPs (Llama 3, 3.2.1), which takes runs of one compute to be
alike. Then accuracy over it, by a sigmoid from what guessing gives to 1.

P runs, R resamples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json
from puna.base.rng import generator
from puna.scaling.fit.bootstrap import interval
from puna.scaling.fit.downstream import Forecast, fit_forecast
from puna.scaling.fit.parametric import fit_parametric
from puna.scaling.fit.points import Float64
from puna.scaling.law import FLOPS_PER_WEIGHT

FirstStep = Literal["law", "flops"]
_PARAMETERS_OF_LAW, _PARAMETERS_OF_SIGMOID = 5, 2
_DRAWS = 10
"""Of a single run's scatter, for each resample."""


@dataclass(frozen=True, eq=False)
class TaskRuns:
    """A task's runs: columns [P]. settings: how it was asked; chance: the accuracy of guessing."""

    parameters: Float64
    tokens: Float64
    likelihoods: Float64
    accuracies: Float64
    chance: float
    items: int
    settings: dict[str, Any]

    @property
    def flops(self) -> Float64:
        """6 N D."""
        return FLOPS_PER_WEIGHT * self.parameters * self.tokens


def read_tasks(places: list[Path]) -> dict[str, TaskRuns]:
    """Tasks by name, from artifacts of the stage `evaluate-ladder` (of several seeds) or their downstream.json.

    Raises DataError for a place that has none, or tasks that were not asked alike.
    """
    found = []
    for place in places:
        path = place / "downstream.json" if place.is_dir() else place
        if not path.is_file():
            raise DataError(
                f"expected exams of a ladder or their downstream.json at {place}, came none; run a stage of kind "
                "evaluate-ladder"
            )
        found.append(read_json(path))
    described = [{name: task["settings"] for name, task in one["tasks"].items()} for one in found]
    if any(one != described[0] for one in described):
        raise DataError("expected the same tasks with the same settings of every ladder, came different ones")
    return {name: _task_runs(name, found) for name in described[0]}


def foretell(
    runs: TaskRuns, parameters: float, tokens: float, first_step: FirstStep = "law", resamples: int = 400, seed: int = 0
) -> dict[str, Any]:
    """Likelihood and accuracy of a run of `parameters` on `tokens`, each with a 95% interval for a single run.

    The interval joins how far both steps would move with other runs and how far runs lie from them. Raises DataError
    or ConfigError where the runs allow no fit.
    """
    seen = (runs.likelihoods, runs.accuracies)
    fit = fit_forecast(runs.flops, runs.likelihoods, *seen, chance=runs.chance, resamples=resamples, seed=seed)
    rng = generator(seed, "scatter", len(runs.flops))
    likelihood, likelihoods = _FIRST_STEPS[first_step](runs, fit, parameters, tokens, resamples, seed, rng)
    weights, biases = fit.samples[:, 2:].T
    shares = (1 + np.tanh((weights * likelihoods + biases) / 2)) / 2
    left = runs.accuracies - fit.sigmoid.at(runs.likelihoods[:, None])
    accuracies = runs.chance + (1 - runs.chance) * shares + _scatter(left, _PARAMETERS_OF_SIGMOID, rng, resamples)
    return {
        "likelihood": likelihood,
        "likelihood_interval": list(interval(likelihoods.ravel())),
        "accuracy": float(fit.sigmoid.at(np.array([likelihood]))),
        "accuracy_interval": list(interval(np.clip(accuracies, 0.0, 1.0).ravel())),
        "chance": runs.chance,
        "items": runs.items,
        "runs": len(runs.flops),
        "settings": runs.settings,
        "sigmoid": {"weight": float(fit.sigmoid.weights[0]), "bias": fit.sigmoid.bias},
    }


def foretell_all(
    tasks: dict[str, TaskRuns], parameters: float, tokens: float, first_step: FirstStep, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Every task's forecast; of one whose runs allow no fit, `why` not: the others stand without it."""
    made: dict[str, dict[str, Any]] = {}
    for name, runs in tasks.items():
        try:
            made[name] = foretell(runs, parameters, tokens, first_step, resamples, seed)
        except (DataError, ConfigError) as error:
            made[name] = {"why": str(error), "chance": runs.chance, "settings": runs.settings}
    return made


def task_panels(tasks: dict[str, TaskRuns], made: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A table of what is foretold, and for each task accuracy over likelihood."""
    rows, panels = [], []
    for name, one in made.items():
        if "why" in one:
            rows.append([name, round(one["chance"], 3), one["why"], ""])
            continue
        ends = [f"{one[what]:.3f} ({low:.3f} to {high:.3f})" for what in ("likelihood", "accuracy")
                for low, high in [one[f"{what}_interval"]]]  # fmt: skip
        rows.append([name, round(one["chance"], 3), *ends])
        panels.append(_panel(name, tasks[name], one))
    columns = ["task", "chance", "nats a byte of the right answer", "accuracy"]
    note = "of the run that is foretold, with 95% intervals"
    return [{"kind": "table", "title": "Exams foretold", "columns": columns, "rows": rows, "note": note}, *panels]


def _panel(name: str, runs: TaskRuns, one: dict[str, Any]) -> dict[str, Any]:
    order = np.argsort(runs.likelihoods)
    ends = [float(runs.likelihoods.max()), *one["likelihood_interval"]]
    across = np.linspace(min(ends), max(ends), 60)
    logits = one["sigmoid"]["weight"] * across + one["sigmoid"]["bias"]
    curve = runs.chance + (1 - runs.chance) * (1 + np.tanh(logits / 2)) / 2
    series = [
        {"name": "small runs", "x": runs.likelihoods[order].tolist(), "y": runs.accuracies[order].tolist()},
        {"name": "sigmoid", "x": across.tolist(), "y": curve.tolist()},
        {"name": "foretold", "x": [one["likelihood"]], "y": [one["accuracy"]]},
    ]
    labels = {"x_label": "nats a byte of the right answer", "y_label": "accuracy"}
    return {"kind": "lines", "title": f"{name}: accuracy over likelihood", **labels, "series": series}


def _by_law(
    runs: TaskRuns, fit: Forecast, parameters: float, tokens: float, resamples: int, seed: int,
    rng: np.random.Generator,
) -> tuple[float, Float64]:  # fmt: skip
    """E + A / N^alpha + B / D^beta of the likelihoods: what is expected, and draws of single runs."""
    law = fit_parametric(runs.parameters, runs.tokens, runs.likelihoods, resamples=resamples, seed=seed)
    floor, a, alpha, b, beta = law.samples.T
    logs = np.log(floor + a * parameters**-alpha + b * tokens**-beta)
    draws: Float64 = np.exp(logs + _scatter(law.residuals, _PARAMETERS_OF_LAW, rng, resamples))
    return law.law.loss(parameters, tokens), draws


def _by_flops(
    runs: TaskRuns, fit: Forecast, parameters: float, tokens: float, resamples: int, seed: int,
    rng: np.random.Generator,
) -> tuple[float, Float64]:  # fmt: skip
    """A line over log FLOPs: what is expected, and draws of single runs."""
    flops = FLOPS_PER_WEIGHT * parameters * tokens
    lines = fit.samples[:, 0] + fit.samples[:, 1] * math.log10(flops)
    return fit.likelihood(flops), lines + _scatter(fit.line.residuals, 2, rng, resamples)


_FIRST_STEPS: dict[FirstStep, Callable[..., tuple[float, Float64]]] = {"law": _by_law, "flops": _by_flops}


def _scatter(residuals: Float64, fitted: int, rng: np.random.Generator, resamples: int) -> Float64:
    """Draws of a run's distance from a fit with so many `fitted` parameters; Student's t, since runs are few."""
    freedom = max(1, len(residuals) - fitted)
    deviation = math.sqrt(float((residuals**2).sum()) / freedom)
    draws: Float64 = deviation * rng.standard_t(freedom, (_DRAWS, resamples))
    return draws


def _task_runs(name: str, found: list[dict[str, Any]]) -> TaskRuns:
    rows = [row for one in found for row in one["runs"]]
    task = found[0]["tasks"][name]
    measured = [row["tasks"][name] for row in rows]
    return TaskRuns(
        parameters=np.array([row["parameters"] for row in rows], np.float64),
        tokens=np.array([row["tokens"] for row in rows], np.float64),
        likelihoods=np.array([one["nats_per_byte"] for one in measured], np.float64),
        accuracies=np.array([one["accuracy"] for one in measured], np.float64),
        chance=float(np.mean([one["tasks"][name]["chance"] for one in found])),  # of other seeds' items, too
        items=task["items"],
        settings=task["settings"],
    )

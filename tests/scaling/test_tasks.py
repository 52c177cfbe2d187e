"""Exams foretold: on made ladders whose laws are known, what the stage writes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.base.errors import DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.scaling.fit.points import Float64
from puna.scaling.forecast import ForecastConfig, run
from puna.scaling.law import LossLaw
from puna.scaling.tasks import FirstStep, TaskRuns, foretell, foretell_all, read_tasks
from tests.scaling.test_forecast import COUNTS, SIZES
from tests.scaling.test_forecast import ladder as loss_ladder

LAW = LossLaw(floor=0.25, a=9.0, alpha=0.28, b=40.0, beta=0.33)
"""Of nats a byte of the right answer."""
TARGET = (3_000_000, 20_000_000)
CHANCE, ITEMS = 0.25, 500


def accuracy(likelihood: float | Float64) -> Any:
    return CHANCE + (1 - CHANCE) / (1 + np.exp(9 * (np.asarray(likelihood) - 0.85)))


def columns(seed: int = 0, noise: float = 0.0) -> TaskRuns:
    """A ladder: likelihoods by the law with noise, accuracies of so many items drawn at the true rate."""
    draw = np.random.default_rng(seed)
    sizes, counts = (each.ravel() for each in np.meshgrid(SIZES, COUNTS))
    true = np.array([LAW.loss(n, d) for n, d in zip(sizes, counts, strict=True)])
    likelihoods = true * np.exp(noise * draw.standard_normal(len(true)))
    shares = draw.binomial(ITEMS, accuracy(likelihoods)) / ITEMS if noise else accuracy(likelihoods)
    return TaskRuns(sizes.astype(float), counts, likelihoods, shares, CHANCE, ITEMS, {"kind": "exam"})


def test_without_noise_both_steps_are_the_true_ones() -> None:
    made = foretell(columns(), *TARGET, resamples=50)
    true = LAW.loss(*TARGET)
    assert made["likelihood"] == pytest.approx(true, rel=1e-3)
    assert made["accuracy"] == pytest.approx(float(accuracy(true)), abs=1e-3)
    assert made["sigmoid"]["weight"] == pytest.approx(-9, rel=1e-3)


def test_ninety_five_of_a_hundred_runs_fall_into_the_intervals() -> None:
    noise, tries, likelihood_inside, accuracy_inside = 0.02, 40, 0, 0
    for seed in range(tries):
        made = foretell(columns(seed, noise), *TARGET, resamples=50, seed=seed)
        draw = np.random.default_rng(1000 + seed)
        likelihood = LAW.loss(*TARGET) * float(np.exp(noise * draw.standard_normal()))
        came = draw.binomial(ITEMS, float(accuracy(likelihood))) / ITEMS
        low, high = made["likelihood_interval"]
        likelihood_inside += low <= likelihood <= high
        low, high = made["accuracy_interval"]
        assert 0 <= low <= high <= 1
        accuracy_inside += low <= came <= high
    # Of 40 at 95% fewer than 33 come less than once in 1,000.
    assert likelihood_inside >= 33
    assert accuracy_inside >= 33


def test_a_line_over_flops_is_right_along_one_road_and_a_law_off_it() -> None:
    """Llama 3's first step takes runs of one compute to be alike; sizes and tokens chosen otherwise are not."""
    product = np.geomspace(1e12, 1e16, 9)
    straight = 3 - 0.12 * np.log10(6 * product)
    road = TaskRuns(product**0.5, product**0.5, straight, accuracy(straight), CHANCE, 1, {})
    made = foretell(road, 1e9, 1e9, "flops", resamples=50)
    assert made["likelihood"] == pytest.approx(3 - 0.12 * np.log10(6e18))
    errors: dict[FirstStep, float] = {}
    for step in ("law", "flops"):
        errors[step] = abs(foretell(columns(), *TARGET, step, resamples=50)["likelihood"] / LAW.loss(*TARGET) - 1)  # type: ignore[arg-type,index]
    assert errors["law"] < 0.01 < errors["flops"]


def exams_file(path: Path, runs: TaskRuns, settings: dict[str, Any] | None = None) -> Path:
    columns = zip(runs.parameters, runs.tokens, runs.likelihoods, runs.accuracies, strict=True)
    rows = [
        {"name": "", "parameters": n, "tokens": d, "tasks": {"choice": {"nats_per_byte": x, "accuracy": y}}}
        for n, d, x, y in columns
    ]
    task = {"settings": settings or runs.settings, "chance": runs.chance, "items": runs.items}
    write_json(path, {"tasks": {"choice": task}, "runs": rows})
    return path


def test_the_stage_foretells_loss_and_exams_together(tmp_path: Path) -> None:
    write_json(tmp_path / "ladder.json", {"tokenizer": "abc", "seed": 0, "runs": loss_ladder(0.003)})
    places = [exams_file(tmp_path / f"{seed}.json", columns(seed, 0.01)) for seed in (1, 2)]
    out = StageOutput(tmp_path / "out", seed=4)
    inputs = Inputs({"ladder": tmp_path / "ladder.json", "exams": places})
    run(ForecastConfig(parameters=TARGET[0], num_tokens=TARGET[1]), inputs, out)
    made = read_json(out.path / "forecast.json")["tasks"]["choice"]
    assert made["runs"] == 2 * len(SIZES) * len(COUNTS)
    assert (
        out.metrics["choice/predicted_accuracy"]
        == made["accuracy"]
        == pytest.approx(float(accuracy(LAW.loss(*TARGET))), abs=0.05)
    )
    again = foretell(read_tasks(places)["choice"], *TARGET, seed=4)
    assert made == json.loads(json.dumps(again))
    titles = [panel["title"] for panel in out.panels]
    assert titles[-2:] == ["Exams foretold", "choice: accuracy over likelihood"]


def test_what_gives_no_forecast_of_exams_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run a stage of kind evaluate-ladder"):
        read_tasks([tmp_path])
    alike = exams_file(tmp_path / "a.json", columns())
    other = exams_file(tmp_path / "b.json", columns(), {"kind": "mmlu"})
    with pytest.raises(DataError, match="the same tasks with the same settings"):
        read_tasks([alike, other])
    same = columns()
    flat = TaskRuns(same.parameters, same.tokens, np.full(20, 1.5), same.accuracies, CHANCE, ITEMS, {})
    made = foretell_all({"flat": flat, "choice": same}, *TARGET, "law", 50, 0)
    assert "two different values" in made["flat"]["why"]
    assert "accuracy" in made["choice"]

"""Mixes compared: made ladders of known laws, whose lines cross or do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from puna.base.errors import DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.scaling.compare import CompareConfig, compare, run
from puna.scaling.law import LossLaw
from tests.scaling.test_forecast import COUNTS, SIZES

STEEP = LossLaw(floor=1.2, a=30.0, alpha=0.30, b=110.0, beta=0.33)
"""Worse than FLAT when small, better when large."""
FLAT = LossLaw(floor=1.3, a=30.0, alpha=0.30, b=90.0, beta=0.32)
TARGET = (3_000_000, 20_000_000)


def ladder(law: LossLaw, noise: float = 0.0, common: float = 0.0, seed: int = 0, name: int = 0) -> list[dict[str, Any]]:
    """noise: of each run; common: of the runs of one size, tokens and seed on every mix."""
    shared, own = np.random.default_rng((seed, 77)), np.random.default_rng((seed, name))
    rows = []
    for size in SIZES:
        for count in COUNTS:
            loss = law.loss(size, count) * float(
                np.exp(common * shared.standard_normal() + noise * own.standard_normal())
            )
            row = {"name": f"{size}-{count:.0f}", "parameters": size, "tokens": count, "flops": 6 * size * count}
            rows.append({**row, "loss": loss, "curve": [[1.0, loss]], "seed": seed})
    return rows


def test_without_noise_the_crossing_is_where_the_laws_cross() -> None:
    made = compare({"flat": ladder(FLAT), "steep": ladder(STEEP)}, *TARGET, resamples=50)
    assert (made["best"], made["best_when_small"]) == ("steep", "flat")
    one = made["others"]["flat"]
    assert one["difference"] == pytest.approx(FLAT.loss(*TARGET) - STEEP.loss(*TARGET), rel=0.01)
    assert one["crosses_in"] == 1.0
    start = np.array([SIZES[0], COUNTS[0]])

    def apart(share: float) -> float:
        size, count = start ** (1 - share) * np.array(TARGET) ** share
        return FLAT.loss(size, count) - STEEP.loss(size, count)

    size, count = start ** (1 - brentq(apart, 0, 1)) * np.array(TARGET) ** brentq(apart, 0, 1)
    assert one["crossing_flops"] == pytest.approx(6 * size * count, rel=0.02)


def test_lines_that_do_not_cross_have_no_crossing_and_the_order_of_inputs_is_not_seen() -> None:
    worse = LossLaw(STEEP.floor + 0.05, STEEP.a, STEEP.alpha, STEEP.b, STEEP.beta)
    ladders = {"steep": ladder(STEEP, 0.002), "worse": ladder(worse, 0.002, name=1)}
    made = compare(ladders, *TARGET, resamples=100)
    assert (made["best"], made["best_when_small"]) == ("steep", "steep")
    assert made["others"]["worse"]["crossing_flops"] is None
    assert made["others"]["worse"]["crosses_in"] < 0.1
    turned = {name: rows[::-1] for name, rows in reversed(ladders.items())}
    again = compare(turned, *TARGET, resamples=100)
    assert again["best"] == "steep"
    assert again["others"]["worse"]["difference"] == pytest.approx(made["others"]["worse"]["difference"], rel=1e-9)


def test_what_mixes_have_in_common_does_not_widen_the_difference() -> None:
    widths = []
    for common in (0.0, 0.01):
        made = compare(
            {"flat": ladder(FLAT, 0.001, common, 3), "steep": ladder(STEEP, 0.001, common, 3, 1)}, *TARGET, 100
        )
        low, high = made["others"]["flat"]["interval"]
        widths.append(high - low)
    assert widths[1] < 3 * widths[0]  # the noise of a run is ten times as large


def test_ninety_five_of_a_hundred_differences_fall_into_the_interval() -> None:
    noise, tries, inside = 0.003, 40, 0
    for seed in range(tries):
        ladders = {"flat": ladder(FLAT, noise, 0.003, seed), "steep": ladder(STEEP, noise, 0.003, seed, 1)}
        made = compare(ladders, *TARGET, resamples=50, seed=seed)
        (other,) = made["others"]
        draw = np.random.default_rng(5000 + seed)
        came = {
            "flat": FLAT.loss(*TARGET) * np.exp(noise * draw.standard_normal()),
            "steep": STEEP.loss(*TARGET) * np.exp(noise * draw.standard_normal()),
        }
        low, high = made["others"][other]["interval"]
        inside += low <= came[other] - came[made["best"]] <= high
    # Of 40 at 95% fewer than 33 come less than once in 1,000.
    assert inside >= 33


def test_the_stage_names_mixes_by_its_inputs(tmp_path: Path) -> None:
    places = {}
    for name, (law, number) in {"flat": (FLAT, 0), "steep": (STEEP, 1)}.items():
        rows = ladder(law, 0.001, name=number)
        places[name] = tmp_path / f"{name}.json"
        write_json(places[name], {"tokenizer": "abc", "seed": 0, "runs": rows})
    out = StageOutput(tmp_path / "out")
    run(CompareConfig(parameters=TARGET[0], num_tokens=TARGET[1], resamples=50), Inputs(dict(places)), out)
    made = read_json(out.path / "comparison.json")
    assert made["best"] == "steep"
    assert out.metrics["flat/behind"] == made["others"]["flat"]["difference"]
    table, lines = out.panels
    assert [row[0] for row in table["rows"]] == ["steep", "flat"]
    assert lines["series"][0]["y"][-1] == pytest.approx(out.metrics["flat/behind"])


def test_ladders_of_other_runs_are_refused() -> None:
    with pytest.raises(DataError, match="two mixes or more, an input each, came a"):
        compare({"a": ladder(FLAT)}, *TARGET)
    with pytest.raises(DataError, match="20 runs of a and 19 of b that differ"):
        compare({"a": ladder(FLAT), "b": ladder(FLAT)[1:]}, *TARGET)

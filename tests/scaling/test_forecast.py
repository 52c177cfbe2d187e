"""Forecasts: of made ladders whose law is known, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.base.errors import DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.scaling.forecast import ForecastConfig, forecast, read_ladders, run
from puna.scaling.law import LossLaw

LAW = LossLaw(floor=1.2, a=30.0, alpha=0.30, b=90.0, beta=0.32)
SIZES, COUNTS = (20_000, 60_000, 150_000, 400_000, 900_000), (2e5, 6e5, 2e6, 6e6)
SHARES = np.arange(1, 11) / 10


def to_go(share: float, size: float, count: float) -> float:
    """What a run still has to lose; nothing at the end."""
    return 0.0 if share == 1 else float((1.2 - share) * size**0.05 * count**-0.03)


def ladder(noise: float = 0.0, seed: int = 0) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    rows = []
    for size in SIZES:
        for count in COUNTS:
            loss = LAW.loss(size, count) * float(np.exp(noise * draw.standard_normal()))
            curve = [[float(share), loss + to_go(share, size, count)] for share in SHARES]
            row = {"name": f"{size}-{count:.0f}", "parameters": size, "tokens": count, "flops": 6 * size * count}
            rows.append({**row, "loss": loss, "curve": curve})
    return rows


def test_without_noise_law_loss_and_curve_are_the_true_ones() -> None:
    made = forecast(ladder(), 3_000_000, 20_000_000)
    assert made["loss"] == pytest.approx(LAW.loss(3e6, 2e7), rel=2e-4)
    assert made["law"]["alpha"] == pytest.approx(LAW.alpha, abs=0.005)
    assert made["times_the_compute"] == pytest.approx(3e6 * 2e7 / (9e5 * 6e6))
    for share, loss, low, high in made["curve"]:
        assert loss == pytest.approx(LAW.loss(3e6, 2e7) + to_go(share, 3e6, 2e7), rel=1e-3)
        assert low <= loss <= high
    assert made["backtest"] < 1e-3


def test_ninety_five_of_a_hundred_runs_fall_into_the_interval() -> None:
    noise, inside, tries = 0.004, 0, 60
    for seed in range(tries):
        made = forecast(ladder(noise, seed), 3_000_000, 20_000_000, resamples=100, seed=seed)
        came = LAW.loss(3e6, 2e7) * float(np.exp(noise * np.random.default_rng(seed + 1000).standard_normal()))
        inside += made["interval"][0] <= came <= made["interval"][1]
    # Of 60 at 95% fewer than 50 come once in 10,000.
    assert inside >= 50


def test_the_stage_writes_when_and_what_it_foretold(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"ladder-{number}").mkdir()
        rows = ladder(0.003, number)
        write_json(tmp_path / f"ladder-{number}/ladder.json", {"tokenizer": "abc", "seed": number, "runs": rows})
    places = [tmp_path / "ladder-0", tmp_path / "ladder-1/ladder.json"]
    out = StageOutput(tmp_path / "out", seed=5)
    run(ForecastConfig(parameters=2_000_000, num_tokens=10_000_000), Inputs({"ladder": places}), out)
    made = read_json(out.path / "forecast.json")
    assert made["written"].endswith("+00:00")
    assert made["runs"] == 2 * len(SIZES) * len(COUNTS)
    assert out.metrics["predicted_loss"] == made["loss"] == pytest.approx(LAW.loss(2e6, 1e7), rel=0.02)
    assert [panel["kind"] for panel in out.panels] == ["lines", "table"]
    again = forecast(read_ladders(places), 2_000_000, 10_000_000, seed=5)
    told = {"written", "unit", "tokenizers", "tasks"}
    assert {name: value for name, value in made.items() if name not in told} == json.loads(json.dumps(again))
    assert (made["unit"], made["tokenizers"], made["tasks"]) == ("token", ["abc"], {})


def test_ladders_of_other_tokenizers_are_one_law_of_losses_a_byte(tmp_path: Path) -> None:
    """The same losses a byte, cut into longer tokens by one tokenizer than by the other."""
    for name, size in (("a", 2.5), ("b", 4.0)):
        rows = ladder()
        for row in rows:
            row["loss"] *= size
            row["curve"] = [[share, size * loss] for share, loss in row["curve"]]
        text = {"bytes_per_token": size, "byte_shares": [0.25, 0.75] if name == "a" else [0.75, 0.25]}
        write_json(tmp_path / f"{name}.json", {"tokenizer": name, "text": text, "seed": 0, "runs": rows})
    out = StageOutput(tmp_path / "out")
    inputs = Inputs({"ladder": [tmp_path / "a.json", tmp_path / "b.json"]})
    run(ForecastConfig(parameters=3_000_000, num_tokens=20_000_000, unit="byte", resamples=50), inputs, out)
    made = read_json(out.path / "forecast.json")
    assert made["loss"] == pytest.approx(LAW.loss(3e6, 2e7), rel=2e-4)
    assert made["curve"][4][1] == pytest.approx(LAW.loss(3e6, 2e7) + to_go(0.5, 3e6, 2e7), rel=1e-3)
    assert (made["unit"], made["tokenizers"], made["text"]["byte_shares"]) == ("byte", ["a", "b"], [0.5, 0.5])
    assert out.panels[0]["y_label"] == "held-out loss (nats a byte)"


def test_what_gives_no_forecast_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a ladder or its ladder.json at .*none, came none"):
        read_ladders([tmp_path / "none"])
    for name in ("a", "b"):
        write_json(tmp_path / f"{name}.json", {"tokenizer": name, "seed": 0, "runs": ladder()})
    with pytest.raises(DataError, match="of one tokenizer, came of several"):
        read_ladders([tmp_path / "a.json", tmp_path / "b.json"])
    with pytest.raises(DataError, match="how many bytes a token has"):
        read_ladders([tmp_path / "a.json"], "byte")
    with pytest.raises(DataError, match="at least 6 points, came 4"):
        forecast(ladder()[:4], 10, 10)

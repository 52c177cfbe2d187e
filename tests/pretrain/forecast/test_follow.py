"""A run beside its forecast: the band, what is refused, and the end of a run that leaves it."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import ConfigError, DataError, RunError
from puna.base.output import Inputs, StageOutput
from puna.pretrain.forecast.follow import Forecast, OtherRunError
from puna.pretrain.run import PretrainConfig, run
from puna.pretrain.text import Text
from tests.pretrain.forecast.test_ladder import SMALL, TRAIN
from tests.pretrain.mix.conftest import ALL, MakeTokens, make_tokens, tokenizer_folder

__all__ = ["make_tokens", "tokenizer_folder"]  # fixtures

ROWS = ((0.2, 3.0, 2.5, 3.5), (0.6, 2.0, 1.8, 2.2), (1.0, 1.5, 1.4, 1.6))
PARAMETERS = 16 * 272 + 2 * 16 * 8 * 3 + 3 * 16 * 32 + 3 * 16


def write(folder: Path, parameters: int = PARAMETERS, tokens: int = 2048, rows: Any = ROWS, **more: Any) -> Path:
    path = folder / "forecast.json"
    path.write_text(json.dumps({"parameters": parameters, "tokens": tokens, "curve": rows, **more}))
    return path


def load(place: Path, text: Text = Text(2.0, (0.5, 0.5))) -> Forecast:
    return Forecast.load(place, PARAMETERS, 2048, "mine", text)


def test_the_band_is_straight_between_its_rows() -> None:
    forecast = Forecast(ROWS)
    assert forecast.at(0.4) == pytest.approx((2.5, 2.15, 2.85))
    assert forecast.at(1.0) == (1.5, 1.4, 1.6)
    assert forecast.loss == 1.5
    assert forecast.metrics(1.65) == pytest.approx(
        {"forecast_loss": 1.5, "forecast_error": 0.1, "forecast_inside": 0.0}
    )
    assert forecast.metrics(1.45)["forecast_inside"] == 1.0


@pytest.mark.parametrize(
    ("losses", "patience", "ends"),
    [
        ([9.0, 3.4, 2.3, 2.3], 2, True),  # above at 0.6 and 0.7
        ([9.0, 3.4, 2.3, 2.0], 2, False),
        ([9.0, 9.0, 2.0, 2.3], 2, False),
        ([9.0, 9.0, 9.0, 9.0], 0, False),
        ([9.0, 9.0], 2, False),  # at 0.1 nothing is known
        ([1.0, 1.0, 1.0, 1.0], 1, False),  # under the band is better than foretold
    ],
)
def test_a_run_ends_that_stays_above_the_band(losses: list[float], patience: int, ends: bool) -> None:
    steps = [10, 20, 60, 70][: len(losses)]
    log = [{"step": float(step), "validation": loss} for step, loss in zip(steps, losses, strict=True)]
    log.insert(1, {"step": 15.0, "loss": 9.0})
    if not ends:
        Forecast(ROWS).check(log, 100, patience)
        return
    with pytest.raises(RunError, match=r"step 70 of 100: .* is 2.300, the forecast says 1.875 \(1.700 to 2.050\)"):
        Forecast(ROWS).check(log, 100, patience)


def test_pretraining_shows_the_forecast_and_ends_a_run_above_it(
    tmp_path: Path, make_tokens: MakeTokens, tokenizer_folder: Path
) -> None:
    given: dict[str, Any] = {"tokens": make_tokens(ALL), "tokenizer": tokenizer_folder}
    config = PretrainConfig.model_validate({**TRAIN, "model": SMALL, "num_tokens": 2048})
    wide = [[0.5, 6.0, 1.0, 9.0], [1.0, 5.0, 1.0, 9.0]]
    out = StageOutput(tmp_path / "a")
    run(config, Inputs({**given, "forecast": write(tmp_path, rows=wide)}), out)
    assert out.metrics["forecast_loss"] == 5.0
    assert out.metrics["forecast_error"] == pytest.approx(out.metrics["validation_loss"] / 5 - 1)
    assert out.metrics["forecast_inside"] == 1.0
    series = {one["name"]: one for one in out.panels[0]["series"]}
    assert series["forecast"]["y"] == [6.0, 5.0]
    assert series["forecast"]["x"][-1] == series["held-back documents"]["x"][-1]

    low = write(tmp_path, rows=[[0.5, 0.6, 0.5, 0.7], [1.0, 0.6, 0.5, 0.7]])
    strict = config.model_copy(update={"forecast_patience": 3})
    with pytest.raises(RunError, match="for 3 times in a row"):
        run(strict, Inputs({**given, "forecast": low}), StageOutput(tmp_path / "b"))
    run(config, Inputs({**given, "forecast": low}), StageOutput(tmp_path / "c"))
    with pytest.raises(ConfigError, match="the input forecast with it, came none"):
        run(strict, Inputs(given), StageOutput(tmp_path / "d"))


def test_a_forecast_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"of {PARAMETERS:,} parameters, came one of 7; set its parameters to"):
        load(write(tmp_path, parameters=7))
    with pytest.raises(ConfigError, match="of 2,048 tokens, came one of 9; set its num_tokens to 2048"):
        load(write(tmp_path, tokens=9))
    with pytest.raises(DataError, match="came none"):
        load(tmp_path / "nothing")
    with pytest.raises(OtherRunError, match=r"whose bytes differ by 0.08 \(up to 0.07 is alike\)"):
        load(write(tmp_path, text=Text(2.0, (0.42, 0.58)).to_dict()))
    with pytest.raises(OtherRunError, match="set unit of the forecast to byte"):
        load(write(tmp_path, tokenizers=["mine", "other"]))


def test_losses_a_byte_become_those_of_this_runs_tokens(tmp_path: Path) -> None:
    path = write(tmp_path, unit="byte", tokenizers=["other"], text=Text(9.0, (0.46, 0.54)).to_dict())
    assert load(path, Text(2.5, (0.5, 0.5))).rows == tuple((row[0], *(2.5 * loss for loss in row[1:])) for row in ROWS)
    assert load(write(tmp_path, unit="token", tokenizers=["mine"])).rows == ROWS


def test_a_forecast_that_is_not_required_is_left_out_and_said(
    tmp_path: Path, make_tokens: MakeTokens, tokenizer_folder: Path
) -> None:
    inputs = Inputs({"tokens": make_tokens(ALL), "tokenizer": tokenizer_folder, "forecast": write(tmp_path, tokens=9)})
    config = PretrainConfig.model_validate({**TRAIN, "model": SMALL, "num_tokens": 1024})
    with pytest.raises(OtherRunError):
        run(config, inputs, StageOutput(tmp_path / "a"))
    out = StageOutput(tmp_path / "b")
    run(config.model_copy(update={"forecast_required": False}), inputs, out)
    assert not [name for name in out.metrics if name.startswith("forecast")]
    assert [panel["kind"] for panel in out.panels] == ["text", "lines", "table"]
    assert "of 1,024 tokens, came one of 9" in out.panels[0]["text"]

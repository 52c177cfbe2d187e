"""`puna scaling` as a person meets it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from puna.base.files import read_json
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw
from tests.pretrain.mix.conftest import ALL, MakeTokens, make_tokens, tokenizer_folder
from tests.test_cli import _one_line, _puna

__all__ = ["make_tokens", "tokenizer_folder"]  # fixtures


def test_a_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--dollars", "100k", "--gpus", 64, "--price", 2, "--mfu", 0.4, "--law", "refit")
    assert _puna("scaling", "plan", *arguments, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["gpu_hours"] == pytest.approx(50_000) and plan["dollars"] == pytest.approx(100_000)
    assert plan["flops"] == pytest.approx(6 * plan["num_parameters"] * plan["num_tokens"])
    assert plan["predicted_loss"] == pytest.approx(REFIT.loss(plan["num_parameters"], plan["num_tokens"]))
    assert 0 < plan["memory_per_device_bytes"] < 80e9 and plan["config"]["dim"] % 64 == 0
    assert plan["layout"]["name"].startswith("TP")


def test_a_plan_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        _puna("scaling", "plan", "--parameters", "8.03B", "--tokens", "15T", "--gpus", 1024, "--serve-tokens", "1T")
        == 0
    )
    out = capsys.readouterr().out
    for part in (
        "8.03B",
        "width 4,096, layers 32",
        "1,86",
        "20 a parameter are 161B",
        "7.23e23",
        "serving",
        "H100-SXM",
    ):
        assert part in out, part


def test_predict(capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("scaling", "predict", "--parameters", "8B", "--tokens", "15T", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predicted_loss"] == pytest.approx(CHINCHILLA.loss(8e9, 15e12)) and found["flops"] == 7.2e23
    assert _puna("scaling", "predict", "--parameters", "8B", "--tokens", "15T", "--law", "refit") == 0
    assert f"{REFIT.loss(8e9, 15e12):.4f} nats a token" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan"], "budget: expected one of gpu_hours, dollars, days, flops, loss"),
        (["plan", "--flops", "-3"], "--flops: expected a number above 0 such as 8B, 15T or 3.8e25, came '-3'"),
        (["plan", "--flops", "1e22", "--device", "H1000"], "device: expected A100-80G"),
        (["plan", "--loss", "1.2"], "loss: expected above 1.6900"),
        (["plan", "--parameters", "405B", "--tokens", "15T", "--gpus", "64"], "need at least 128 H100-SXM of 80 GB"),
        (["predict", "--parameters", "8B", "--tokens", "many"], "tokens: expected a number above 0"),
        (["predict", "--parameters", "8B", "--tokens", "1T", "--law", "mine"], "--law: expected chinchilla, refit"),
        (
            ["plan", "--flops", "1e22", "--plot", "plan.png"],
            "--plot: expected a file named .svg or .html, came plan.png",
        ),
        (["fit", "none.csv"], "expected a file or folder at none.csv, found none"),
        (["fit", "none.csv", "--column", "loss"], "--column: expected MEANING=NAME such as loss=val_loss, came 'loss'"),
        (["fit", "none.csv", "--parameters", "8B"], "--parameters: expected --tokens with it, or neither"),
        (["fit", "none.csv", "--budgets", "1e18"], "--budgets: expected with --approach isoflop, came with parametric"),
        (["run", "none.yaml"], "expected a YAML file at none.yaml, found none"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _puna("scaling", *arguments) == 2
    assert message in _one_line(capsys)


@pytest.mark.parametrize("verb", ["plan", "predict", "fit", "run"])
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("scaling", verb, "--help") == 0
    assert f"Example: puna scaling {verb} " in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Runs of a known law, one of them 5% off."""
    rows = ["run,params,tokens,loss"]
    for number, (n, d) in enumerate((n, d) for n in (1e7, 4e7, 2e8, 1e9) for d in (2e8, 1e9, 8e9, 4e10)):
        rows.append(f"r{number},{n},{d},{REFIT.loss(n, d) * (1.05 if number == 5 else 1)}")
    (tmp_path / "runs.csv").write_text("\n".join(rows))
    return tmp_path / "runs.csv"


def test_a_fit_prints_its_law_writes_it_and_plans_by_it(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    law, plot = table.with_name("law.json"), table.with_name("fit.svg")
    asked = ("--parameters", "8B", "--tokens", "160B", "--resamples", 50)
    assert _puna("scaling", "fit", table, *asked, "--out", law, "--plot", plot) == 0
    out = capsys.readouterr().out
    for part in ("parametric, 16 points: 1.81", "95% interval", "N*(C)", "exponent 0.", "Predicted: 2.1"):
        assert part in out, part
    assert re.search(r"r5 +40.0M +1.00B .*\+(4\.9|5\.0)\d%", out)
    assert plot.read_text().startswith("<svg ")
    assert _puna("scaling", "fit", table, *asked, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["law"]["alpha"] == pytest.approx(REFIT.alpha, rel=1e-2) and found["worst"][0]["name"] == "r5"
    assert found["residuals"]["median"] < 1e-3 < 0.04 < found["residuals"]["max"]
    low, high = found["constants"]["floor"]["interval"]
    assert low <= found["law"]["floor"] <= high
    assert found["prediction"]["times_the_compute"] == pytest.approx(8e9 * 160e9 / (1e9 * 4e10))
    assert read_json(law)["law"] == found["law"]
    # The written law predicts as the fit did, with the same interval, and plans with one.
    assert _puna("scaling", "predict", "--parameters", "8B", "--tokens", "160B", "--law", law, "--json") == 0
    predicted = json.loads(capsys.readouterr().out)
    assert predicted["predicted_loss"] == pytest.approx(found["prediction"]["loss"], rel=1e-12)
    assert predicted["predicted_interval"] == pytest.approx(found["prediction"]["interval"], rel=1e-9)
    assert _puna("scaling", "predict", "--parameters", "8B", "--tokens", "160B", "--law", law) == 0
    assert "(95% 2.1" in capsys.readouterr().out
    page = table.with_name("plan.html")
    assert _puna("scaling", "plan", "--flops", "1e22", "--gpus", 64, "--law", law, "--plot", page, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    fitted = LossLaw(**found["law"])
    assert plan["predicted_loss"] == pytest.approx(fitted.loss(plan["num_parameters"], plan["num_tokens"]))
    assert plan["predicted_interval"][0] <= plan["predicted_loss"] <= plan["predicted_interval"][1]
    assert "Llama 3 70B" in page.read_text()


def test_an_approach_without_a_law_of_the_loss_writes_none(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("scaling", "fit", table, "--approach", "repeated") == 2
    assert "repeated: expected a column unique_tokens" in _one_line(capsys)
    rows = ["params,flops,loss"]
    for flops in (1e18, 1e19, 1e20):
        best = REFIT.optimal(flops)[0]
        rows += [f"{n},{flops},{REFIT.loss(n, flops / 6 / n)}" for n in (best / 3, best / 1.5, best * 1.5, best * 3)]
    table.write_text("\n".join(rows))
    law = table.with_name("law.json")
    assert _puna("scaling", "fit", table, "--approach", "isoflop", "--out", law) == 2
    assert "--out: expected an approach that has a law of the loss" in _one_line(capsys) and not law.exists()
    assert _puna("scaling", "fit", table, "--approach", "isoflop", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best_parameters"]["exponent"] == pytest.approx(REFIT.beta / (REFIT.alpha + REFIT.beta), abs=2e-3)
    assert found["law"] is None


@pytest.fixture
def small_run(tmp_path: Path, make_tokens: MakeTokens, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe that pretrains a very small model on made tokens."""
    monkeypatch.chdir(tmp_path)
    shape = {"dim": 64, "layers": 1, "heads": 4, "kv_heads": 2, "ffn_dim": 96, "max_position": 64, "init_std": 0.08}
    train = {"row_tokens": 32, "batch_rows": 4, "micro_batch": 16, "lr": 0.01, "num_tokens": 20_000, "model": shape}
    inputs = {"tokens": str(make_tokens(ALL)), "tokenizer": str(tokenizer_folder)}
    stages: dict[str, Any] = {"pretrain": {"kind": "pretrain", "inputs": inputs, "config": train}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"name": "small", "mesh": {"threads": 1}, "stages": stages}))
    return tmp_path / "small.yaml"


def test_a_run_is_foretold_trained_and_compared(
    small_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    few = ("--sizes", 4, "--budgets", 3, "--times", 8)
    assert _puna("scaling", "run", small_run, *few, "--only-forecast", "--json") == 0
    captured = capsys.readouterr()
    (before,) = json.loads(captured.out)
    assert before["measured"] is None and before["interval"][0] < before["predicted"] < before["interval"][1]
    assert before["times_the_compute"] == pytest.approx(8, rel=0.1)
    assert "ladder: " in captured.err and "% of the " in captured.err and "steps; runs so short" in captured.err
    assert not (small_run.parent / "runs/small/pretrain").exists()
    assert _puna("scaling", "run", small_run, *few, "--json") == 0
    captured = capsys.readouterr()
    (after,) = json.loads(captured.out)
    assert "ladder: reused" in captured.err and "forecast: reused" in captured.err  # written before the run, kept
    assert {name: after[name] for name in ("predicted", "interval", "written", "parameters")} == {
        name: before[name] for name in ("predicted", "interval", "written", "parameters")
    }
    metrics = read_json(small_run.parent / "runs/small/pretrain/manifest.json")["metrics"]
    assert after["measured"] == metrics["validation_loss"]
    assert after["error"] == pytest.approx(after["measured"] / after["predicted"] - 1)
    assert after["inside"] == (after["interval"][0] <= after["measured"] <= after["interval"][1])
    # The ladder is a table of points, too.
    assert _puna("scaling", "fit", "runs/small", "--json", "--resamples", 0) == 0
    assert json.loads(capsys.readouterr().out)["points"] == len(
        read_json(Path("runs/small/ladder/ladder.json"))["runs"]
    )
    # Written to a file, the derived recipe is the same: nothing is run again.
    assert _puna("scaling", "run", small_run, *few, "--save", "derived.yaml") == 0
    assert "Recipe: derived.yaml" in capsys.readouterr().out
    assert _puna("scaling", "run", "derived.yaml") == 0
    captured = capsys.readouterr()
    assert "pretrain: reused" in captured.err
    assert f"{after['measured']:.4f}" in captured.out and "inside" in captured.out


def test_a_recipe_with_its_own_forecasts_keeps_them(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("scaling", "run", small_run, "--sizes", 4, "--budgets", 3, "--save", "derived.yaml") == 0
    capsys.readouterr()
    assert _puna("scaling", "run", "derived.yaml", "--sizes", 3) == 2
    assert "--sizes: expected a recipe without forecasts, came one with forecast" in _one_line(capsys)
    asked = ("--set", "pretrain.num_tokens=16000", "--set", "forecast.num_tokens=16000", "--json", "--only-forecast")
    assert _puna("scaling", "run", "derived.yaml", *asked, "--out", "elsewhere", "--seeds", "3") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["seed"] == 3 and row["tokens"] == 16_000 and row["run"] == "pretrain"
    assert (small_run.parent / "elsewhere/seed-3/forecast/forecast.json").exists()

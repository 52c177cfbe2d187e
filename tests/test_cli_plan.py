"""`puna plan` as a person meets it."""

import json
from pathlib import Path

import pytest

from puna.cli import plan as plan_verb
from puna.scaling.recipe import effort
from puna.scaling.recipe.effort import Machine
from tests.test_cli import _one_line, _puna

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture(autouse=True)
def _same_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(effort, "measure_machine", lambda: Machine(2e11, 2, 24e9))
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.1, 0.1))
    monkeypatch.chdir(tmp_path)


def test_a_plan_of_nano(capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("plan", RECIPES / "nano.yaml") == 0
    out = capsys.readouterr().out
    assert "round1.generate" in out and "min" in out and "fits: at most" in out
    assert _puna("plan", RECIPES / "nano.yaml", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    wanted = {"num_parameters", "num_tokens", "flops", "gpu_hours", "memory_per_device_bytes", "predicted_loss"}
    assert wanted <= set(told) and told["num_tokens"] == 2_500_000
    assert _puna("plan", RECIPES / "nano.yaml", "--until", "tokens", "--json") == 0
    assert json.loads(capsys.readouterr().out)["stages"][-1]["name"] == "tokens"


def test_a_plan_of_8b_on_devices(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--device", "H100-SXM", "--gpus", 1024, "--assume", "crawl=30B", "--assume", "dialogs=2M")
    assert _puna("plan", RECIPES / "8b.yaml", *arguments) == 0
    out = capsys.readouterr().out
    assert "TP" in out and "1,024" in out and "$" in out and "hours of H100-SXM" in out
    assert "preferences (--assume preferences=ROWS)" in out
    assert _puna("plan", RECIPES / "8b.yaml", *arguments, "--price", 5, "--json") == 0
    five = json.loads(capsys.readouterr().out)
    assert five["dollars"] == pytest.approx(5 * five["gpu_hours"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "-1"], "--gpus: expected 0 or more, came -1"),
        (["--price", "-2"], "--price: expected 0 or more, came -2"),
        (["--device", "C64"], "device: expected A100-80G"),
        (["--assume", "dialoges=5"], "--assume: expected a variable without a value"),
        (["--set", "pretrain.num_tokens=-5"], "pretrain.num_tokens"),
        (["--until", "nowhere"], "nowhere"),
    ],
)
def test_impossible_wishes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert _puna("plan", RECIPES / "nano.yaml", *arguments) == 2
    assert message in _one_line(capsys)


def test_a_run_begins_with_what_it_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "world.clean_chars=60_000", "--until", "world"]
    assert _puna("run", RECIPES / "nano.yaml", *settings) == 0
    assert "of memory, estimated; `puna plan` says more" in capsys.readouterr().err
    assert _puna("run", RECIPES / "nano.yaml", *settings) == 0
    assert "About" not in capsys.readouterr().err  # nothing is left to do
    assert _puna("run", RECIPES / "nano.yaml", *settings, "--set", "world.num_dialogs=100") == 0
    assert "by the last run" in capsys.readouterr().err
    assert plan_verb.plan.__doc__ is not None

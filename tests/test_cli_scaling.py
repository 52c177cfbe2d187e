"""`puna scaling` as a person meets it."""

import json

import pytest

from puna.scaling.law import CHINCHILLA, REFIT
from tests.test_cli import _one_line, _puna


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
        (["predict", "--parameters", "8B", "--tokens", "1T", "--law", "mine"], "--law: expected chinchilla or refit"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _puna("scaling", *arguments) == 2
    assert message in _one_line(capsys)


@pytest.mark.parametrize("verb", ["plan", "predict"])
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("scaling", verb, "--help") == 0
    assert f"puna scaling {verb} --" in " ".join(capsys.readouterr().out.split())

"""The table of a ladder's study from manifests as runs leave them, against numbers worked out by hand."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
from benchmarks import ladder

LAW = {"floor": 1.0, "a": 100.0, "alpha": 0.5, "b": 200.0, "beta": 0.5}


def loss(parameters: float, tokens: float) -> float:
    return LAW["floor"] + LAW["a"] * parameters ** -LAW["alpha"] + LAW["b"] * tokens ** -LAW["beta"]


def write(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def test_errors_and_differences_are_those_of_the_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    came = {"target": [2.0, 2.2], "wide": [2.5, 2.8]}
    told = {"target": [2.1, 2.2], "wide": [2.4, 2.6]}
    for number in range(2):
        seed = tmp_path / f"seed-{number + 1}"
        rows = [
            {"parameters": n, "tokens": d, "flops": 6 * n * d, "loss": loss(n, d)}
            for n in (50_000, 200_000)
            for d in (1e5, 1e6)
        ]
        write(seed / "ladder" / "ladder.json", {"runs": rows})
        stages = {name: {"kind": "pretrain", "inputs": {"forecast": f"forecast-{name}"}} for name in came}
        write(seed / "recipe.json", {"stages": {"ladder": {"kind": "ladder", "inputs": {}}, **stages}})
        for name in came:
            value = told[name][number]
            facts = {"parameters": 400_000, "tokens": 5_000_000, "flops": 1.2e13, "law": LAW}
            write(
                seed / f"forecast-{name}" / "forecast.json",
                {**facts, "loss": value, "interval": [value - 0.15, value + 0.15]},
            )
            write(seed / name / "manifest.json", {"metrics": {"validation_loss": came[name][number]}})
    monkeypatch.setattr(sys, "argv", ["ladder", str(tmp_path), "--out", str(tmp_path / "figures"), "--name", "made"])
    ladder.main()
    lines = capsys.readouterr().out.splitlines()
    assert "| target | 400,000 x 5,000,000 | seed-1 | 2.1000 (1.9500 to 2.2500) | 2.0000 | +5.00% |" in lines
    assert any(line.startswith("| wide") and line.endswith("| 2.8000 | -7.14%, outside |") for line in lines)
    # Errors +5% and 0%: mean 2.5%, t of one degree of freedom is 12.706, standard error 2.5%.
    summary = next(line for line in lines if line.startswith("target: "))
    assert "error +2.50% (-29.27% to +34.27%), at most 5.00%, 2 inside" in summary
    # Differences that came 0.5 and 0.6, foretold 0.3 and 0.4.
    apart = next(line for line in lines if line.startswith("wide less target"))
    assert apart.startswith("wide less target: came +0.5500 (") and apart.endswith("foretold +0.3500")
    assert (tmp_path / "figures" / "made.svg").read_text().count("<svg") == 1


def test_a_run_without_forecasts_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ladder", str(tmp_path)])
    with pytest.raises(SystemExit):
        ladder.main()
    assert "expected finished runs with forecasts" in capsys.readouterr().err

"""The tables of a study from manifests as runs leave them, against numbers worked out by hand."""

import json
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
from benchmarks import studies

# Differences of -0.2, -0.1 and 0 have mean -0.1 and standard error 0.1 / sqrt(3); t of two degrees of freedom is 4.303.
BITS = {"filtered": [0.5, 0.6, 0.7], "raw": [0.7, 0.7, 0.7], "code-x4": [0.3, 0.5, 0.7], "no-chinese": [0.5, 0.6, 0.7]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for number in range(3):
        for name, bits in BITS.items():
            _write(tmp_path / f"seed-{number}" / name, {"seconds": 10.0, "metrics": METRICS, "config": CONFIG})
            scores = [
                {"task": "bits-per-byte", "metric": "bits_per_byte", "value": bits[number]},
                {"task": "bits-per-byte", "metric": "bits_per_byte/code", "value": 2 * bits[number]},
                {"task": "village-word", "metric": "accuracy", "value": 0.25},
            ]
            _write(tmp_path / f"seed-{number}" / f"eval-{name}", {"scores": scores})
    return tmp_path


METRICS = {"num_steps": 4, "num_parameters": 1000}
CONFIG = {"batch_rows": 8, "row_tokens": 256}


def _write(folder: Path, manifest: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _printed(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["studies", "curation", str(run), "--out", str(run / "figures")])
    studies.main()
    return capsys.readouterr().out.splitlines()


def test_the_table_has_means_and_differences_pair_by_pair(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _printed(run, monkeypatch, capsys)
    row = next(line for line in lines if line.startswith("| code-x4"))
    assert "| 8,192 |" in row and "0.300, 0.500, 0.700" in row
    half = 4.303 * 0.1 / 3**0.5
    assert f"-0.100 ({-0.1 - half:+.3f} to {-0.1 + half:+.3f})" in row
    assert "| 0.500 (" in row


def test_every_other_score_has_its_row_with_each_seed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _printed(run, monkeypatch, capsys)
    (code,) = [line for line in lines if line.startswith("| bits a byte, code")]
    half = 4.303 * 0.2 / 3**0.5
    assert f"1.000 -0.200 ({-0.2 - half:+.3f} to {-0.2 + half:+.3f}); 0.600, 1.000, 1.400" in code
    assert code.split(" | ")[1] == "1.200; 1.000, 1.200, 1.400"
    (word,) = [line for line in lines if line.startswith("| village-word")]
    assert word.count("0.250 +0.000 (+0.000 to +0.000)") == 3


def test_the_figure_is_the_same_each_time(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _printed(run, monkeypatch, capsys)
    first = (run / "figures/curation.svg").read_bytes()
    _printed(run, monkeypatch, capsys)
    assert (run / "figures/curation.svg").read_bytes() == first
    labels = set(re.findall(r">([^<>\n]+)</text>", first.decode()))
    assert {*BITS, "code"} <= labels


def test_an_arm_that_is_not_finished_on_every_seed_is_named_and_left_out(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "seed-2/eval-raw/manifest.json").unlink()
    lines = _printed(run, monkeypatch, capsys)
    assert lines[0] == "not finished on every seed, and left out: raw"
    assert not [line for line in lines if line.startswith("| raw")]
    (run / "seed-2/eval-filtered/manifest.json").unlink()
    with pytest.raises(SystemExit):
        studies.main()
    assert "expected filtered and eval-filtered of every seed" in capsys.readouterr().err


def test_arms_that_nothing_evaluates_are_told_apart_by_their_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (bf16, float8) in enumerate([(2.0, 2.1), (2.2, 2.2), (2.1, 2.3)]):
        for name, loss in (("bf16", bf16), ("float8", float8)):
            metrics = {**METRICS, "validation_loss": loss}
            _write(tmp_path / f"seed-{number}" / name, {"seconds": 10.0, "metrics": metrics, "config": CONFIG})
    monkeypatch.setattr(sys, "argv", ["studies", "float8-real", str(tmp_path), "--out", str(tmp_path / "figures")])
    studies.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 seeds; nats a token of held-back rows")
    (row,) = [line for line in lines if line.startswith("| float8")]
    assert "2.100, 2.200, 2.300" in row and f"+0.100 ({0.1 - 4.303 * 0.1 / 3**0.5:+.3f}" in row
    assert "float8 less bf16" in (tmp_path / "figures/float8-real.svg").read_text()


def test_a_run_without_seeds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["studies", "curation", str(tmp_path)])
    with pytest.raises(SystemExit):
        studies.main()
    assert "expected seed-N folders" in capsys.readouterr().err

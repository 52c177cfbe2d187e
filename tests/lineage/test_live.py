"""The plain view, key figures and clock, as a person reads them."""

from pathlib import Path

import pytest
from rich.console import Console

from puna.lineage import Recipe, Stage, run
from puna.lineage.live import LiveView, PlainView, clock, key_metrics, make_watcher


def test_clock() -> None:
    assert [clock(s) for s in (0.4, 59.4, 61, 3600, 7384)] == ["0 s", "59 s", "1:01", "1:00:00", "2:03:04"]


def test_key_metrics_are_headline_scores_in_their_unit_or_the_first_metrics() -> None:
    scores = [
        {"task": "word", "metric": "accuracy", "value": 0.936, "headline": True},
        {"task": "bits", "metric": "bits_per_byte", "value": 1.929, "headline": True},
        {"task": "word", "metric": "accuracy/ngram", "value": 0.1, "headline": True},
        {"task": "other", "metric": "accuracy", "value": 0.5, "headline": False},
    ]
    assert key_metrics({"scores": scores, "metrics": {}}) == {"word": "93.6%", "bits": "1.929"}
    assert key_metrics({"scores": [], "metrics": {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}}) == {
        "a": 1,
        "b": 2,
        "c": 3,
        "d": 4,
    }


def _recipe() -> Recipe:
    stages = {
        "write": {"kind": "write"},
        "join": {"kind": "join", "inputs": {"parts": "write"}},
    }
    return Recipe.from_values({"name": "toy", "stages": stages})


def test_plain_lines_tell_start_end_and_reuse(
    stages: dict[str, Stage], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(_recipe(), stages, tmp_path / "run", watch=PlainView())
    first = capsys.readouterr().err.splitlines()
    assert first[0] == "2 stages, 2 to run" and first[1] == "write: started (never run)"
    assert first[2].startswith("write: done in") and first[2].endswith("units 3")
    assert first[4].startswith("join: done in") and first[4].endswith("length 50.0%")
    run(_recipe(), stages, tmp_path / "run", watch=PlainView())
    assert "write: reused units 3" in capsys.readouterr().err


def test_live_table_shows_every_stage(stages: dict[str, Stage], tmp_path: Path) -> None:
    console = Console(force_terminal=True, width=100, record=True)
    with LiveView(console) as view:
        run(_recipe(), stages, tmp_path / "run", watch=view)
    shown = console.export_text()
    assert "✓ write" in shown and "✓ join" in shown and "length 50.0%" in shown


def test_no_terminal_no_live_table() -> None:
    assert isinstance(make_watcher(Console(force_terminal=False)), PlainView)
    assert isinstance(make_watcher(Console(force_terminal=True)), LiveView)

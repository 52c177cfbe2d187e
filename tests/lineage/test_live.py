"""The plain view, key figures and clock, as a person reads them."""

from pathlib import Path

import pytest
from rich.console import Console

from puna.base.output import Progress
from puna.lineage import Recipe, Stage, run
from puna.lineage.live import LiveView, PlainView, _Fold, _Row, clock, fold, key_metrics, make_watcher


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


def _rows(states: str) -> list[_Row]:
    """One row a letter: d done in 10 s, u reused, r running, w waiting."""
    rows = []
    for number, letter in enumerate(states):
        row = _Row(f"stage-{number}")
        row.state = {"d": "done", "u": "reused", "r": "running", "w": "waiting"}[letter]
        row.seconds = 10.0
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("states", "height", "expected"),
    [
        ("ddrww", 5, ["stage-0", "stage-1", "stage-2", "stage-3", "stage-4"]),
        ("ddddrw", 5, ["2 stages done", "stage-2", "stage-3", "stage-4", "stage-5"]),
        ("ddddrw", 3, ["4 stages done", "stage-4", "stage-5"]),
        ("ddddrwww", 3, ["4 stages done", "stage-4", "3 more stages"]),
        ("rwwwwwww", 4, ["stage-0", "stage-1", "stage-2", "5 more stages"]),
        ("uuuurw", 4, ["3 stages reused", "stage-3", "stage-4", "stage-5"]),
        ("dddddd", 4, ["3 stages done", "stage-3", "stage-4", "stage-5"]),
    ],
)
def test_folding_keeps_the_running_stage_in_view(states: str, height: int, expected: list[str]) -> None:
    assert [row.name for row in fold(_rows(states), height)] == expected


@pytest.mark.parametrize("height", range(1, 34))
def test_no_height_loses_the_running_stage_or_a_count(height: int) -> None:
    for running in range(28):
        rows = _rows("d" * running + "r" + "w" * (27 - running))
        shown = fold(rows, height)
        assert len(shown) <= max(3, height) and rows[running] in shown
        assert sum(int(row.name.split()[0]) if isinstance(row, _Fold) else 1 for row in shown) == 28


def test_a_folded_line_sums_the_time_of_what_ran() -> None:
    folded = fold(_rows("dududduddrw"), 3)[0]
    mark, name, _, when, note = folded.cells()
    assert (str(mark), name, str(when), str(note)) == ("\u2713", "9 stages done", "1:00", "3 reused")


def _long_view(console: Console, running: int) -> LiveView:
    view = LiveView(console)
    view._rows = {row.name: row for row in _rows("d" * running + "r" + "w" * (27 - running))}
    metrics: dict[str, float | str] = {"reward": 2.9314, "verified": 0.8125, "kl": 0.0342, "length": 57.25, "lr": 1e-5}
    view._rows[f"stage-{running}"].look = Progress(1250, 2000, "steps", metrics)
    return view


def _screen(console: Console, view: LiveView) -> list[str]:
    with console.capture() as capture:
        console.print(view, end="")
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize("height", [24, 40])
def test_a_long_lap_fits_the_terminal(height: int) -> None:
    console = Console(width=100, height=height, color_system=None, force_terminal=False)
    lines = _screen(console, _long_view(console, 17))
    assert len(lines) == min(28, height - 1) and max(map(len, lines)) <= 100
    running = next(line for line in lines if "stage-17" in line)
    assert "1,250/2,000 steps  reward 2.93  verified 0.8" in running and running.rstrip().endswith("\u2026")
    assert (f"{28 - (height - 1) + 1} stages done" in lines[0]) is (height < 28)


def test_when_all_has_ended_every_stage_is_shown() -> None:
    console = Console(width=100, height=12, color_system=None, force_terminal=False)
    view = _long_view(console, 20)
    with view:
        assert len(_screen(console, view)) == 11
    assert len(_screen(console, view)) == 28

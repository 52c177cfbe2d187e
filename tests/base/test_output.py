"""The output of a stage: units survive, everything half-made is removed."""

import json
from pathlib import Path

import pytest

from puna.base.errors import DataError
from puna.base.output import Inputs, Progress, StageOutput


def _write(out: StageOutput, name: str, text: str) -> None:
    with out.unit(name) as unit:
        unit.path.write_text(text)
        unit.info["length"] = len(text)


def test_finished_units_are_kept_by_the_next_attempt(tmp_path: Path) -> None:
    first = StageOutput(tmp_path)
    _write(first, "a.txt", "one")
    _write(first, "part/b.txt", "two")
    second = StageOutput(tmp_path)
    assert second.done("a.txt") and second.done("part/b.txt") and not second.done("c.txt")
    assert second.info("a.txt") == {"length": 3}
    assert second.attempt == 2 and second.seconds >= first._seconds_before
    assert set(second.records()) == {"a.txt", "part/b.txt"}


def test_half_made_files_are_removed(tmp_path: Path) -> None:
    out = StageOutput(tmp_path)
    _write(out, "whole.txt", "x")

    def fail() -> None:
        with out.unit("broken.txt") as unit:
            unit.path.write_text("half")
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert not out.done("broken.txt") and not list(out.path.glob("*broken*"))
    (out.path / ".part-killed.txt").write_text("half")  # as a kill would leave them:
    (out.path / "renamed-without-record.txt").write_text("x")
    assert sorted(p.name for p in StageOutput(tmp_path).path.iterdir()) == ["whole.txt"]


def test_a_damaged_unit_is_made_again(tmp_path: Path) -> None:
    out = StageOutput(tmp_path)
    _write(out, "a.txt", "right")
    (out.path / "a.txt").write_text("wrong")
    assert not StageOutput(tmp_path).done("a.txt")


def test_progress_reaches_the_watcher_and_the_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.base.output._HEARTBEAT_S", -1.0)
    looks: list[Progress] = []
    out = StageOutput(tmp_path, watch=looks.append)
    out.progress(3, 10, "steps", loss=1.5)
    assert looks == [Progress(3, 10, "steps", {"loss": 1.5})]
    beat = json.loads((tmp_path / "heartbeat.json").read_text())
    assert (beat["done"], beat["total"], beat["metrics"]) == (3, 10, {"loss": 1.5})


def test_inputs_say_what_is_missing() -> None:
    inputs = Inputs({"model": Path("m"), "crawl": [Path("a"), Path("b")]})
    assert inputs.one("model") == Path("m") and inputs.many("crawl") == [Path("a"), Path("b")]
    assert not inputs.has("scores")
    with pytest.raises(DataError, match='expected an input "scores"'):
        inputs.one("scores")
    with pytest.raises(DataError, match="expected one path .* came 2"):
        inputs.one("crawl")

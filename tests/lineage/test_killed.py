"""Killed with SIGKILL anywhere and run again: the same bytes as a run that was never killed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.small import small_recipe

DRIVER = Path(__file__).with_name("killing.py")


def _job(recipe: Any, out: Path, *job: object) -> dict[str, Any]:
    path = out.with_suffix(".json")
    path.write_text(recipe.model_dump_json())
    command = [sys.executable, str(DRIVER), str(path), str(out), *map(str, job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


Clean = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """The folder of a run that nobody killed, with its boundaries and checksums."""
    out = tmp_path_factory.mktemp("clean") / "run"
    return out, _job(small_recipe(), out, "count")


def test_ten_random_kills_change_no_byte(clean: Clean, tmp_path: Path) -> None:
    killed = _job(small_recipe(), tmp_path / "run", "chain", 1, 10)
    assert killed["killed"] == 10
    for stages in killed["finished"]:
        assert stages == clean[1]["stages"]


def _check_sweep(clean: Clean, out: Path, first: int, stride: int) -> int:
    swept = _job(small_recipe(), out, "sweep", clean[0], first, stride)
    for result in swept["results"]:
        expected = clean[1]["stages"][result["stage"]]
        assert result["files"] == expected, f"{result['stage']} killed at boundary {result['boundary']}"
    assert {result["stage"] for result in swept["results"]} == set(clean[1]["stages"])
    return int(swept["killed"])


def test_a_kill_in_every_stage_changes_no_byte(clean: Clean, tmp_path: Path) -> None:
    """One kill a stage: boundary 90 is behind the links to earlier stages, within the work of most stages."""
    assert _check_sweep(clean, tmp_path / "run", 90, 10_000) == len(clean[1]["stages"])


@pytest.mark.long
def test_kills_at_every_boundary_of_every_stage_change_no_byte(clean: Clean, tmp_path: Path) -> None:
    assert _check_sweep(clean, tmp_path / "run", 0, 1) >= 0.8 * clean[1]["boundaries"]

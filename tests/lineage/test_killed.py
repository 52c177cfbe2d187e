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
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Boundaries and checksums of a run that nobody killed."""
    return _job(small_recipe(), tmp_path_factory.mktemp("clean") / "run", "count")


def test_ten_random_kills_change_no_byte(clean: dict[str, Any], tmp_path: Path) -> None:
    killed = _job(small_recipe(), tmp_path / "run", "chain", 1, 10)
    assert killed["killed"] == 10
    assert killed["stages"] == clean["stages"]


def test_kills_at_some_boundaries_change_no_byte(clean: dict[str, Any], tmp_path: Path) -> None:
    stride = max(1, clean["boundaries"] // 9)
    swept = _job(small_recipe(), tmp_path / "run", "sweep", stride // 2, stride)
    assert swept["killed"] >= 9
    for result in swept["results"]:
        assert result["stages"] == clean["stages"], f"killed at boundary {result['boundary']}"


@pytest.mark.long
def test_kills_at_every_boundary_change_no_byte(clean: dict[str, Any], tmp_path: Path) -> None:
    swept = _job(small_recipe(), tmp_path / "run", "sweep", 0, 1)
    assert swept["killed"] >= clean["boundaries"] - 4
    for result in swept["results"]:
        assert result["stages"] == clean["stages"], f"killed at boundary {result['boundary']}"

"""A tiny package of stages made in a temporary folder, so that tests can change its source lines."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from puna.lineage import Stage

_SHARED = """
SUFFIX = "!"
"""

_WRITE = """
from puna.base.config import Config

class WriteConfig(Config):
    text: str = "hello"
    units: int = 3

def run(config, inputs, out):
    for number in range(config.units):
        name = f"part-{number}.txt"
        if not out.done(name):
            with out.unit(name) as unit:
                unit.path.write_text(config.text * (number + 1))
                unit.info["number"] = number
        out.progress(number + 1, config.units, "parts")
    out.metric(units=config.units)
"""

_JOIN = """
from typing import Annotated
from puna.base.config import Config, Hardware
from toystages.shared import SUFFIX

class JoinConfig(Config):
    upper: bool = False
    workers: Annotated[int, Hardware] = 1

def run(config, inputs, out):
    text = "".join(path.read_text() for path in sorted(inputs.one("parts").glob("part-*.txt")))
    if not out.done("joined.txt"):
        with out.unit("joined.txt") as unit:
            unit.path.write_text((text.upper() if config.upper else text) + SUFFIX)
    out.score("length", "accuracy", 0.5, (0.4, 0.6), 100, headline=True)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Path]:
    """The folder of the toy package, importable during the test."""
    folder = tmp_path / "source" / "toystages"
    folder.mkdir(parents=True)
    for name, text in (("__init__", ""), ("shared", _SHARED), ("write", _WRITE), ("join", _JOIN)):
        (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder.parent))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder.parent))
    for name in [name for name in sys.modules if name.startswith("toystages")]:
        del sys.modules[name]


@pytest.fixture
def stages(toy: Path) -> dict[str, Stage]:
    """The toy stage table."""
    return {
        "write": Stage("toystages.write", "WriteConfig"),
        "join": Stage("toystages.join", "JoinConfig", seeded=True),
    }

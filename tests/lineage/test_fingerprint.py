"""Source hashes: each module is parsed once a process, and a changed file is seen all the same."""

import ast
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from puna.lineage import fingerprint
from puna.lineage.fingerprint import source_hashes
from puna.stages import STAGES


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The sources that were parsed since the test began."""
    found: list[bytes] = []
    real = ast.parse

    def parse(content: bytes) -> ast.Module:
        found.append(content)
        return real(content)

    fingerprint._imports.cache_clear()
    # Of this module alone: pytest parses too, where a test fails.
    monkeypatch.setattr(fingerprint, "ast", SimpleNamespace(**{**vars(ast), "parse": parse}))
    return found


def test_planning_many_stages_parses_each_module_once(parsed: list[bytes]) -> None:
    modules: set[str] = set()
    for stage in [*STAGES.values()] * 2:
        modules |= set(source_hashes(stage.module))
    assert len(modules) > 50 and len(parsed) == len(modules)


def test_a_changed_file_is_seen_in_the_same_process(toy: Path, parsed: list[bytes]) -> None:
    before = source_hashes("toystages.join")
    assert source_hashes("toystages.join") == before and len(parsed) == len(before) == 3
    text = (toy / "join.py").read_text()
    (toy / "join.py").write_text(text + "\nimport toystages.write\n")
    after = source_hashes("toystages.join")
    assert set(after) == {*before, "toystages.write"}  # what it imports is read anew, not only its hash
    assert after["toystages.join"] == hashlib.sha256((toy / "join.py").read_bytes()).hexdigest()
    (toy / "join.py").write_text(text)
    assert source_hashes("toystages.join") == before

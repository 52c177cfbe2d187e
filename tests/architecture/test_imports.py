"""Who may import whom: the table of docs/architecture.md, checked in the source."""

import ast
import re
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUNA = ROOT / "puna"

# Beside `base` and `lineage`, which anyone may import.
MAY_IMPORT = {
    "base": set(),
    "lineage": set(),
    "world": set(),
    "verify": set(),
    "tokenizer": set(),
    "model": set(),
    "scaling": {"model", "parallel"},
    "curate": {"tokenizer"},
    "engine": {"tokenizer", "model"},
    "needle": {"tokenizer", "model"},
    "parallel": {"model"},
    "pretrain": {"needle", "tokenizer", "model", "parallel"},
    "evals": {"engine", "verify", "needle", "tokenizer", "curate", "model"},
    "export": {"tokenizer", "model"},
    "posttrain": {"pretrain", "engine", "evals", "verify", "tokenizer", "model", "parallel"},
}
SEES_EVERYTHING = {"stages", "cli", "__main__", "__init__"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            names += [f"puna.{alias.name}" for alias in node.names] if node.module == "puna" else []
        found |= {name.split(".")[1] for name in names if name.startswith("puna.")}
    return found


@pytest.mark.parametrize(
    "part", sorted({path.name for path in PUNA.iterdir() if (path / "__init__.py").exists()} - SEES_EVERYTHING)
)
def test_parts_import_only_what_they_may(part: str) -> None:
    assert part in MAY_IMPORT, f"puna/{part} is not in the import table: add it here and to docs/architecture.md"
    allowed = MAY_IMPORT[part] | {"base", part} | ({"lineage"} if part != "base" else set())
    for path in sorted((PUNA / part).rglob("*.py")):
        extra = _imports(path) - allowed - {"__version__"}
        assert not extra, f"{path.relative_to(ROOT)} imports {sorted(extra)}, which puna/{part} may not"


def test_top_level_files_are_known() -> None:
    assert {path.stem for path in PUNA.glob("*.py")} <= SEES_EVERYTHING


def test_every_part_is_described_in_the_architecture() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for part in {*MAY_IMPORT, "cli"}:
        assert f"`{part}`" in text, f"docs/architecture.md does not speak of `{part}`"


def test_every_dependency_has_its_line() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert block
    for name in re.findall(r'"([a-z0-9_-]+)', block[1]):
        assert f"| {name} |" in text, f"docs/architecture.md does not say why {name} is a dependency"


def test_public_names_are_true() -> None:
    import importlib

    for package in ("model", "tokenizer", "engine", "verify", "lineage"):
        module = importlib.import_module(f"puna.{package}")
        for name in module.__all__:
            assert hasattr(module, name), f"puna.{package}.__all__ names {name}, which is not there"


def _comprehension_names(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Names that comprehensions of a function bind, and globals that it and they read."""
    bound, read = set(), {name.get_name() for name in table.get_symbols() if name.is_referenced() and name.is_global()}
    for child in table.get_children():
        if child.get_name() in ("listcomp", "setcomp", "dictcomp"):
            bound |= {name.get_name() for name in child.get_symbols() if name.is_local()}
            inner_bound, inner_read = _comprehension_names(child)
            bound, read = bound | inner_bound, read | inner_read
    return bound, read


def test_no_comprehension_takes_the_name_of_a_global_that_its_function_reads() -> None:
    """Python 3.12.0 to 3.12.3 raise UnboundLocalError there."""

    def tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
        yield table
        for child in table.get_children():
            yield from tables(child)

    found = []
    for path in PUNA.rglob("*.py"):
        for table in tables(symtable.symtable(path.read_text(encoding="utf-8"), str(path), "exec")):
            bound, read = _comprehension_names(table) if table.get_type() == "function" else (set(), set())
            found += [f"{path.name}: {table.get_name()}: {name}" for name in bound & read]
    assert found == []

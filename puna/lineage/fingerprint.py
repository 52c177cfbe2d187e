"""A fingerprint says what made an artifact: source code, settings without hardware, seed, and inputs.

Same fingerprint, same bytes: the artifact is reused. The source of a stage is its module and every puna module that one
imports, followed through the syntax tree (also imports inside functions), so a changed line reruns what it can change.
"""

import ast
import functools
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from puna.base.errors import DataError
from puna.base.files import files_below, sha256_file

_HASH_WHOLE_BYTES = 256 << 20
_ENDS_BYTES = 1 << 20


def fingerprint(source: dict[str, str], config: dict[str, Any], inputs: dict[str, Any], seed: int | None) -> str:
    """The fingerprint of an artifact, 64 hexadecimal digits, from JSON values."""
    made_of = {"source": source, "config": config, "inputs": inputs, "seed": seed}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def source_hashes(module: str) -> dict[str, str]:
    """SHA-256 of the source of `module` and of every module of its package that it imports, by module name."""
    package = module.partition(".")[0]
    hashes: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in hashes:
            continue
        path = _module_path(name)
        if path is None:
            continue
        hashes[name], imported = _read_module(path, name, package)
        waiting.extend(imported)
    return dict(sorted(hashes.items()))


def path_fingerprint(path: Path) -> str:
    """The fingerprint of a user's file or folder: names and contents.

    A file over 256 MiB is known by its size, time, first and last MiB, so that a crawl of terabytes can be named.
    Raises DataError if there is nothing at `path`.
    """
    if not path.exists():
        raise DataError(f"expected a file or folder at {path}, found none; check the path or `--set` it")
    digest = hashlib.sha256()
    for file in files_below(path) if path.is_dir() else [path]:
        name = file.relative_to(path).as_posix() if path.is_dir() else path.name
        digest.update(f"{name}\0{_file_digest(file)}\n".encode())
    return digest.hexdigest()


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why a stage runs again: what differs between what made the last artifact and what would make the next."""
    reasons = []
    for key in sorted({*old["source"], *new["source"]}):
        if old["source"].get(key) != new["source"].get(key):
            reasons.append(f"source {key} changed")
    before, after = _flat(old["config"]), _flat(new["config"])
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            reasons.append(f"{key}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}")
    for key in sorted({*old["inputs"], *new["inputs"]}):
        if old["inputs"].get(key) != new["inputs"].get(key):
            reasons.append(f"input {key} changed")
    if old.get("seed") != new.get("seed"):
        reasons.append(f"seed: {old.get('seed')} -> {new.get('seed')}")
    return reasons


def _module_path(name: str) -> Path | None:
    """The source file of a module, found without importing it; None for names that are no module."""
    package, *parts = name.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    below = Path(spec.origin).parent.joinpath(*parts)
    candidates = (below / "__init__.py", below.with_name(below.name + ".py"))
    return next((path for path in candidates if path.is_file()), None)


def _read_module(path: Path, name: str, package: str) -> tuple[str, tuple[str, ...]]:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), _imports(content, name, package, path.name == "__init__.py")


# By content, so that a file changed while the process runs is read anew. Without it a plan of 30 stages parses each
# module once a stage that imports it, hundreds of times.
@functools.cache
def _imports(content: bytes, name: str, package: str, is_package: bool) -> tuple[str, ...]:
    """The modules of `package` that a module's source imports."""
    imported = [name.rpartition(".")[0]] if "." in name else []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".") if is_package else name.split(".")[:-1]
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            imported += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(one for one in imported if one == package or one.startswith(package + "."))


def _file_digest(file: Path) -> str:
    stat = file.stat()
    if stat.st_size <= _HASH_WHOLE_BYTES:
        return sha256_file(file)
    digest = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    with open(file, "rb") as handle:
        digest.update(handle.read(_ENDS_BYTES))
        handle.seek(-_ENDS_BYTES, 2)
        digest.update(handle.read())
    return digest.hexdigest()


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat

"""Measured runs as columns, from the files that people keep them in.

CSV, TSV, JSON lines (each also as .gz), JSON and Parquet, a run a row; a ladder.json, the folder of a ladder, or a run
folder that has one. Columns are found by their usual names, whatever their case and blanks: "Model Size" is parameters.

P points.
"""

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from puna.base.config import did_you_mean
from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.points import Float64
from puna.scaling.forecast import read_ladders
from puna.scaling.law import FLOPS_PER_WEIGHT
from puna.scaling.numbers import read_quantity

_USUAL = {
    "parameters": "parameters, params, num_parameters, num_params, n_parameters, n_params, model_size, size, n",
    "tokens": "tokens, num_tokens, n_tokens, training_tokens, train_tokens, tokens_learned, d",
    "loss": "loss, val_loss, validation_loss, heldout_loss, eval_loss, test_loss, final_loss",
    "flops": "flops, flop, training_flops, training_flop, train_flops, total_flops, compute, c",
    "unique": "unique, unique_tokens, num_unique_tokens",
    "name": "name, run, run_name, model, id",
}
ALIASES = {meaning: names.split(", ") for meaning, names in _USUAL.items()}
"""The names that a column of each meaning usually has, in small letters with _ between words."""
_NEEDED = ("parameters", "tokens", "loss")


@dataclass(frozen=True, eq=False)
class Points:
    """Runs of P points: what each is called, and columns [P].

    flops: as given, or 6 N D. unique: different tokens, where all files tell them. left_out: rows without a number.
    """

    names: tuple[str, ...]
    parameters: Float64
    tokens: Float64
    loss: Float64
    flops: Float64
    unique: Float64 | None = None
    left_out: int = 0

    def only(self, kept: npt.NDArray[np.bool_]) -> "Points":
        """The points of a mask [P]."""
        names = tuple(name for name, stays in zip(self.names, kept.tolist(), strict=True) if stays)
        unique = None if self.unique is None else self.unique[kept]
        return Points(
            names,
            self.parameters[kept],
            self.tokens[kept],
            self.loss[kept],
            self.flops[kept],
            unique,
            self.left_out,
        )


def read_points(places: Sequence[Path], columns: Mapping[str, str] | None = None) -> Points:
    """All runs of some files or folders; `columns` names the column of a meaning, a key of `ALIASES`.

    Two of parameters, tokens and flops are enough: C = 6 N D gives the third. Rows without one of them or a loss are
    left out. Raises DataError for a file that cannot be read, a missing column or a cell that is no number, and
    ConfigError for a meaning that is none.
    """
    for meaning in columns or {}:
        if meaning not in ALIASES:
            near = did_you_mean(meaning, ALIASES)
            raise ConfigError(f"--column: expected one of {', '.join(ALIASES)} before =, came {meaning!r}{near}")
    ladders = [found for place in places for found in _ladders(place)]
    rows = [_of_ladder(row) for row in (read_ladders(ladders) if ladders else [])]
    for place in places:
        if not _ladders(place):
            rows += _of_file(place, columns or {})
    whole = [_completed(row) for row in rows]
    kept = [row for row in whole if all(math.isfinite(row[meaning]) for meaning in _NEEDED)]
    if not kept:
        raise DataError(f"{places[0]}: expected rows with parameters, tokens and loss, came none")
    parameters, tokens, loss, flops, unique = (
        np.array([row[meaning] for row in kept], np.float64) for meaning in (*_NEEDED, "flops", "unique")
    )
    names = tuple(str(row["name"]) for row in kept)
    told = unique if np.isfinite(unique).all() else None
    return Points(names, parameters, tokens, loss, flops, told, len(rows) - len(kept))


def _ladders(place: Path) -> list[Path]:
    """The ladder.json of a ladder's folder or of a run folder (of its replicas, too); itself if it is one."""
    if place.is_dir():
        found = [path for pattern in ("", "*/", "seed-*/*/") for path in sorted(place.glob(f"{pattern}ladder.json"))]
        if not found:
            raise DataError(f"{place}: expected a ladder or a run that has one, came a folder without ladder.json")
        return list({path.resolve(): path for path in found}.values())
    return [place] if place.name == "ladder.json" else []


def _of_ladder(row: Mapping[str, Any]) -> dict[str, Any]:
    nothing = dict.fromkeys(ALIASES, math.nan)
    return nothing | {key: row[key] for key in ("name", "parameters", "tokens", "loss", "flops")}


def _of_file(path: Path, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = _rows(path)
    known = list(dict.fromkeys(column for row in rows for column in row))
    found = {meaning: _column(path, meaning, known, columns.get(meaning)) for meaning in ALIASES}
    has = {meaning for meaning, column in found.items() if column is not None}
    if "loss" not in has or len(has & {"parameters", "tokens", "flops"}) < 2:
        raise DataError(
            f"{path}: expected columns parameters, tokens (or flops instead of one) and loss, came "
            f"{', '.join(known) or 'none'}; name them, for example --column loss=NAME"
        )
    made = []
    for number, row in enumerate(rows, 1):
        values = {
            meaning: math.nan if column is None else _number(row.get(column), f"{path}, row {number}, {column}")
            for meaning, column in found.items()
            if meaning != "name"
        }
        name = row.get(found["name"]) if found["name"] is not None else None
        made.append({**values, "name": f"row {number}" if name in (None, "") else name})
    return made


def _column(path: Path, meaning: str, known: Sequence[str], given: str | None) -> str | None:
    """The column of a meaning: as it was named, or the first of its usual names that is there."""
    if given is not None:
        if given not in known:
            raise DataError(f"{path}: expected a column {given!r}, came {', '.join(known)}{did_you_mean(given, known)}")
        return given
    plain = {re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_"): column for column in reversed(known)}
    return next((plain[alias] for alias in ALIASES[meaning] if alias in plain), None)


def _completed(row: dict[str, Any]) -> dict[str, Any]:
    """With C = 6 N D for what of the three is missing."""
    n, d, c = row["parameters"], row["tokens"], row["flops"]
    if not math.isfinite(n) and d > 0:
        row["parameters"] = c / (FLOPS_PER_WEIGHT * d)
    elif not math.isfinite(d) and n > 0:
        row["tokens"] = c / (FLOPS_PER_WEIGHT * n)
    elif not math.isfinite(c):
        row["flops"] = FLOPS_PER_WEIGHT * n * d
    return row


def _number(value: Any, where: str) -> float:
    """A cell as a number, nan if it is empty. Raises DataError for anything else."""
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return read_quantity(where, str(value))
    except ConfigError:
        raise DataError(f"{where}: expected a number such as 3.2, 8B or 1.4e12, came {value!r}") from None


def _rows(path: Path) -> list[dict[str, Any]]:
    kind = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "")
    if not path.is_file():
        raise DataError(f"expected a file or folder at {path}, found none")
    if kind not in _READERS:
        raise DataError(f"{path}: expected a file named {', '.join(_READERS)}, or a folder of a ladder, came another")
    try:
        content = path.read_bytes()
        return _READERS[kind](gzip.decompress(content) if path.suffix == ".gz" else content)
    except (ValueError, OSError, EOFError, csv.Error) as error:
        raise DataError(f"{path}: expected {kind[1:].upper()} with a run a row, came {error}") from None


def _flat(row: Any, before: str = "") -> dict[str, Any]:
    """A mapping of mappings as one, with dots: hyperparameters.params."""
    if not isinstance(row, dict):
        raise ValueError(f"{type(row).__name__} instead of an object")
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return flat


def _delimited(content: bytes, delimiter: str) -> list[dict[str, Any]]:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    return [{key: value.strip() for key, value in row.items() if key and isinstance(value, str)} for row in rows]


def _json_lines(content: bytes) -> list[dict[str, Any]]:
    return [_flat(json.loads(line)) for line in content.decode("utf-8").splitlines() if line.strip()]


def _json(content: bytes) -> list[dict[str, Any]]:
    """A list of runs, or an object that has one as `runs`."""
    made = json.loads(content)
    runs = made.get("runs") if isinstance(made, dict) else made
    if not isinstance(runs, list):
        raise ValueError("no list of runs")
    return [_flat(row) for row in runs]


def _parquet(content: bytes) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [_flat(row) for row in pq.read_table(io.BytesIO(content)).to_pylist()]


_READERS = {
    ".csv": lambda content: _delimited(content, ","),
    ".tsv": lambda content: _delimited(content, "\t"),
    ".jsonl": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}

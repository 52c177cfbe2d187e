"""The records that pass between stages: documents as Parquet shards, everything else as JSON lines."""

import bz2
import errno
import gzip
import io
import json
import lzma
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from puna.base.errors import DataError

DOCUMENT_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "url", "source", "lang", "date", "meta")])
_ROW_GROUP = 4096
_ROW_GROUP_CHARS = 32_000_000
_META = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


@dataclass(slots=True)
class Document:
    """One text with where it came from. `date` is ISO 8601 or empty, `lang` ISO 639-1 or empty."""

    id: str
    text: str
    url: str = ""
    source: str = ""
    lang: str = ""
    date: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


def write_documents(path: Path, documents: Iterable[Document], extra: dict[str, list[Any]] | None = None) -> int:
    """Write documents as one Parquet file (zstd) and return their number; `extra` adds label columns.

    Only a row group at a time is in memory: 4,096 documents, or fewer of more than 32 million characters.
    """

    def tables() -> Iterator[pa.Table]:
        count = 0
        for rows in _groups(documents):
            table = _table(rows)
            for name, values in (extra or {}).items():
                table = table.append_column(name, pa.array(values[count : count + len(rows)]))
            count += len(rows)
            yield table

    return _write(path, tables())


def write_document_tables(path: Path, tables: Iterable[pa.Table]) -> int:
    """`write_documents` for what is in tables of DOCUMENT_SCHEMA already: the same bytes for the same documents."""
    return _write(path, _regroup(tables))


def meta_text(meta: dict[str, Any]) -> str:
    """`meta` of a document as its column has it."""
    return _META.encode(meta)


def _write(path: Path, groups: Iterable[pa.Table]) -> int:
    """Write row groups as one file; there is at least one of them, be it empty."""
    count, writer = 0, None
    try:
        for table in groups:
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=max(1, len(table)))
            count += len(table)
    finally:
        if writer is not None:
            writer.close()
    return count


def _regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of `tables` in the groups that `_groups` makes."""
    waiting, num_groups = DOCUMENT_SCHEMA.empty_table(), 0
    for table in tables:
        waiting = pa.concat_tables([waiting, table]).combine_chunks()
        while True:
            sizes = pc.cumulative_sum(pc.utf8_length(waiting["text"]).cast(pa.int64())).to_numpy()
            end = min(_ROW_GROUP, int(sizes.searchsorted(_ROW_GROUP_CHARS, "right")) + 1)
            if end > len(waiting):
                break
            yield waiting.slice(0, end)
            waiting, num_groups = waiting.slice(end), num_groups + 1
    if len(waiting) or not num_groups:
        yield waiting


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in groups; a single empty one if there are none."""
    rows: list[Document] = []
    size = num_groups = 0
    for document in documents:
        rows.append(document)
        size += len(document.text)
        if len(rows) == _ROW_GROUP or size > _ROW_GROUP_CHARS:
            yield rows
            rows, size, num_groups = [], 0, num_groups + 1
    if rows or not num_groups:
        yield rows


def _table(rows: list[Document]) -> pa.Table:
    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in rows] for name in ("id", "text", "url", "source", "lang", "date")
    }
    columns["meta"] = [meta_text(row.meta) for row in rows]
    return pa.table(columns, schema=DOCUMENT_SCHEMA)


def read_documents(path: Path, labels: Sequence[str] = ()) -> Iterator[Document]:
    """Documents of one Parquet file, or of the `documents-*.parquet` files of a folder in name order.

    `labels` are label columns to be put into `meta`, where a file has them. Raises DataError if there is no file.
    """
    files = sorted(path.glob("documents-*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"expected documents-*.parquet in {path}, found none; run the curate stage first")
    for file in files:
        parquet = pq.ParquetFile(file)
        found = [name for name in labels if name in parquet.schema_arrow.names and name not in DOCUMENT_SCHEMA.names]
        for batch in parquet.iter_batches(_ROW_GROUP, columns=[*DOCUMENT_SCHEMA.names, *found]):
            for row in batch.to_pylist():
                extra = {name: row.pop(name) for name in found}
                yield Document(**{**row, "meta": {**json.loads(row["meta"] or "{}"), **extra}})


def open_text(path: Path) -> io.TextIOBase:
    """Open a UTF-8 text file that may be compressed (.gz, .xz, .bz2, .zst by its name)."""
    openers = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
    if path.suffix == ".zst":
        return io.TextIOWrapper(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"), encoding="utf-8")
    opener = openers.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8")  # type: ignore[operator, no-any-return]


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file (plain, .gz, .xz, .bz2, .zst).

    Raises DataError naming the line if a row is not a JSON object, or the file if it is missing.
    """
    if not path.is_file():
        raise DataError(f"expected a JSONL file at {path}, found none")
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: expected one JSON object a line, came {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: expected a JSON object, came {type(row).__name__}")
            yield row


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as JSON lines (compressed if the name ends in .gz) and return their number."""
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = content.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return content.count("\n")


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Add a row to JSON lines, for good, or nothing of it. Raises OSError if there is no room."""
    size = path.stat().st_size if path.exists() else 0
    line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        if os.write(number, line) < len(line):
            raise OSError(errno.ENOSPC, f"no room for a line in {path.name}")
        os.fsync(number)
    except OSError:
        os.ftruncate(number, size)
        raise
    finally:
        os.close(number)

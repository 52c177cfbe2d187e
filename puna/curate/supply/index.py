"""The index of a corpus: what a later dump is compared with, so that nothing old is cleaned again.

It holds every document that passed the rules, copies too, with its keys but without its text, about 200 bytes each.
Joined to a new dump by their old rows, documents and copies are the same as if all had been curated at once (tested).
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from puna.base.errors import DataError
from puna.base.files import read_json
from puna.curate.clean import CurateConfig
from puna.curate.dedup.common_lines import with_common
from puna.curate.parts import ROW_SCHEMA
from puna.curate.text.words import Hashes

_DECIDED_TOGETHER = ("url:", "exact:", "near:", "outliers:", "lines:")
"""Beginnings of rules that look at all documents: what they dropped may stay beside others, and counts for others."""
_SCHEMA = pa.schema([("final_id", pa.string()), ("rule", pa.string()), ("heldout", pa.bool_())])
INDEX_SCHEMA = pa.unify_schemas([ROW_SCHEMA, _SCHEMA])
INDEX_COLUMNS = [*ROW_SCHEMA.names, "record", "heldout"]
"""Of a bucket, what `index_rows` reads."""
_BATCH = 256
_MUST_AGREE = ("minhash", "near_duplicates")


def index_rows(table: pa.Table, common_lines: Hashes) -> pa.Table:
    """The rows of the index among those of a bucket: `text` only where the document's has lost its common lines."""
    rule = table["rule"]
    is_kept = pc.equal(rule, "")
    in_index = functools.reduce(pc.or_, (pc.starts_with(rule, start) for start in _DECIDED_TOGETHER), is_kept)
    is_touched = pc.and_(is_kept, pa.array(with_common(table["line_keys"], common_lines)))
    renamed = {"final_id": table["id"], "id": table["record"], "text": pc.if_else(is_touched, table["text"], "")}
    rows = pa.table(
        [renamed[name] if name in renamed else table[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA
    )
    return rows.filter(in_index)


def check_index(corpus: Path, config: CurateConfig) -> None:
    """Raises DataError if `corpus` is no curate artifact with an index, or its keys were made by other settings."""
    if not (corpus / "manifest.json").is_file() or not list((corpus / "index").glob("index-*.parquet")):
        raise DataError(f"expected a finished curate stage with an index at {corpus}, found none; curate it first")
    theirs = read_json(corpus / "manifest.json")["config"]
    ours = config.model_dump(mode="json")
    differing = [name for name in _MUST_AGREE if theirs[name] != ours[name]]
    if bool(theirs["max_line_copies"]) < bool(ours["max_line_copies"]):
        differing.append("max_line_copies")
    if bool(theirs["outliers"]["max_kl"]) < bool(ours["outliers"]["max_kl"]):
        differing.append("outliers")
    if differing:
        raise DataError(
            f"expected the settings that {corpus} was made with, came other ones of {', '.join(differing)}: "
            f"{', '.join(str(theirs[name]) for name in differing)} there"
        )


def corpus_parts(corpus: Path) -> Iterator[pa.Table]:
    """The rows of the index with their texts, in tables of the form of a part."""
    for path in sorted((corpus / "index").glob("index-*.parquet")):
        shard = path.name.removeprefix("index-")
        texts = {
            kind: _Texts(corpus / f"{kind}-{shard}") for kind in ("documents", "heldout/documents", "rejects/rejects")
        }
        for batch in pq.ParquetFile(path).iter_batches(_BATCH):
            rows = batch.to_pylist()
            for row in rows:
                kind = "rejects/rejects" if row["rule"] else "heldout/documents" if row["heldout"] else "documents"
                text = texts[kind].of(row["final_id"])
                row["text"], row["rule"] = row["text"] or text, ""
            yield pa.Table.from_pylist(rows, schema=ROW_SCHEMA)


class _Texts:
    """The texts of a file whose rows are sorted by id, asked for in that order."""

    def __init__(self, path: Path):
        self._path = path
        self._rows = self._read()
        self._row: dict[str, Any] | None = next(self._rows, None)

    def of(self, identifier: str) -> str:
        while self._row is not None and self._row["id"] < identifier:
            self._row = next(self._rows, None)
        if self._row is None or self._row["id"] != identifier:
            raise DataError(f"expected the document {identifier} of the index in {self._path}, found none")
        return str(self._row["text"])

    def _read(self) -> Iterator[dict[str, Any]]:
        for batch in pq.ParquetFile(self._path).iter_batches(_BATCH, columns=["id", "text"]):
            yield from batch.to_pylist()

"""Parts: the rows of cleaned records, a Parquet file for each chunk, and their way to output files sorted by id.

A part is small; all of them together need not fit into memory. What has to be known of every row at once is read from
them a column at a time (select.py); the texts go once through buckets of a bounded size on disk, each a range of ids.

N rows of all parts, in the order of the parts.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

_BUCKET_BYTES = 32_000_000
_BUFFER_BYTES = 32_000_000
_MAX_BUCKETS = 1024
_SECONDS = b"seconds"
Column: TypeAlias = pa.Array | pa.ChunkedArray
Item = TypeVar("Item")


@dataclass(slots=True)
class Row:
    """A record on its way. `rule` is "" while it is kept, else "step:reason"; for words see words.count_words.

    address, exact, bands, line_keys: what copies of it share, see dedup/; line_words: words of each line; word_counts:
    see outliers.py.
    """

    id: str
    source: str
    locator: str
    form: str = ""
    url: str = ""
    date: str = ""
    lang: str = ""
    title: str = ""
    notes: str = ""
    text: str = ""
    rule: str = ""
    bytes_in: int = 0
    words_seen: int = 0
    words_extracted: int = 0
    words: int = 0
    email: int = 0
    phone: int = 0
    ip: int = 0
    card: int = 0
    secret: int = 0
    national_id: int = 0
    address: bytes = b""
    exact: bytes = b""
    bands: bytes = b""
    line_keys: bytes = b""
    line_words: bytes = b""
    word_counts: bytes = b""


_TYPES = {str: pa.string(), int: pa.int64(), bytes: pa.binary()}
ROW_SCHEMA = pa.schema([(item.name, _TYPES[cast(type, item.type)]) for item in fields(Row)])


def encode_part(rows: list[Row], seconds: float = 0.0) -> bytes:
    """Rows as the bytes of one Parquet file, sorted by id, with the `seconds` that they took."""
    rows = sorted(rows, key=lambda row: (row.id, row.source, row.locator))
    columns = {name: [getattr(row, name) for row in rows] for name in ROW_SCHEMA.names}
    return encode_table(pa.table(columns, schema=ROW_SCHEMA.with_metadata({_SECONDS: repr(seconds)})))


def seconds_of_part(path: Path) -> float:
    """What `encode_part` was given."""
    return float((pq.read_schema(path).metadata or {}).get(_SECONDS, b"0"))


def encode_table(table: pa.Table) -> bytes:
    """A table as the bytes of one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def write_part(path: Path, part: bytes) -> None:
    """Write a part so that it is there whole or not at all, whenever the process or the machine dies."""
    temp = path.with_name(".part-" + path.name)
    with open(temp, "wb") as file:
        file.write(part)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, path)


def read_parts(parts: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of one part after the other."""
    for part in parts:
        yield pq.ParquetFile(part).read(columns=list(columns))


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one made by a thread of its own while this one is worked on."""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = thread.submit(next, items, None)
            yield item


def with_values(column: Column, places: NDArray[np.bool_], values: list[Any]) -> Column:
    """A column with other values in these places, [N] of which as many are true as there are values."""
    return pc.replace_with_mask(column, pa.array(places), pa.array(values, column.type)) if values else column


class Buckets:
    """Rows in files of about 32 MB of text, each a range of ids of one output shard.

    How many there are depends on the rows alone, never on how they came in parts.
    """

    def __init__(self, folder: Path, shards: int, text_bytes: int):
        self._folder, self._shards = folder, shards
        self._ranges = max(1, min(_MAX_BUCKETS, -(-text_bytes // _BUCKET_BYTES)) // shards)

    def fill(self, tables: Iterable[pa.Table]) -> None:
        """Sort the rows of `tables` into buckets by their "id"; an unfinished earlier attempt is thrown away."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        waiting: list[pa.Table] = []
        size = 0
        for table in tables:
            waiting.append(table)
            size += table.nbytes
            if size > _BUFFER_BYTES:
                self._flush(waiting)
                size = 0
        self._flush(waiting)

    def read(self, shard: int, columns: Sequence[str], keep: pc.Expression | None = None) -> Iterator[pa.Table]:
        """Of the rows of a shard those that `keep` is true of, by id, bucket by bucket.

        columns: which to read, among them "id" and those that `keep` asks for.
        """
        for number in range(self._ranges):
            path = self._path(shard * self._ranges + number)
            if path.exists():
                yield _read_streams(path, columns, keep).sort_by("id")

    def _bucket_of(self, ids: pa.ChunkedArray) -> NDArray[np.int64]:
        digits = "".join(pc.utf8_slice_codeunits(ids, 0, 8).to_pylist())
        heads = np.frombuffer(bytes.fromhex(digits), ">u4").astype(np.int64)
        return heads % self._shards * self._ranges + (heads * self._ranges >> 32)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"bucket-{bucket:06d}.arrows"

    def _flush(self, waiting: list[pa.Table]) -> None:
        """Append what waits to its buckets, one more stream in each: thousands of buckets need no open files."""
        if not waiting:
            return
        buckets = np.concatenate([self._bucket_of(table["id"]) for table in waiting])
        order = np.argsort(buckets, kind="stable")
        found, starts = np.unique(buckets[order], return_index=True)
        table = pa.concat_tables(waiting).combine_chunks()
        waiting.clear()
        table = table.take(order)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        for bucket, start, end in zip(found.tolist(), starts.tolist(), [*starts[1:].tolist(), len(table)], strict=True):
            with open(self._path(bucket), "ab") as file, pa.ipc.new_stream(file, table.schema, options=options) as out:
                out.write_table(table.slice(start, end - start))
        del table
        pa.default_memory_pool().release_unused()  # what was freed would stay resident, four times a buffer


def _read_streams(path: Path, columns: Sequence[str], keep: pc.Expression | None) -> pa.Table:
    tables, fields_ = [], None
    with pa.OSFile(str(path)) as file:
        while file.tell() < file.size():
            if fields_ is None:
                start = file.tell()
                schema = pa.ipc.open_stream(file).schema
                file.seek(start)
                fields_ = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(name) for name in columns])
            table = pa.ipc.open_stream(file, options=fields_).read_all()
            tables.append(table if keep is None else table.filter(keep))
    return pa.concat_tables(tables).select(list(columns))

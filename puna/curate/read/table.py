"""Parquet -> records, one a row; a row group that would not fit into memory is told by the headers of its pages.

Arrow unpacks a page at once, whatever its header claims (up to 2 GiB, from some kilobytes), so the headers are read
first: Thrift's compact protocol, and in Parquet's format (PageHeader) three integers, then structs that are skipped.
"""

from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from puna.curate.read.damage import larger_than
from puna.curate.read.limits import Reading
from puna.curate.read.lines import row_record
from puna.curate.read.record import Record, broken
from puna.curate.read.sources import InputFile

_COLUMNS = ("text", "url", "date")
_PAGE_RECORDS = 32  # a page may be as large as so many of the largest records (1 GiB): writers count rows, not bytes
_BATCH_BYTES = 32 << 20
_HEADER_BYTES = 64 << 10  # statistics stand in a page's header, too
_FAILURES = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError)


def read_parquet(file: InputFile, content: IO[bytes], skipped: Counter[str], reading: Reading) -> Iterator[Record]:
    """A record for each row; a row group that is damaged, has no text or unpacks to gigabytes is one broken record."""
    try:
        table = pq.ParquetFile(content, pre_buffer=False, buffer_size=1 << 20)
        columns = [name for name in _COLUMNS if name in table.schema_arrow.names]
        has_text = "text" in columns and _is_string(table.schema_arrow.field("text").type)
        sizes = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    except _FAILURES as error:
        yield broken(file, file.name, "damaged Parquet", str(error).encode())
        return
    for group in range(len(sizes)):
        place, number = f"{file.name}:group {group}", sum(sizes[:group])
        if not has_text:
            yield broken(file, place, 'no string in field "text"', f"{sizes[group]} rows".encode())
            continue
        try:
            page_bytes = max(_largest_page(content, table.metadata.row_group(group), name) for name in columns)
            if page_bytes > _PAGE_RECORDS * reading.max_record_bytes:
                yield broken(file, place, f"page {larger_than(_PAGE_RECORDS * reading.max_record_bytes)}")
                continue
            num_batch = max(1, min(1024, _BATCH_BYTES // max(1, page_bytes)))
            for batch in table.iter_batches(num_batch, row_groups=[group], columns=columns, use_threads=False):
                for values in zip(*(_strings(batch.column(name)) for name in columns), strict=True):
                    number += 1
                    yield _row(file, f"{file.name}:{number}", dict(zip(columns, values)), reading.max_record_bytes)
        except _FAILURES as error:
            yield broken(file, place, "damaged Parquet", str(error).encode())


def _row(file: InputFile, locator: str, row: dict[str, Any], max_bytes: int) -> Record:
    text = row["text"]
    if isinstance(text, bytes):
        if len(text) > max_bytes:
            return broken(file, locator, larger_than(max_bytes), text)
        try:
            row["text"] = text.decode()
        except UnicodeDecodeError:
            return broken(file, locator, "invalid UTF-8", text)
    for key in row.keys() - {"text"}:
        row[key] = (row[key] or b"")[:4096].decode("utf-8", "replace")
    return row_record(file, locator, row, repr(row)[:1000].encode("utf-8", "replace"))


def _strings(column: pa.Array) -> list[bytes | None]:
    """The strings of a column, undecoded: Arrow checks none, and one that is not UTF-8 costs one row."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not _is_string(column.type):
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            return [None] * len(column)
        column = column.cast(pa.string())  # a date
    values: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return values


def _is_string(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _largest_page(content: IO[bytes], group: pq.RowGroupMetaData, name: str) -> int:
    """Unpacked bytes of the largest page of a column. Raises ValueError if a header makes no sense."""
    chunks = (group.column(number) for number in range(group.num_columns))
    chunk = {chunk.path_in_schema.partition(".")[0]: chunk for chunk in chunks}[name]
    at = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None and 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    end, largest = at + chunk.total_compressed_size, 0
    while 0 <= at < end:
        content.seek(at)
        header = _Thrift(content.read(min(_HEADER_BYTES, end - at)))
        _, unpacked, packed = header.page()
        if unpacked < 0 or packed < 0:
            raise ValueError("a page of less than no bytes")
        largest, at = max(largest, unpacked), at + header.position + packed
    return largest


class _Thrift:
    """The compact protocol of Thrift, as far as page headers use it. Raises ValueError or IndexError if it is not."""

    def __init__(self, data: bytes):
        self._data, self.position = data, 0

    def page(self) -> tuple[int, int, int]:
        """Type, unpacked and packed bytes of the page whose header begins here; goes on to its end."""
        fields = self._struct(0)
        return fields[1], fields[2], fields[3]

    def _struct(self, depth: int) -> dict[int, int]:
        if depth > 8:
            raise ValueError("structs too deep for a page header")
        fields, number = {}, 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._integer()
            fields[number] = self._value(kind & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> int:
        if kind in (1, 2):  # a boolean, which is the kind itself
            return 2 - kind
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 12:
            self._struct(depth + 1)
        elif kind in (3, 7, 8):
            size = {3: 1, 7: 8}.get(kind) or self._varint()
            self.position += size
        else:
            raise ValueError(f"type {kind} in a page header")
        return 0

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value, shift = value | (byte & 127) << shift, shift + 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

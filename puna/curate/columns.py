"""What has to be known of every row at once, without the texts: numbers in memory, keys of copies in files.

About 70 bytes a row are held, whatever the size of its text, and 40 more while keys are sorted.

N rows of all parts, M of them candidates: rows that no rule dropped.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from puna.curate.dedup.twins import Numbers, crowded, first_equal
from puna.curate.parts import read_parts
from puna.curate.text.words import Hashes

_NUMBERS = ("words_seen", "words_extracted", "words")
_CODED = ("source", "lang", "rule")
_KEYS = ("address", "exact", "bands")
_BLOCK = 4096


def rule_group(rule: str) -> str:
    """A rule without the details in brackets: "read:truncated record (5 of 9 bytes)" -> "read:truncated record"."""
    return rule.partition(" (")[0]


class Codes:
    """A column of few different strings: `names`, and `of_row`, for each row the number of its name, [N]."""

    def __init__(self, num_rows: int) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self.of_row = np.zeros(num_rows, np.int32)

    def number(self, name: str) -> int:
        """The number of a name, a new one if it has none yet."""
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def fill(self, rows: slice, column: pa.ChunkedArray, group: bool) -> None:
        """The rows of one part; group: without the details of a rule."""
        encoded = column.combine_chunks().dictionary_encode()
        names = [rule_group(name) if group else name for name in encoded.dictionary.to_pylist()]
        numbers = np.array([self.number(name) for name in names], np.int32)
        self.of_row[rows] = numbers[encoded.indices.to_numpy(zero_copy_only=False)]

    def order(self) -> NDArray[np.int32]:
        """For each number the place of its name in alphabetical order."""
        order = np.empty(len(self.names), np.int32)
        order[np.argsort(np.array(self.names, object))] = np.arange(len(self.names), dtype=np.int32)
        return order


class Columns:
    """The columns of all rows of `parts`; keys of candidates go to files in `folder`.

    ids: 128 bits as two numbers, [N, 2]. copies: 1 for a record's first occurrence, 2 for the second ..., [N].
    candidates: row numbers, [M]. starts: the first row of each part, and N.
    """

    def __init__(self, parts: Sequence[Path], folder: Path):
        self._parts, self._folder = parts, folder
        # Every array is made once and filled: blocks to be joined at the end would be held twice, and lie in the way.
        sizes = [pq.read_metadata(part).num_rows for part in parts]
        self.starts = np.cumsum([0, *sizes])
        count = int(self.starts[-1])
        self.source, self.lang, self.rule = Codes(count), Codes(count), Codes(count)
        self.rule.number("")
        self.bytes_of_source: Counter[str] = Counter()
        self.ids = np.empty((count, 2), np.uint64)
        self.words_seen, self.words_extracted, self.words = (np.empty(count, np.int32) for _ in _NUMBERS)
        with _KeyFiles(folder) as files:
            tables = read_parts(parts, ("id", "bytes_in", *_NUMBERS, *_CODED, *_KEYS))
            for start, size, table in zip(self.starts.tolist(), sizes, tables, strict=False):
                rows = slice(start, start + size)
                self.ids[rows] = _numbers_of(table["id"].to_pylist())
                sums = table.group_by("source").aggregate([("bytes_in", "sum")]).to_pydict()
                self.bytes_of_source.update(dict(zip(sums["source"], sums["bytes_in_sum"], strict=True)))
                for name in _NUMBERS:
                    getattr(self, name)[rows] = table[name].to_numpy()
                for name in _CODED:
                    getattr(self, name).fill(rows, table[name], group=name == "rule")
                files.append(table.filter(pc.equal(table["rule"], "")))
        self.candidates = np.flatnonzero(self.rule.of_row == self.rule.number(""))
        self.copies = self._copies()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes_in(self) -> int:
        """Of all records."""
        return self.bytes_of_source.total()

    def keys(self, name: str) -> Hashes:
        """The keys "address" or "exact" of the candidates, [M, 2]."""
        return np.fromfile(_key_file(self._folder, name), np.uint64).reshape(-1, 2)

    def band(self, number: int) -> Hashes:
        """The keys of one band of the candidates, [M]."""
        return np.fromfile(_key_file(self._folder, f"band-{number:03d}"), np.uint64)

    def id(self, row: int) -> str:
        """The final id of a row."""
        return next(self.ids_of(np.array([row])))

    def ids_of(self, rows: Numbers) -> Iterator[str]:
        """The final ids of these rows, one after the other."""
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            digits = self.ids[block].astype(">u8").tobytes().hex()
            for number, copy in enumerate(self.copies[block].tolist()):
                yield digits[number * 32 : number * 32 + 32] + (f"-{copy}" if copy > 1 else "")

    def strings(self, column: str, rows: Numbers) -> list[str]:
        """A column of these rows, read from the parts: for the few rows that are alike."""
        order = np.argsort(rows)
        found = [""] * len(rows)
        bounds = np.searchsorted(rows[order], self.starts)
        for number, part in enumerate(self._parts):
            mine = order[bounds[number] : bounds[number + 1]]
            if len(mine):
                (table,) = read_parts([part], [column])
                values = table[column].take(pa.array(rows[mine] - self.starts[number])).to_pylist()
                for place, value in zip(mine.tolist(), values, strict=True):
                    found[place] = value
        return found

    def ranks(self, rows: Numbers, *before: NDArray[np.int64]) -> Numbers:
        """The place of each of these rows in the order of who stays: by `before`, then by (source, id)."""
        sources = self.source.order()[self.source.of_row[rows]]
        keys = (self.copies[rows], self.ids[rows, 1], self.ids[rows, 0], sources)
        order = np.lexsort((*keys, *reversed(before)))
        ranks = np.empty(len(rows), np.int64)
        ranks[order] = np.arange(len(rows))
        return ranks

    def age(self, rows: Numbers) -> Numbers:
        """For each row a number that is smaller the newer its date."""
        return -np.unique(np.array(self.strings("date", rows), object), return_inverse=True)[1].astype(np.int64)

    def _copies(self) -> NDArray[np.int32]:
        """Number the occurrences of each record (same address, date and bytes) by (source, locator)."""
        copies = np.ones(len(self.ids), np.int32)
        heads = first_equal(self.ids)
        rows = crowded(heads)
        if len(rows):
            sources = self.source.order()[self.source.of_row[rows]]
            places = np.unique(np.array(self.strings("locator", rows), object), return_inverse=True)[1]
            order = np.lexsort((places, sources, heads[rows]))
            ordered = heads[rows][order]
            firsts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
            copies[rows[order]] = 1 + np.arange(len(rows)) - np.repeat(firsts, np.diff(np.r_[firsts, len(rows)]))
        return copies


class _KeyFiles(ExitStack):
    """Writes the keys of candidates, a file for addresses, one for texts, and one for each band."""

    def __init__(self, folder: Path):
        super().__init__()
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, rows: pa.Table) -> None:
        for name in ("address", "exact"):
            self._write(name, b"".join(rows[name].to_pylist()))
        bands = np.frombuffer(b"".join(rows["bands"].to_pylist()), np.uint64).reshape(max(1, len(rows)), -1)
        for number, keys in enumerate(bands.T):
            self._write(f"band-{number:03d}", keys.tobytes())

    def _write(self, name: str, data: bytes) -> None:
        if name not in self._files:
            file = open(_key_file(self._folder, name), "wb")  # noqa: SIM115 (the stack closes it)
            self._files[name] = self.enter_context(file)
        self._files[name].write(data)


def _key_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.u64"


def _numbers_of(ids: list[str]) -> Hashes:
    return np.frombuffer(bytes.fromhex("".join(ids)), ">u8").reshape(-1, 2).astype(np.uint64)

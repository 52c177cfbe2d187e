"""How much a stage is given: counted where files are there, estimated where a stage is yet to make them.

Files are judged by their first megabyte, folders of many files by some of them.
"""

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from puna.model.config import LlamaConfig

_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    ".xz": lzma.LZMADecompressor,
    ".bz2": bz2.BZ2Decompressor,
}
_SAMPLE_BYTES, _SAMPLE_FILES = 1_000_000, 32
_TABLES, _ARCHIVES = {".csv", ".tsv"}, {".tar", ".tgz"}  # an item a line; archives of pages, or of such tables
_BOOK_CHARACTERS = 10_000  # curate cuts longer texts
_NO_TEXT = {"id", "url", "source", "task", "kind", "strength", "annotator", "subject", "date", "lang", "verdict"}


@dataclass(frozen=True)
class Volume:
    """rows: documents, dialogs, prompts, pairs or items. characters: of their text; markup: of pages that are HTML yet.

    answer: characters of the mean answer among them. tokens: of a corpus that is tokenized. model: weights, and with
    `answer` what they were last taught to say. missing: what is not there, if that is why nothing is known.
    """

    rows: float = 0.0
    characters: float = 0.0
    markup: float = 0.0
    answer: float = 0.0
    tokens: float = 0.0
    vocab_size: int = 0
    model: LlamaConfig | None = None
    missing: str = ""

    @property
    def per_row(self) -> float:
        """Characters of a row."""
        return self.characters / self.rows if self.rows else 0.0

    def first(self, rows: float) -> "Volume":
        """So many rows of it, or all if there are fewer (0: all)."""
        return self * (rows / self.rows) if 0 < rows < self.rows else self

    def __mul__(self, share: float) -> "Volume":
        sizes = (self.rows, self.characters, self.markup, self.tokens)
        rows, characters, markup, tokens = (size * share for size in sizes)
        return replace(self, rows=rows, characters=characters, markup=markup, tokens=tokens)


def together(volumes: Iterable[Volume]) -> Volume:
    """All of them as one."""
    whole = Volume()
    for one in volumes:
        rows = whole.rows + one.rows
        whole = Volume(
            rows,
            whole.characters + one.characters,
            whole.markup + one.markup,
            (whole.answer * whole.rows + one.answer * one.rows) / rows if rows else max(whole.answer, one.answer),
            whole.tokens + one.tokens,
            one.vocab_size or whole.vocab_size,
            one.model or whole.model,
            whole.missing or one.missing,
        )
    return whole


def measure(path: Path) -> Volume:
    """What is in a file, or in all files of a folder."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        chosen = files[:: -(-len(files) // _SAMPLE_FILES)] if files else []
        share = sum(file.stat().st_size for file in chosen) / max(1, sum(file.stat().st_size for file in files))
        return together(measure(file) for file in chosen) * (1 / share if share else 1.0)
    if not path.is_file():
        return Volume(missing=str(path))
    kinds = [suffix.lower() for suffix in path.suffixes]
    if ".parquet" in kinds:
        return _parquet(path)
    if ".jsonl" in kinds or ".json" in kinds:
        return _lines(path)
    if ".warc" in kinds:
        return _crawl(path)
    sample, share = _sample(path)
    characters = len(sample) / share
    if not _ARCHIVES.isdisjoint(kinds) and b"<html" in sample.lower():
        return Volume(sample.count(b"ustar") / share, markup=characters)
    if not (_TABLES | _ARCHIVES).isdisjoint(kinds):
        return Volume(sample.count(b"\n") / share, characters)
    if kinds and kinds[0] in (".html", ".htm"):
        return Volume(1.0, markup=characters)
    return Volume(max(1.0, characters / _BOOK_CHARACTERS), characters)


def _parquet(path: Path) -> Volume:
    facts = pq.read_metadata(path)
    columns = [
        group.column(number)
        for group in (facts.row_group(index) for index in range(facts.num_row_groups))
        for number in range(group.num_columns)
    ]
    texts = [column for column in columns if column.path_in_schema == "text"] or columns
    return Volume(facts.num_rows, sum(column.total_uncompressed_size for column in texts))


def _lines(path: Path) -> Volume:
    sample, share = _sample(path)
    lines = sample.decode("utf-8", "replace").splitlines()
    rows = [_row(line) for line in (lines if share == 1 else lines[:-1])]
    texts = [_characters(row) for row in rows if row is not None]
    if not texts:
        return Volume(len(lines) / share, len(sample) / share)
    answers = [size for row in rows if row is not None for size in _answers(row)]
    count = len(lines) / share
    mean_answer = sum(answers) / len(answers) if answers else 0.0
    return Volume(count, count * sum(texts) / len(texts), answer=mean_answer)


def _crawl(path: Path) -> Volume:
    sample, share = _sample(path)
    return Volume(max(1, sample.count(b"WARC-Type: response")) / share, markup=len(sample) / share)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_characters(item) for name, item in value.items() if name not in _NO_TEXT and name != "role")
    return sum(_characters(item) for item in value) if isinstance(value, list) else 0


def _answers(row: dict[str, Any]) -> list[int]:
    messages = row.get("messages")
    if isinstance(messages, list):
        return [_characters(one) for one in messages if isinstance(one, dict) and one.get("role") == "assistant"]
    return [_characters(row[name]) for name in ("chosen", "output", "response") if name in row]


def _sample(path: Path) -> tuple[bytes, float]:
    """What the first bytes of a file hold, unpacked, and what share of it they are."""
    packed = path.suffix in (*_DECOMPRESSORS, ".zst")
    with open(path, "rb") as file:
        data = file.read(_SAMPLE_BYTES // 4 if path.suffix in _DECOMPRESSORS else _SAMPLE_BYTES)
    share = len(data) / max(1, path.stat().st_size)
    return (_unpacked(data, path.suffix) if packed else data), share or 1.0


def _unpacked(data: bytes, suffix: str) -> bytes:
    """As much as the bytes hold; what is no such file holds nothing."""
    parts: list[bytes] = []
    try:
        if suffix == ".zst":
            stream = pa.CompressedInputStream(pa.BufferReader(data), "zstd")
            while part := stream.read(1 << 16):
                parts.append(part)
        else:
            while data:  # one member after the other
                decompressor = _DECOMPRESSORS[suffix]()
                parts.append(decompressor.decompress(data))
                data = decompressor.unused_data
    except (OSError, zlib.error, lzma.LZMAError, EOFError):
        pass  # cut off in the middle
    return b"".join(parts)

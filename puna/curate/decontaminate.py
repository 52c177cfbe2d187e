"""Pages that hold items of an exam: found by word n-grams, as in Llama 3 (section 5.1.4: 8-grams) or GPT-3 (13-grams).

exam files -> items -> index of their n-grams -> how much of which item a page holds
"""

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from pydantic import Field

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.files import files_below
from puna.base.records import open_text
from puna.curate.read.sources import NO_DATA
from puna.curate.text.words import Words, ngram_hashes

_QUESTIONS = ("question", "prompt", "query", "problem", "instruction", "ctx", "context", "input", "text")
"""Fields of a row that are what an item asks, best first; of a row without any, all its texts together."""
_READABLE = ".jsonl, .json (a list), .csv, .tsv or .txt (an item a line), a .tar of them, each also as .gz, .xz or .zst"


class Decontaminate(Config):
    """A page goes if it holds more than `max_share` of the n-grams (of `ngram` words) of an exam's item.

    0: any one of them, as GPT-3 with 13. An item of fewer words than `ngram` counts as one n-gram; one of fewer than
    `min_words` says too little and is not looked for.
    """

    ngram: int = Field(default=8, ge=1)
    max_share: float = Field(default=0.8, ge=0, lt=1)
    min_words: int = Field(default=5, ge=1)


class Match(NamedTuple):
    """The item that a page holds most of, and the share of its n-grams."""

    item: str
    share: float


class ExamIndex:
    """The n-grams of all items of some exams; made once a process.

    Raises DataError if a file is missing or not readable, or holds no item.
    """

    def __init__(self, paths: Sequence[Path], settings: Decontaminate):
        self.names: list[str] = []
        self.too_short = 0
        grams: dict[int, list[tuple[int, int]]] = {}
        sizes = []
        for name, text in read_items(paths):
            hashes = Words(text).word_hashes
            if len(hashes) < settings.min_words:
                self.too_short += 1
                continue
            width = min(settings.ngram, len(hashes))
            keys = np.unique(ngram_hashes(hashes, width))
            grams.setdefault(width, []).extend((key, len(self.names)) for key in keys.tolist())
            sizes.append(len(keys))
            self.names.append(name)
        self._sizes = np.array(sizes, np.int64)
        self._tables = [(width, *_sorted(pairs)) for width, pairs in sorted(grams.items())]

    def best(self, words: Words) -> Match | None:
        """The item of which `words` hold the largest share (of several the first); None if they hold nothing of any."""
        if not self.names:
            return None
        held = np.zeros(len(self.names), np.int64)
        found = False
        for width, keys, items in self._tables:
            grams = np.unique(ngram_hashes(words.word_hashes, width))
            found |= bool(_count_held(grams, keys, items, held))
        if not found:
            return None
        shares = held / self._sizes
        place = int(shares.argmax())
        return Match(self.names[place], float(shares[place]))


def read_items(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Name (file without its ending, and id or number) and text of every item. Raises DataError as `ExamIndex` does."""
    files = [path for path in paths if not path.is_dir()]
    below = [file for path in paths if path.is_dir() for file in files_below(path) if _kind(file.name)]
    count = 0
    for file in sorted({*files, *(file for file in below if file.name != "manifest.json")}):
        for stem, rows in _exams(file):
            for number, row in enumerate(rows, 1):
                count += 1
                own = row.get("id") if isinstance(row, dict) else None
                yield f"{stem}:{own if own is not None else number}", _text(row)
    if not count:
        raise DataError(f"exams: expected items to look for in {', '.join(map(str, paths))}, came none ({_READABLE})")


def _kind(name: str) -> str:
    """What a file is by its name, "" if it is no exam."""
    if name.rpartition("/")[2].upper().startswith(NO_DATA):
        return ""
    kind = next((part for part in reversed(name.lower().split(".")) if part not in ("gz", "xz", "bz2", "zst")), "")
    return kind if kind in ("jsonl", "ndjson", "json", "csv", "tsv", "txt", "tar") else ""


def _exams(file: Path) -> Iterator[tuple[str, list[Any]]]:
    """The exams of a file, which for a .tar are those in it: name without ending, and rows."""
    kind = _kind(file.name)
    try:
        if kind == "tar":
            with tarfile.open(file) as archive:
                for member in archive:
                    if member.isfile() and _kind(member.name) not in ("", "tar"):
                        content = archive.extractfile(member)
                        assert content is not None, "isfile() was true"
                        rows = list(_parsed(io.TextIOWrapper(content, "utf-8"), _kind(member.name)))
                        yield Path(member.name).name.partition(".")[0], rows
        elif kind:
            with open_text(file) as stream:
                yield file.name.partition(".")[0], list(_parsed(stream, kind))
        else:
            raise DataError(f"exams: expected {_READABLE}, came {file}")
    except (OSError, ValueError, csv.Error, tarfile.TarError) as error:
        raise DataError(f"exams: expected {_READABLE} at {file}, came {' '.join(str(error).split())}") from None


def _parsed(stream: Any, kind: str) -> Iterator[Any]:
    if kind in ("jsonl", "ndjson"):
        yield from (json.loads(line) for line in stream if line.strip())
    elif kind == "json":
        values = json.load(stream)
        values = values.get("examples", values.get("data", [])) if isinstance(values, dict) else values
        if not isinstance(values, list):
            raise ValueError("no list of items")
        yield from values
    elif kind == "txt":
        yield from (line for line in stream if line.strip())
    else:
        yield from (row[0] for row in csv.reader(stream, delimiter="," if kind == "csv" else "\t") if row)


def _text(row: Any) -> str:
    if isinstance(row, str):
        return row
    if isinstance(row, dict):
        for name in _QUESTIONS:
            if isinstance(row.get(name), str) and row[name].strip():
                return str(row[name])
        return " ".join(_text(value) for value in row.values())
    return " ".join(_text(value) for value in row) if isinstance(row, list) else ""


def _sorted(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Keys in order, and the item of each; a key that several items share stands several times."""
    pairs.sort()
    return np.array([key for key, _ in pairs], np.uint64), np.array([item for _, item in pairs], np.int64)


@njit(cache=True, nogil=True)
def _count_held(grams, keys, items, held):  # type: ignore[no-untyped-def]
    """Add to `held` the n-grams of each item that are among `grams` (each once); how many were found."""
    found = 0
    for key in grams:
        place = np.searchsorted(keys, key)
        while place < len(keys) and keys[place] == key:
            held[items[place]] += 1
            found += 1
            place += 1
    return found

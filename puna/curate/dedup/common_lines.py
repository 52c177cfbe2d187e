"""Line-level deduplication as in Llama 3 (section 3.1.1) and CCNet: what many documents say in a line of its own, a
cookie notice or a menu that the extractor left, goes from all of them.

Lines are compared in lower case, every digit as 0, by letters and digits alone; blank ones never count.

L lines of a text.
"""

import hashlib
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from puna.curate.text.words import Hashes, count_words

_DIGIT, _OTHER = re.compile(r"\d"), re.compile(r"(?:[^\w\n]|_)+")
_LOWER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789", b"abcdefghijklmnopqrstuvwxyz000000000")
_ASCII_OTHERS = bytes(code for code in range(128) if not chr(code).isalnum() and chr(code) != "\n")
_FILE_BITS = 5
Column: TypeAlias = pa.Array | pa.ChunkedArray
_NEVER = 0
"""The key of a line that says nothing."""


def line_keys(text: str, language: str) -> Hashes:
    """64 bits of each line, [L]: equal for equal lines of one language, in every process."""
    salt = f"{language}\0".encode()
    return np.array([_key(salt + line) if line else _NEVER for line in _bare(text).split(b"\n")], np.uint64)


def line_words(text: str) -> NDArray[np.int32]:
    """Words of each line, [L]."""
    return np.array([count_words(line) for line in text.split("\n")], np.int32)


def common_keys(keys: Iterable[Hashes], max_copies: int, folder: Path) -> Hashes:
    """Those that occur more than `max_copies` times in all texts together, sorted.

    Keys go to files in `folder` by their first bits, and only one file at a time is sorted in memory.
    """
    paths = [folder / f"lines-{number:03d}.u64" for number in range(1 << _FILE_BITS)]
    with ExitStack() as stack:
        files = [stack.enter_context(open(path, "wb")) for path in paths]
        for block in keys:
            block = np.sort(block[block != _NEVER])
            borders = np.searchsorted(block, np.arange(len(files), dtype=np.uint64) << np.uint64(64 - _FILE_BITS))
            for file, mine in zip(files, np.split(block, borders[1:]), strict=True):
                file.write(mine.tobytes())
    common = [np.zeros(0, np.uint64)]
    for path in paths:
        found, counts = np.unique(np.fromfile(path, np.uint64), return_counts=True)
        common.append(found[counts > max_copies])
        path.unlink()
    return np.concatenate(common)


def with_common(line_keys: Column, common: Hashes) -> NDArray[np.bool_]:
    """Which of these texts hold a common line, [N]; `line_keys` has the keys of each as bytes, `common` is sorted."""
    return _sums(line_keys, _are_common(line_keys, common)) > 0


def common_words(line_keys: Column, line_words: Column, common: Hashes) -> NDArray[np.int64]:
    """How many words of each of these texts stand in common lines, [N]; `line_words` has those of all lines."""
    words = np.frombuffer(b"".join(line_words.to_pylist()), np.int32)
    return _sums(line_keys, np.where(_are_common(line_keys, common), words, 0))


def _are_common(line_keys: Column, common: Hashes) -> NDArray[np.bool_]:
    """Of every line of all texts."""
    keys = np.frombuffer(b"".join(line_keys.to_pylist()), np.uint64)
    if not len(common):
        return np.zeros(len(keys), bool)
    return common[np.searchsorted(common, keys).clip(max=len(common) - 1)] == keys


def _sums(line_keys: Column, values: NDArray[Any]) -> NDArray[np.int64]:
    """The sum over the lines of each text, [N]."""
    ends = pc.binary_length(line_keys).to_numpy(zero_copy_only=False).cumsum() // np.dtype(np.uint64).itemsize
    totals = np.r_[0, values.cumsum(dtype=np.int64)]
    return np.diff(totals[np.r_[0, ends]])


def without_common(text: str, keys: Hashes, common: Hashes) -> str:
    """The text without its common lines, at most one blank line where they stood; `keys` are those of its lines."""
    goes = np.isin(keys, common).tolist()
    if not any(goes):
        return text
    kept = [line for line, is_common in zip(text.split("\n"), goes, strict=True) if not is_common]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")


def _bare(text: str) -> bytes:
    """Letters in lower case and digits as 0, of all lines at once."""
    if text.isascii():
        return text.encode().translate(_LOWER, _ASCII_OTHERS)
    return _OTHER.sub("", _DIGIT.sub("0", text.lower())).encode("utf-8", "replace")


def _key(line: bytes) -> int:
    digest = hashlib.blake2b(line, digest_size=8)
    return int.from_bytes(digest.digest(), "little") | 1  # never the key of a line that says nothing

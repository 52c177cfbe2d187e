"""Line-level deduplication as in Llama 3 (section 3.1.1) and CCNet: what many documents say in a line of its own, a
cookie notice or a menu that the extractor left, goes from all of them.

Lines are compared in lower case, every digit as 0, by letters and digits alone; blank ones never count.

L lines of a text.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from puna.curate.words import Hashes, count_words

_DIGIT, _OTHER = re.compile(r"\d"), re.compile(r"[\W_]+")
_NEVER = 0
"""The key of a line that says nothing."""


def line_keys(text: str, language: str) -> Hashes:
    """64 bits of each line, [L]: equal for equal lines of one language, in every process."""
    return np.array([_key(line, language) for line in text.split("\n")], np.uint64)


def line_words(text: str) -> NDArray[np.int32]:
    """Words of each line, [L]."""
    return np.array([count_words(line) for line in text.split("\n")], np.int32)


def common_keys(keys: Sequence[Hashes], max_copies: int) -> Hashes:
    """Those that occur more than `max_copies` times in all texts together, sorted."""
    found, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *keys]), return_counts=True)
    return found[(counts > max_copies) & (found != _NEVER)]


def without_common(text: str, keys: Hashes, common: Hashes) -> str:
    """The text without its common lines, at most one blank line where they stood; `keys` are those of its lines."""
    goes = np.isin(keys, common).tolist()
    if not any(goes):
        return text
    kept = [line for line, is_common in zip(text.split("\n"), goes, strict=True) if not is_common]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")


def _key(line: str, language: str) -> int:
    bare = _OTHER.sub("", _DIGIT.sub("0", line.lower()))
    if not bare:
        return _NEVER
    digest = hashlib.blake2b(f"{language}\0{bare}".encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "little") | 1  # never the key of a line that says nothing

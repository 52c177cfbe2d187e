"""Gopher's repetition rules (Rae 2021, table A1): text that says the same again.

Counted as datatrove 0.10 counts, so that decisions can be compared: fractions are of all characters, a repeated n-gram
is skipped whole, and the top n-gram counts every time it occurs; only an n-gram that occurs once is no repetition here
(datatrove counts it, which matters for texts of under some 25 words). Chinese and Japanese characters are tokens here
and half a word on average, so for them n is doubled.
"""

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.curate.words import CHARACTER, Words, ngram_hashes

_PARAGRAPHS, _LINES = re.compile(r"\n{2,}"), re.compile(r"\n+")


class GopherRepetition(Config):
    """Thresholds; a document above one is dropped. The n-gram maps go from n to a fraction of characters."""

    duplicate_paragraphs: float = 0.30
    duplicate_paragraph_chars: float = 0.20
    duplicate_lines: float = 0.30
    duplicate_line_chars: float = 0.20
    top_ngrams: dict[int, float] = Field(default_factory=lambda: {2: 0.20, 3: 0.18, 4: 0.16})
    duplicate_ngrams: dict[int, float] = Field(
        default_factory=lambda: {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )


def gopher_repetition(words: Words, limits: GopherRepetition) -> str | None:
    """The reason to drop the text, or None to keep it."""
    text = words.text
    if not text:
        return None
    return (
        _repeated_blocks(_PARAGRAPHS.split(text.strip()), len(text), "paragraph", limits)
        or _repeated_blocks(_LINES.split(text), len(text), "line", limits)
        or _repeated_ngrams(words, limits)
    )


def _repeated_blocks(blocks: list[str], num_chars: int, name: str, limits: GopherRepetition) -> str | None:
    seen: set[str] = set()
    repeated = repeated_chars = 0
    for block in blocks:
        if block in seen:
            repeated += 1
            repeated_chars += len(block)
        seen.add(block)
    if repeated / len(blocks) > getattr(limits, f"duplicate_{name}s"):
        return f"duplicate {name}s"
    if repeated_chars / num_chars > getattr(limits, f"duplicate_{name}_chars"):
        return f"duplicate {name} characters"
    return None


def _repeated_ngrams(words: Words, limits: GopherRepetition) -> str | None:
    by_character = np.count_nonzero(words.kinds == CHARACTER) > len(words.kinds) // 2
    scale, gap = (2, 0) if by_character else (1, 1)
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(words.lengths)))
    num_chars = len(words.text)
    for n, limit in limits.top_ngrams.items():
        if _top_ngram_chars(words, n * scale, ends, gap) > limit * num_chars:
            return f"top {n}-gram"
    for n, limit in limits.duplicate_ngrams.items():
        keys = ngram_hashes(words.hashes, n * scale).tolist()
        if len(set(keys)) == len(keys):
            if n == min(limits.duplicate_ngrams):
                break  # no repeated run of n tokens, so none of more
            continue
        if _duplicate_chars(keys, n * scale, ends) > limit * num_chars:
            return f"duplicate {n}-grams"
    return None


def _top_ngram_chars(words: Words, n: int, ends: NDArray[np.int64], gap: int) -> int:
    """Characters of all copies of the commonest n-gram (of several the first), its tokens joined by `gap` spaces."""
    keys = ngram_hashes(words.hashes, n).tolist()
    if not keys:
        return 0
    key, count = Counter(keys).most_common(1)[0]
    if count == 1:
        return 0
    start = keys.index(key)
    return int(ends[start + n] - ends[start] + gap * (n - 1)) * count


def _duplicate_chars(keys: list[int], n: int, ends: NDArray[np.int64]) -> int:
    """Characters of the n-grams that occurred before, each found left to right and then skipped."""
    seen: set[int] = set()
    position = total = 0
    while position < len(keys):
        if keys[position] in seen:
            total += int(ends[position + n] - ends[position])
            position += n
        else:
            seen.add(keys[position])
            position += 1
    return total

"""Gopher's repetition rules (Rae 2021, table A1): text that says the same again.

Chinese and Japanese characters are tokens here and half a word on average, so for them n is doubled.

M tokens of a text.
"""

import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numba import njit
from pydantic import Field

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.words import CHARACTER, Words, ngram_hashes

_BREAKS = re.compile(r"\n{2,}")


class GopherRepetition(Config):
    """Thresholds; a document above one is dropped. The n-gram maps go from n to a fraction of characters.

    variant: datatrove (0.10: fractions are of all characters; a repeated n-gram is skipped whole; the top n-gram counts
    every time it occurs, and once is a repetition too, which matters for texts of under some 25 words); paper (the
    same, but once is no repetition); dclm (a character counts if any of the n-grams over it occurs again, white space
    never).
    """

    variant: Literal["paper", "datatrove", "dclm"] = "paper"
    duplicate_paragraphs: float = 0.30
    duplicate_paragraph_chars: float = 0.20
    duplicate_lines: float = 0.30
    duplicate_line_chars: float = 0.20
    top_ngrams: dict[int, float] = Field(default_factory=lambda: {2: 0.20, 3: 0.18, 4: 0.16})
    duplicate_ngrams: dict[int, float] = Field(
        default_factory=lambda: {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )


def gopher_repetition(words: Words, limits: GopherRepetition) -> Iterator[Check]:
    """Paragraphs, lines, the commonest short n-grams, repeated long ones."""
    text = words.text
    if not text:
        return
    for name, parts in (("paragraph", _paragraphs(text.strip())), ("line", _lines(text))):
        share, chars = _repeated(parts)
        setting = f"duplicate_{name}s"
        yield Check(f"duplicate {name}s", setting, share, most=getattr(limits, setting))
        setting = f"duplicate_{name}_chars"
        yield Check(f"duplicate {name} characters", setting, chars / len(text), most=getattr(limits, setting))
    yield from _ngram_checks(words, limits)


def repeated_chars(lines: list[str]) -> int:
    """Characters of the lines that occurred before."""
    seen: set[str] = set()
    total = 0
    for line in lines:
        if line in seen:
            total += len(line)
        seen.add(line)
    return total


def _paragraphs(text: str) -> list[str]:
    return _BREAKS.split(text) if "\n\n\n" in text else text.split("\n\n")  # the second is ten times as fast


def _lines(text: str) -> list[str]:
    """Parts between line breaks, of which several are one; a break in front or behind leaves an empty part there."""
    lines = text.split("\n")
    return [line for place, line in enumerate(lines) if line or place in (0, len(lines) - 1)]


def _repeated(blocks: list[str]) -> tuple[float, int]:
    """The share of the blocks that occurred before, and their characters."""
    return (len(blocks) - len(set(blocks))) / len(blocks), repeated_chars(blocks)


def _ngram_checks(words: Words, limits: GopherRepetition) -> Iterator[Check]:
    by_character = np.count_nonzero(words.kinds == CHARACTER) > len(words.kinds) // 2
    scale, gap = (2, 0) if by_character else (1, 1)
    hashes = words.cased_hashes if limits.variant == "datatrove" else words.hashes
    whole = limits.variant != "dclm"
    num_chars = len(words.text) if whole else max(1, int(words.lengths.sum()))
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(words.lengths)))
    least = 1 if limits.variant == "datatrove" else 2
    for n, limit in limits.top_ngrams.items():
        size = n * scale
        chars = _top_chars(ngram_hashes(hashes, size), ends, size, gap if whole else 0, least)
        yield Check(f"top {n}-gram", f"top_ngrams.{n}", chars / num_chars, most=limit)
    none_left = False
    for n, limit in sorted(limits.duplicate_ngrams.items()):
        chars = 0
        if not none_left:
            size = n * scale
            count = _skipped_chars if whole else _covered_chars
            chars = count(ngram_hashes(hashes, size), ends, size)
            none_left = chars == 0  # no repeated run of n tokens, so none of more
        yield Check(f"duplicate {n}-grams", f"duplicate_ngrams.{n}", chars / num_chars, most=limit)


@njit(cache=True, nogil=True)
def _slots(count):  # type: ignore[no-untyped-def]
    """A table for `count` keys: a power of two, at most half full."""
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, -1, np.int64)


@njit(cache=True, nogil=True)
def _slot(slots, keys, key):  # type: ignore[no-untyped-def]
    """Where `key` is or would be; a slot holds the place of its key's first occurrence."""
    mask = np.uint64(len(slots) - 1)
    place = key & mask
    while slots[place] >= 0 and keys[slots[place]] != key:
        place = (place + np.uint64(1)) & mask
    return place


@njit(cache=True, nogil=True)
def _top_chars(keys, ends, n, gap, least):  # type: ignore[no-untyped-def]
    """Characters of all copies of the commonest n-gram (of several the first), its tokens joined by `gap` spaces."""
    slots, counts = _slots(len(keys)), np.zeros(len(keys), np.int64)
    for place in range(len(keys)):
        slot = _slot(slots, keys, keys[place])
        if slots[slot] < 0:
            slots[slot] = place
        counts[slots[slot]] += 1
    best = 0
    for place in range(len(keys)):
        if counts[place] > counts[best]:
            best = place
    if len(keys) == 0 or counts[best] < least:
        return 0
    return (ends[best + n] - ends[best] + gap * (n - 1)) * counts[best]


@njit(cache=True, nogil=True)
def _skipped_chars(keys, ends, n):  # type: ignore[no-untyped-def]
    """Characters of the n-grams that occurred before, each found left to right and then skipped."""
    slots = _slots(len(keys))
    place = total = 0
    while place < len(keys):
        slot = _slot(slots, keys, keys[place])
        if slots[slot] < 0:
            slots[slot] = place
            place += 1
        else:
            total += ends[place + n] - ends[place]
            place += n
    return total


@njit(cache=True, nogil=True)
def _covered_chars(keys, ends, n):  # type: ignore[no-untyped-def]
    """Characters under any n-gram that occurs more than once, each counted once."""
    slots, counts = _slots(len(keys)), np.zeros(len(keys), np.int64)
    first = np.empty(len(keys), np.int64)
    for place in range(len(keys)):
        slot = _slot(slots, keys, keys[place])
        if slots[slot] < 0:
            slots[slot] = place
        first[place] = slots[slot]
        counts[slots[slot]] += 1
    total, covered_to = 0, 0
    for place in range(len(keys)):
        if counts[first[place]] > 1:
            begin = max(place, covered_to)
            total += ends[place + n] - ends[begin]
            covered_to = place + n
    return total

"""Gopher's repetition rules (Rae 2021, table A1): text that says the same again.

Chinese and Japanese characters are tokens here and half a word on average, so for them n is doubled.

M tokens of a text.
"""

import functools
import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
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
    by_character = words.num_of_kind[CHARACTER] > len(words.kinds) // 2
    scale, gap = (2, 0) if by_character else (1, 1)
    hashes = words.cased_hashes if limits.variant == "datatrove" else words.hashes
    whole = limits.variant != "dclm"
    num_chars = len(words.text) if whole else max(1, sum(words.chars_of_kind))
    table = _table(len(hashes))
    least = 1 if limits.variant == "datatrove" else 2
    sizes = np.array([n * scale for n in limits.top_ngrams], np.int64)
    tops = _top_chars(hashes, words.lengths, sizes, gap if whole else 0, least, *table).tolist()
    for (n, limit), chars in zip(limits.top_ngrams.items(), tops, strict=True):
        yield Check(*_names("top {}-gram", "top_ngrams", n), chars / num_chars, most=limit)
    none_left = False
    for n, limit in sorted(limits.duplicate_ngrams.items()):
        count = _skipped_chars if whole else _covered_chars
        chars = 0 if none_left else count(hashes, words.lengths, n * scale, *table)
        none_left = chars == 0  # no repeated run of n tokens, so none of more
        yield Check(*_names("duplicate {}-grams", "duplicate_ngrams", n), chars / num_chars, most=limit)


@functools.cache
def _names(reason: str, setting: str, n: int) -> tuple[str, str]:
    return reason.format(n), f"{setting}.{n}"


def _table(num_tokens: int) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]:
    """An open hash table for the n-grams of M tokens, used again for every n: the key, the place of its first
    occurrence (-1 in a free slot) and the number of occurrences in each slot; a power of two, at most half full."""
    size = max(16, 1 << (2 * num_tokens).bit_length())
    return np.empty(size, np.uint64), np.empty(size, np.int32), np.empty(size, np.int32)


@njit(cache=True, nogil=True)
def _slot(keys, places, key):  # type: ignore[no-untyped-def]
    """Where `key` is or would be."""
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while places[slot] >= 0 and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _top_chars(hashes, lengths, sizes, gap, least, keys, places, counts):  # type: ignore[no-untyped-def]
    """For each n of `sizes` the characters of all copies of the commonest n-gram (of several the first).

    The tokens of one are joined by `gap` spaces; one that occurs less than `least` times counts as none.
    """
    chars = np.zeros(len(sizes), np.int64)
    for number in range(len(sizes)):
        places[:] = -1
        best, most, grams = 0, 0, ngram_hashes(hashes, sizes[number])
        for place in range(len(grams)):
            slot = _slot(keys, places, grams[place])
            if places[slot] < 0:
                keys[slot], places[slot], counts[slot] = grams[place], place, 0
            counts[slot] += 1
            if counts[slot] > most or (counts[slot] == most and places[slot] < best):
                best, most = places[slot], counts[slot]
        if most >= least:
            chars[number] = (lengths[best : best + sizes[number]].sum() + gap * (sizes[number] - 1)) * most
    return chars


@njit(cache=True, nogil=True)
def _skipped_chars(hashes, lengths, n, keys, places, counts):  # type: ignore[no-untyped-def]
    """Characters of the n-grams that occurred before, each found left to right and then skipped."""
    places[:] = -1
    grams = ngram_hashes(hashes, n)
    place = total = 0
    while place < len(grams):
        slot = _slot(keys, places, grams[place])
        if places[slot] < 0:
            keys[slot], places[slot] = grams[place], place
            place += 1
        else:
            total += lengths[place : place + n].sum()
            place += n
    return total


@njit(cache=True, nogil=True)
def _covered_chars(hashes, lengths, n, keys, places, counts):  # type: ignore[no-untyped-def]
    """Characters under any n-gram that occurs more than once, each counted once."""
    places[:] = -1
    grams = ngram_hashes(hashes, n)
    for place in range(len(grams)):
        slot = _slot(keys, places, grams[place])
        if places[slot] < 0:
            keys[slot], places[slot], counts[slot] = grams[place], place, 0
        counts[slot] += 1
    total, covered_to = 0, 0
    for place in range(len(grams)):
        if counts[_slot(keys, places, grams[place])] > 1:
            total += lengths[max(place, covered_to) : place + n].sum()
            covered_to = place + n
    return total

"""Gopher's repetition rules (Rae 2021, table A1): text that says the same again.

Chinese and Japanese characters are tokens here and half a word on average, so for them n is doubled.

M tokens of a text.
"""

import functools
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.text.lines import Lines
from puna.curate.text.tokens import leaf, mix
from puna.curate.text.words import BASE, CHARACTER, Words


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
    if not words.text:
        return
    num_chars = len(words.text)
    copies, blocks, chars = _paragraphs(words)
    yield Check("duplicate paragraphs", "duplicate_paragraphs", copies / blocks, most=limits.duplicate_paragraphs)
    most = limits.duplicate_paragraph_chars
    yield Check("duplicate paragraph characters", "duplicate_paragraph_chars", chars / num_chars, most=most)
    copies, blocks, chars = _lines(words.lines)
    yield Check("duplicate lines", "duplicate_lines", copies / blocks, most=limits.duplicate_lines)
    most = limits.duplicate_line_chars
    yield Check("duplicate line characters", "duplicate_line_chars", chars / num_chars, most=most)
    yield from _ngram_checks(words, limits)


def _paragraphs(words: Words) -> tuple[int, int, int]:
    """Paragraphs of the text without white space around it: those that occurred before, all, characters of copies."""
    bare = words.text.strip()
    totals = (words.lines if bare is words.text else Lines(bare)).totals
    return totals.paragraph_copies, max(1, totals.paragraphs), totals.chars_in_paragraph_copies


def _lines(lines: Lines) -> tuple[int, int, int]:
    """Parts between line breaks, of which several are one; a break in front or behind leaves an empty part there."""
    totals, text = lines.totals, lines.text
    num_empty = text.startswith("\n") + text.endswith("\n")
    return totals.copies + (num_empty == 2), len(lines) - totals.empty + num_empty, totals.chars_in_copies


def _ngram_checks(words: Words, limits: GopherRepetition) -> Iterator[Check]:
    by_character = words.num_of_kind[CHARACTER] > len(words.kinds) // 2
    scale, gap = (2, 0) if by_character else (1, 1)
    hashes = words.cased_hashes if limits.variant == "datatrove" else words.hashes
    is_dclm = limits.variant == "dclm"
    num_chars = max(1, sum(words.chars_of_kind)) if is_dclm else len(words.text)
    least = 1 if limits.variant == "datatrove" else 2
    tops, duplicates = _sizes(tuple(limits.top_ngrams), scale), _sizes(tuple(limits.duplicate_ngrams), scale)
    chars = _repeated_chars(hashes, words.lengths, tops, duplicates, 0 if is_dclm else gap, least, is_dclm).tolist()
    for n, limit in limits.top_ngrams.items():
        yield Check(*_names("top {}-gram", "top_ngrams", n), chars[0][n * scale] / num_chars, most=limit)
    for n, limit in sorted(limits.duplicate_ngrams.items()):
        share = chars[1][n * scale] / num_chars
        yield Check(*_names("duplicate {}-grams", "duplicate_ngrams", n), share, most=limit)


@functools.cache
def _names(reason: str, setting: str, n: int) -> tuple[str, str]:
    return reason.format(n), f"{setting}.{n}"


@functools.cache
def _sizes(ns: tuple[int, ...], scale: int) -> NDArray[np.int64]:
    return np.array(sorted(n * scale for n in ns), np.int64)


@njit(cache=True, nogil=True)
def _repeated_chars(hashes, lengths, tops, duplicates, gap, least, is_dclm):  # type: ignore[no-untyped-def]
    """Characters, [2, n]. Row 0, for each n of `tops`: of all copies of the commonest n-gram (of several the first),
    its tokens joined by `gap` spaces, none if it occurs less than `least` times. Row 1, for each n of `duplicates`: of
    the n-grams that occurred before.

    An n-gram that comes again begins where a shorter one does: what occurs once is not looked at for a larger n.
    """
    num_tokens, last = len(hashes), max(tops.max() if len(tops) else 0, duplicates.max() if len(duplicates) else 0)
    chars, is_asked = np.zeros((2, last + 1), np.int64), np.zeros((2, last + 1), np.bool_)
    for n in tops:
        is_asked[0, n] = True
    for n in duplicates:
        is_asked[1, n] = True
    places = np.arange(num_tokens)  # where the n-grams that are left begin
    keys = np.zeros(num_tokens, np.uint64)  # and their hashes, polynomials modulo 2^64
    grams = np.empty(num_tokens, np.int32)  # and what they are: equal ones have one number, from 0 as they first occur
    firsts, counts = np.empty(num_tokens, np.int32), np.empty(num_tokens, np.int32)  # of each gram
    table = np.empty(_table_size(num_tokens), np.int32)
    left = num_tokens
    for n in range(1, last + 1):
        if left and places[left - 1] + n > num_tokens:
            left -= 1
        for i in range(left):
            keys[i] = keys[i] * np.uint64(BASE) + hashes[places[i] + n - 1]
        if not (is_asked[0, n] or is_asked[1, n]):
            continue
        num_grams = _number(keys[:left], table, grams, firsts, counts)
        if is_asked[0, n] and num_tokens >= n:
            best, most = 0, 1
            for gram in range(num_grams):
                if counts[gram] > most:
                    best, most = places[firsts[gram]], counts[gram]
            if most >= least:
                chars[0, n] = (lengths[best : best + n].sum() + gap * (n - 1)) * most
        if is_asked[1, n]:
            if is_dclm:
                chars[1, n] = _covered_chars(lengths, n, places[:left], grams, counts)
            else:
                chars[1, n] = _skipped_chars(lengths, n, places[:left], grams, firsts)
        kept = 0
        for i in range(left):
            if counts[grams[i]] > 1:
                places[kept], keys[kept] = places[i], keys[i]
                kept += 1
        left = kept
    return chars


@leaf
def _table_size(num_keys):  # type: ignore[no-untyped-def]
    """Slots of an open hash table that is at most half full; a power of two."""
    size = 16
    while size < 2 * num_keys:
        size *= 2
    return size


@leaf
def _number(keys, table, grams, firsts, counts):  # type: ignore[no-untyped-def]
    """Number the n-grams with these hashes; how many different ones there are. Fills grams, firsts and counts."""
    size, num_grams = _table_size(len(keys)), 0
    mask = np.uint64(size - 1)
    table[:size] = -1
    for i in range(len(keys)):
        slot = mix(keys[i]) & mask
        while table[slot] >= 0 and keys[firsts[table[slot]]] != keys[i]:
            slot = (slot + np.uint64(1)) & mask
        if table[slot] < 0:
            table[slot], firsts[num_grams], counts[num_grams] = num_grams, i, 0
            num_grams += 1
        grams[i] = table[slot]
        counts[grams[i]] += 1
    return num_grams


@leaf
def _skipped_chars(lengths, n, places, grams, firsts):  # type: ignore[no-untyped-def]
    """Characters of the n-grams that occurred before, each found left to right and then skipped."""
    total = skipped_to = 0
    for i in range(len(places)):
        if places[i] < skipped_to:
            continue
        if firsts[grams[i]] < 0:
            total += lengths[places[i] : places[i] + n].sum()
            skipped_to = places[i] + n
        firsts[grams[i]] = -1
    return total


@leaf
def _covered_chars(lengths, n, places, grams, counts):  # type: ignore[no-untyped-def]
    """Characters under any n-gram that occurs more than once, each counted once."""
    total = covered_to = 0
    for i in range(len(places)):
        if counts[grams[i]] > 1:
            total += lengths[max(places[i], covered_to) : places[i] + n].sum()
            covered_to = places[i] + n
    return total

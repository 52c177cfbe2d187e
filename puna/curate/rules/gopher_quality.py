"""Gopher's quality rules (Rae 2021, A.1.1)."""

import functools
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numba import njit

from puna.base.config import Config
from puna.curate.language.detect import STOP_WORDS
from puna.curate.rules.check import Check
from puna.curate.text.words import CHARACTER, DIGIT, LETTER, SIGN, Words, hash_words

_STOP_WORDS = {
    "en": frozenset(("the", "be", "to", "of", "and", "that", "have", "with")),
    "zh": frozenset("的了是在我有和不人这中大上个一"),
}


class GopherQuality(Config):
    """Thresholds. Words are tokens that are no symbols; a Chinese character is one.

    variant: paper; datatrove (0.10: signs such as • are words, shares are of all tokens, only • and - are bullets, stop
    words count in lower case alone); dclm (every occurrence of a stop word counts).
    """

    variant: Literal["paper", "datatrove", "dclm"] = "paper"
    min_words: int = 50
    max_words: int = 100_000
    min_word_length: float = 3.0
    max_word_length: float = 10.0
    max_hashes_per_word: float = 0.1
    max_ellipses_per_word: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_letter_words: float = 0.8
    min_stop_words: int = 2
    stop_words: tuple[str, ...] = ()
    """Instead of the language's own list."""


def gopher_quality(words: Words, language: str, limits: GopherQuality) -> Iterator[Check]:
    """Mean word length is left out where most words are single characters, stop words for languages without a list."""
    as_datatrove = limits.variant == "datatrove"
    text, first_kind = words.text, SIGN if as_datatrove else DIGIT  # kinds from it on are words
    num_words, num_characters = sum(words.num_of_kind[first_kind:]), words.num_of_kind[CHARACTER]
    yield Check("too few words", "min_words", num_words, least=limits.min_words)
    yield Check("too many words", "max_words", num_words, most=limits.max_words)
    if num_words == 0:
        return
    if num_characters * 2 < num_words:
        length = sum(words.chars_of_kind[first_kind:]) / num_words
        yield Check("word length", "min_word_length", length, least=limits.min_word_length)
        yield Check("word length", "max_word_length", length, most=limits.max_word_length)
    num_all = len(words.kinds) if as_datatrove else num_words
    yield Check("hashes", "max_hashes_per_word", text.count("#") / num_all, most=limits.max_hashes_per_word)
    lines = words.lines.universal if as_datatrove else words.lines
    totals = lines.totals
    yield Check("ellipses", "max_ellipses_per_word", totals.ellipses / num_all, most=limits.max_ellipses_per_word)
    num_lines = len(lines) if as_datatrove else len(lines) - totals.blank
    listed = (totals.datatrove_bulleted if as_datatrove else totals.bulleted) / num_lines
    yield Check("bullet lines", "max_bullet_lines", listed, most=limits.max_bullet_lines)
    cut = totals.trailing_off / num_lines
    yield Check("ellipsis lines", "max_ellipsis_lines", cut, most=limits.max_ellipsis_lines)
    letters = (words.num_of_kind[LETTER] + num_characters) / num_all
    yield Check("words without letters", "min_letter_words", letters, least=limits.min_letter_words)
    stop_words = num_stop_words(words, language, limits)
    yield Check("stop words", "min_stop_words", stop_words, least=limits.min_stop_words)


def num_stop_words(words: Words, language: str, limits: GopherQuality) -> int:
    """How many stop words of `language` occur, as the variant counts; enough for a language without a list."""
    known = _stop_word_hashes(limits.stop_words or language)
    if known is None:
        return limits.min_stop_words
    found = words.cased_hashes if limits.variant == "datatrove" else words.hashes
    distinct, occurrences = _occurrences(found, known)
    return int(occurrences if limits.variant == "dclm" else distinct)


@njit(cache=True, nogil=True)
def _occurrences(found, known):  # type: ignore[no-untyped-def]
    """How many of the sorted hashes `known` are among `found`, and how many of `found` they are."""
    occurs, occurrences = np.zeros(len(known), np.bool_), 0
    low_bits, one = np.uint64(0), np.uint64(1)
    for key in known:
        low_bits |= one << (key & np.uint64(63))
    for key in found:
        if low_bits >> (key & np.uint64(63)) & one:  # seven of eight tokens are none by these bits alone
            place = np.searchsorted(known, key)
            if place < len(known) and known[place] == key:
                occurs[place] = True
                occurrences += 1
    return occurs.sum(), occurrences


@functools.cache
def _stop_word_hashes(listed: str | tuple[str, ...]) -> np.ndarray | None:
    """Of a language's list, or of the words given."""
    if isinstance(listed, str):
        listed = tuple(_STOP_WORDS.get(listed) or STOP_WORDS.get(listed) or ())
    return np.unique([hashes[0] for hashes in hash_words(sorted(listed)) if len(hashes)]) if listed else None

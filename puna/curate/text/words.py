"""One tokenization of a text, shared by all rules, the blocked words and MinHash: arrays of one entry a token."""

import functools
import re
from typing import cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.curate.text.lines import Lines
from puna.curate.text.tokens import (
    CHARACTER,
    CHARACTER_CLASS,
    DIGIT,
    LETTER,
    SIGN,
    SYMBOL,
    Hashes,
    Places,
    Tokens,
    mix,
    tokenize,
)

__all__ = ["CHARACTER", "CHARACTER_CLASS", "DIGIT", "LETTER", "SIGN", "SYMBOL", "Hashes", "Words", "count_words",
           "hash_words", "ngram_hashes"]  # fmt: skip

_COUNTED = re.compile(f"[{CHARACTER_CLASS}]|[^\\s{CHARACTER_CLASS}]+")
BASE = 0x9E3779B97F4A7C15
"""Of the polynomials that are hashes of n-grams."""


def count_words(text: str) -> int:
    """White-space separated words; each Chinese or Japanese character counts as one."""
    return len(text.split()) if text.isascii() else len(_COUNTED.findall(text))


class Words:
    """A text with its tokens (see tokens.py) and its lines (see lines.py), each counted once, when first asked for.

    hashes: 64 bits of each token in lower case, equal for equal tokens in every text and process; cased_hashes: of the
    token as it is. starts: the place of each token in the text; lengths: in characters. num_of_kind, chars_of_kind:
    lists by kind.
    """

    def __init__(self, text: str):
        self.text = text

    @functools.cached_property
    def lines(self) -> Lines:
        return Lines(self.text)

    @functools.cached_property
    def tokens(self) -> Tokens:
        return tokenize(self.text)

    @property
    def starts(self) -> Places:
        return self.tokens.starts

    @property
    def lengths(self) -> Places:
        return self.tokens.lengths

    @property
    def kinds(self) -> NDArray[np.uint8]:
        return self.tokens.kinds

    @property
    def hashes(self) -> Hashes:
        return self.tokens.hashes

    @property
    def cased_hashes(self) -> Hashes:
        return self.tokens.cased_hashes

    @functools.cached_property
    def num_of_kind(self) -> list[int]:
        return cast(list[int], self.tokens.totals[0].tolist())

    @functools.cached_property
    def chars_of_kind(self) -> list[int]:
        return cast(list[int], self.tokens.totals[1].tolist())

    @functools.cached_property
    def is_word(self) -> NDArray[np.bool_]:
        """Tokens that are no symbols or signs."""
        return self.kinds >= DIGIT

    @functools.cached_property
    def word_hashes(self) -> Hashes:
        """Hashes of the tokens that are no symbols, in order."""
        return self.hashes[self.is_word]

    @property
    def num_words(self) -> int:
        return sum(self.num_of_kind[DIGIT:])


@njit(cache=True, nogil=True)
def ngram_hashes(hashes, n):  # type: ignore[no-untyped-def]
    """Hash of every run of `n` tokens, [max(0, M - n + 1)]: polynomials modulo 2^64, each from the one before."""
    count = max(0, len(hashes) - n + 1)
    keys = np.empty(count, np.uint64)
    base, first = np.uint64(BASE), np.uint64(1)
    for _ in range(n):
        first *= base
    value = np.uint64(0)
    for place in range(len(hashes)):
        value = value * base + hashes[place]
        if place >= n:
            value -= first * hashes[place - n]
        if place >= n - 1:
            keys[place - n + 1] = mix(value)
    return keys


def hash_words(words: list[str]) -> list[Hashes]:
    """The token hashes of each entry of a word list (an entry may be several tokens)."""
    return [Words(word).hashes for word in words]

"""One tokenization of a text, shared by all rules, the blocked words and MinHash: arrays of one entry a token."""

import functools
import re

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.curate.tokens import CHARACTER, CHARACTER_CLASS, DIGIT, LETTER, SIGN, SYMBOL, Hashes, describe, mix, split

__all__ = ["CHARACTER", "CHARACTER_CLASS", "DIGIT", "LETTER", "SIGN", "SYMBOL", "Hashes", "Words", "count_words",
           "hash_words", "ngram_hashes"]  # fmt: skip

_COUNTED = re.compile(f"[{CHARACTER_CLASS}]|[^\\s{CHARACTER_CLASS}]+")
_BASE = 0x9E3779B97F4A7C15


def count_words(text: str) -> int:
    """White-space separated words; each Chinese or Japanese character counts as one."""
    return len(text.split()) if text.isascii() else len(_COUNTED.findall(text))


class Words:
    """The tokens of `text` (see tokens.py): kinds, lengths in characters, and hashes.

    hashes: 64 bits of each token in lower case, equal for equal tokens in every text and process; cased_hashes: of the
    token as it is. starts: the place of each token in the text. num_of_kind, chars_of_kind: lists by kind.
    """

    def __init__(self, text: str):
        self.text = text
        codes, self.starts, ends = split(text)
        self.lengths = ends - self.starts
        self.kinds, self.hashes, self.cased_hashes, totals = describe(codes, self.starts, ends)
        self.num_of_kind, self.chars_of_kind = totals.tolist()

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
    base, first = np.uint64(_BASE), np.uint64(1)
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

"""One tokenization of a text, shared by all rules, the blocked words and MinHash.

A token is a run of letters and digits (an apostrophe between letters belongs to it), a single Chinese or Japanese
character, or a single other symbol. All of it is a few numpy passes over the code points: no token becomes a string.
"""

import functools
import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

SPACE, SYMBOL, DIGIT, LETTER, CHARACTER = range(5)
Hashes = NDArray[np.uint64]

_KNOWN = 0x30000  # planes 0 to 2; what lies above counts as a symbol
_CHARACTERS = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFF))
CHARACTER_CLASS = "".join(f"{chr(first)}-{chr(last)}" for first, last in _CHARACTERS)
_COUNTED = re.compile(f"[{CHARACTER_CLASS}]|[^\\s{CHARACTER_CLASS}]+")
_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2^64


def count_words(text: str) -> int:
    """White-space separated words; each Chinese or Japanese character counts as one."""
    return len(text.split()) if text.isascii() else len(_COUNTED.findall(text))


class Words:
    """The tokens of `text` in lower case, as arrays of one entry a token.

    kinds: SYMBOL, DIGIT (no letter in it), LETTER (at least one letter) or CHARACTER; lengths in characters;
    hashes: 64 bits of each token's characters, equal for equal tokens in every text and process.
    """

    def __init__(self, text: str):
        self.text = text
        codes = np.frombuffer(text.lower().encode("utf-32-le", "replace"), np.uint32).astype(np.int64)
        classes = _class_table()[np.minimum(codes, _KNOWN)]
        starts, ends = _token_borders(codes, classes)
        self.lengths = ends - starts
        self.hashes = _range_hashes(codes, starts, ends)
        letters = np.concatenate(([0], np.cumsum(classes == LETTER)))
        has_letter = letters[ends] > letters[starts]
        kinds = classes[starts] if len(starts) else np.zeros(0, np.uint8)
        self.kinds = np.where((kinds == DIGIT) & has_letter, LETTER, kinds).astype(np.uint8)

    @functools.cached_property
    def is_word(self) -> NDArray[np.bool_]:
        """Tokens that are no symbols."""
        return self.kinds != SYMBOL

    @functools.cached_property
    def word_hashes(self) -> Hashes:
        """Hashes of the tokens that are no symbols, in order."""
        return self.hashes[self.is_word]

    @property
    def num_words(self) -> int:
        return len(self.word_hashes)


def ngram_hashes(hashes: Hashes, n: int) -> Hashes:
    """Hash of every run of `n` tokens, [max(0, N - n + 1)]."""
    if len(hashes) < n:
        return np.zeros(0, np.uint64)
    runs = hashes[: len(hashes) - n + 1].copy()
    for offset in range(1, n):
        runs *= np.uint64(_BASE)
        runs += hashes[offset : len(hashes) - n + 1 + offset]
    return _mix(runs)


def hash_words(words: list[str]) -> list[Hashes]:
    """The token hashes of each entry of a word list (an entry may be several tokens)."""
    return [Words(word).hashes for word in words]


def _token_borders(codes: NDArray[np.int64], classes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    groups = np.where(classes == DIGIT, LETTER, classes)
    quotes = np.flatnonzero((codes == 0x27) | (codes == 0x2019))
    if len(quotes):
        inner = quotes[(quotes > 0) & (quotes < len(codes) - 1)]
        inner = inner[(classes[inner - 1] == LETTER) & (classes[inner + 1] == LETTER)]
        groups[inner] = LETTER
    before = np.concatenate(([SPACE], groups[:-1])) if len(groups) else groups
    alone = (groups == SYMBOL) | (groups == CHARACTER)
    starts = np.flatnonzero((groups != SPACE) & ((groups != before) | alone))
    after = np.concatenate((groups[1:], [SPACE])) if len(groups) else groups
    ends = np.flatnonzero((groups != SPACE) & ((groups != after) | alone)) + 1
    return starts, ends


def _range_hashes(codes: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hashes:
    """Polynomial hash of codes[start:end] for all ranges at once, by prefix sums modulo 2^64."""
    powers, inverses = _powers(max(1024, 1 << len(codes).bit_length()))
    terms = _mix(codes.astype(np.uint64)) * powers[: len(codes)]
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)))
    return _mix((sums[ends] - sums[starts]) * inverses[starts])


def _mix(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): spreads each bit over all 64."""
    values = values + np.uint64(_BASE)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@functools.lru_cache(maxsize=4)
def _powers(size: int) -> tuple[Hashes, Hashes]:
    inverse = pow(_BASE, -1, 1 << 64)
    return tuple(  # type: ignore[return-value]
        np.multiply.accumulate(np.concatenate((np.ones(1, np.uint64), np.full(size - 1, base, np.uint64))))
        for base in (_BASE, inverse)
    )


@functools.cache
def _class_table() -> NDArray[np.uint8]:
    """Class of every code point below `_KNOWN`, and SYMBOL as the last entry."""
    table = np.full(_KNOWN + 1, SYMBOL, np.uint8)
    for code in range(_KNOWN):
        category = unicodedata.category(chr(code))
        if category[0] in "LM":
            table[code] = LETTER
        elif category[0] == "N":
            table[code] = DIGIT
        elif category[0] in "ZC":
            table[code] = SPACE
    for first, last in _CHARACTERS:
        table[first : last + 1] = np.where(table[first : last + 1] == LETTER, CHARACTER, table[first : last + 1])
    return table

"""What the line rules ask of each line of a text, counted in one compiled pass.

C code points of a text, L lines of it.
"""

import functools
import string

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.curate.tokens import CHARACTER_RANGES, abbreviations, code_points, is_abbreviation, lower_table


class Lines:
    """The lines of `text`, and for each, [L]: words between white space, code points of the longest one, sentences, and
    Chinese or Japanese characters.

    A sentence ends with . ! ? before white space, quotes or brackets between; an ellipsis ends none, nor does "Mr.".
    What follows the last one, if it has a letter or a digit, is one too.
    """

    def __init__(self, text: str):
        self.lines = text.split("\n")
        counts = np.zeros((4, len(self.lines)), np.int64)
        _count(code_points(text), _kinds(), lower_table(), abbreviations(), counts)
        self.words, self.longest, self.sentences, self.characters = counts


_LETTER, _SPACE, _NEWLINE, _STOP, _END, _CLOSE, _HAN_END, _HAN, _OTHER = range(9)
_KNOWN = 0x30000  # what lies above counts as a letter
_SPACES = (
    *range(9, 14),
    *range(28, 33),
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    """What each code point is to the lines; the last entry stands for those above `_KNOWN`."""
    kinds = np.full(_KNOWN + 1, _LETTER, np.uint8)
    kinds[:0xC0] = _OTHER
    kinds[[ord(char) for char in string.ascii_letters + string.digits]] = _LETTER
    for first, last in CHARACTER_RANGES:
        kinds[first : last + 1] = _HAN
    kinds[list(_SPACES)] = _SPACE
    for chars, kind in (("\n", _NEWLINE), (".", _STOP), ("!?", _END), ("\"')]’”", _CLOSE), ("。！？", _HAN_END)):
        kinds[[ord(char) for char in chars]] = kind
    return kinds


@njit(cache=True, nogil=True)
def _count(codes, kinds, lower, words, counts):  # type: ignore[no-untyped-def]
    line, here, num_codes = 0, 0, len(codes)
    word, is_open, is_ended = 0, False, False
    while here <= num_codes:
        kind = _NEWLINE
        if here < num_codes:
            kind = kinds[codes[here]] if codes[here] < _KNOWN else _LETTER
        if kind == _LETTER:
            word += 1
            is_open, is_ended = True, False
        elif kind in (_SPACE, _NEWLINE):
            if word:
                counts[0, line] += 1
                counts[1, line] = max(counts[1, line], word)
                word = 0
            if is_ended:  # the mark stands before white space
                counts[2, line] += 1
                is_open = is_ended = False
            if kind == _NEWLINE:
                counts[2, line] += is_open
                is_open = is_ended = False
                line += 1
        else:
            word += 1
            if kind == _STOP:
                stops = 1
                while here + stops < num_codes and kinds[min(codes[here + stops], np.uint32(_KNOWN))] == _STOP:
                    stops += 1
                word += stops - 1
                here += stops - 1
                is_ended = stops == 1 and not is_abbreviation(codes, here + 1 - word, here + 1, lower, words)
            elif kind == _END:
                is_ended = True
            elif kind == _HAN_END:  # needs no white space behind
                counts[2, line] += 1
                is_open = is_ended = False
            elif kind == _HAN:
                counts[3, line] += 1
                is_open, is_ended = True, False
            elif kind == _OTHER:
                is_ended = False
        here += 1

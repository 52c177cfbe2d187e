"""What the line rules ask of each line of a text, counted in one compiled pass.

C code points of a text, L lines of it.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.curate.tokens import CHARACTER_RANGES, code_points


class Lines:
    """The lines of `text`, with for each, [L]: words between white space, code points of the longest one, sentences,
    and Chinese or Japanese characters.

    A sentence ends with . ! ? (an ellipsis ends none) before white space, quotes or brackets between; what follows the
    last one, if it has a letter or a digit, is one too.
    """

    def __init__(self, text: str):
        self.lines = text.split("\n")
        counts = np.zeros((4, len(self.lines)), np.int64)
        _count(code_points(text), _RANGES, counts)
        self.words, self.longest, self.sentences, self.characters = counts


_RANGES: NDArray[np.int64] = np.array(CHARACTER_RANGES, np.int64)
_NEWLINE, _STOP = 10, 46


@njit(cache=True, nogil=True)
def _count(codes, ranges, counts):  # type: ignore[no-untyped-def]
    line, here, num_codes = 0, 0, len(codes)
    word, is_open, is_ended = 0, False, False
    while here <= num_codes:
        code = codes[here] if here < num_codes else np.uint32(_NEWLINE)
        is_space = _is_space(code)
        if is_space:
            if word:
                counts[0, line] += 1
                counts[1, line] = max(counts[1, line], word)
                word = 0
            if is_ended:  # the mark stands before white space
                counts[2, line] += 1
                is_open = is_ended = False
            if code == _NEWLINE:
                counts[2, line] += is_open
                is_open = is_ended = False
                line += 1
        else:
            word += 1
            if code == _STOP:
                stops = 1
                while here + stops < num_codes and codes[here + stops] == _STOP:
                    stops += 1
                word += stops - 1
                here += stops - 1
                is_ended = stops == 1
            elif code == 0x21 or code == 0x3F:
                is_ended = True
            elif code == 0x3002 or code == 0xFF01 or code == 0xFF1F:  # 。！？ need no white space behind
                counts[2, line] += 1
                is_open = is_ended = False
            elif not (is_ended and _closes(code)):
                is_ended = False
                is_open = is_open or _is_letter_or_digit(code)
            if code > 0x3000:
                for number in range(len(ranges)):
                    counts[3, line] += ranges[number, 0] <= code <= ranges[number, 1]
        here += 1


@njit(cache=True, nogil=True)
def _is_space(code):  # type: ignore[no-untyped-def]
    if code <= 32:
        return 9 <= code <= 13 or code >= 28
    return code in (0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000) or 0x2000 <= code <= 0x200A


@njit(cache=True, nogil=True)
def _closes(code):  # type: ignore[no-untyped-def]
    return code in (0x22, 0x27, 0x29, 0x5D, 0x2019, 0x201D)


@njit(cache=True, nogil=True)
def _is_letter_or_digit(code):  # type: ignore[no-untyped-def]
    return code > 0xBF or 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122

r"""Text -> pieces by Llama 3's regular expression, written out as a machine over UTF-8 bytes (numba).

    (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,3}
    |  ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+

The alternatives are tried in this order, each as long as it can be. Encoding uses tiktoken's regular expression;
this one is for training, which sees every byte of a corpus. Letters, numbers and white space are those of Python's
Unicode tables.
"""

import sys
import unicodedata
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

OTHER, LETTER, NUMBER, SPACE, NEWLINE = range(5)
_WHITE_SPACE = (
    *range(0x09, 0x0E),
    *range(0x2000, 0x200B),
    *b" \x85\xa0",
    0x1680,
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)
_LONG_S = 0x17F  # which is an s when case is ignored


@cache
def character_classes() -> NDArray[np.uint8]:
    """The class of each code point, [0x110000]."""
    kinds = {"L": LETTER, "N": NUMBER}
    classes = np.array([kinds.get(unicodedata.category(chr(c))[0], OTHER) for c in range(sys.maxunicode + 1)], np.uint8)
    classes[list(_WHITE_SPACE)] = SPACE
    classes[[0x0A, 0x0D]] = NEWLINE
    return classes


@njit(cache=True, nogil=True)
def piece_ends(data, text_ends, classes, digits):  # type: ignore[no-untyped-def]
    """Where each piece of several texts ends, [P]: `data` holds them one after another, up to text_ends (ascending)."""
    # All that is compiled together is in one file: numba's cache does not see changes in another.
    ends = np.empty(len(data), np.int64)
    number, at = 0, 0
    for stop in text_ends:
        while at < stop:
            at = piece_end(data, at, stop, classes, digits)
            ends[number] = at
            number += 1
    return ends[:number].copy()


@njit(cache=True, nogil=True)
def piece_end(data, start, stop, classes, digits):  # type: ignore[no-untyped-def]
    """Where the piece of `data` (UTF-8, uint8) that begins at `start` ends; the text ends at `stop`."""
    code, after = character(data, start)
    kind = classes[code]
    if code == 0x27:  # an apostrophe
        end = _contraction_end(data, after, stop)
        if end > after:
            return end
    if kind == LETTER:
        return _run_end(data, after, stop, classes, LETTER, stop)
    if kind == NUMBER:
        return _run_end(data, after, stop, classes, NUMBER, digits - 1)
    following = classes[character(data, after)[0]] if after < stop else NEWLINE
    if kind != NEWLINE and following == LETTER:
        return _run_end(data, after, stop, classes, LETTER, stop)
    if kind == OTHER or (code == 0x20 and following == OTHER):
        end = _run_end(data, after, stop, classes, OTHER, stop)
        return _run_end(data, end, stop, classes, NEWLINE, stop)
    return _space_end(data, start, stop, classes)


@njit(cache=True, nogil=True)
def character(data, at):  # type: ignore[no-untyped-def]
    """The code point at byte `at` of valid UTF-8, and where the next one begins."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, at + 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int64(data[at + 1]) & 0x3F, at + 2
    middle = np.int64(data[at + 1]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | middle << 6 | np.int64(data[at + 2]) & 0x3F, at + 3
    end = (np.int64(data[at + 2]) & 0x3F) << 6 | np.int64(data[at + 3]) & 0x3F
    return (first & 0x07) << 18 | middle << 12 | end, at + 4


@njit(cache=True, nogil=True)
def _run_end(data, at, stop, classes, kind, limit):  # type: ignore[no-untyped-def]
    """After at most `limit` characters of a class."""
    while at < stop and limit > 0:
        code, after = character(data, at)
        if classes[code] != kind:
            break
        at = after
        limit -= 1
    return at


@njit(cache=True, nogil=True)
def _contraction_end(data, at, stop):  # type: ignore[no-untyped-def]
    """After s, t, re, ve, m, ll or d in either case; `at` itself if there is none of them."""
    if at >= stop:
        return at
    code, after = character(data, at)
    one = code | 0x20
    if code == _LONG_S or (code < 0x80 and (one == 0x73 or one == 0x74 or one == 0x6D or one == 0x64)):
        return after
    if code >= 0x80 or after >= stop or data[after] >= 0x80:
        return at
    two = data[after] | 0x20
    if ((one == 0x72 or one == 0x76) and two == 0x65) or (one == 0x6C and two == 0x6C):
        return after + 1
    return at


@njit(cache=True, nogil=True)
def _space_end(data, start, stop, classes):  # type: ignore[no-untyped-def]
    """White space up to its last line end; without one all of it, less one character that begins the next piece."""
    at, last, newline = start, start, start
    while at < stop:
        code, after = character(data, at)
        if classes[code] == NEWLINE:
            newline = after
        elif classes[code] != SPACE:
            break
        last, at = at, after
    if newline > start:
        return newline
    return last if at < stop and last > start else at

"""Which shapes of numbers a text holds, told in one compiled pass, so that no pattern looks for what is not there.

C code points of a text.
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.curate.text.tokens import code_points


class NumberShapes(NamedTuple):
    """Whether a text holds a shape.

    dotted: four numbers with full stops between, or colons as in an IPv6 address. chained: 13 digits and more, at most
    one space or hyphen between two. spaced: seven digits and more among spaces and . - ( ), or + before a digit.
    spread: two digits at least five places apart with nothing between but digits, white space and . - ( ) /.
    """

    dotted: bool
    chained: bool
    spaced: bool
    spread: bool


def number_shapes(text: str) -> NumberShapes:
    """The shapes that occur in `text`; digits are those of every script, as in \\d of a pattern."""
    return NumberShapes._make(_shapes(code_points(text), _kinds()))


_OTHER, _DIGIT, _SPACE, _HYPHEN, _STOP, _BRACKET, _SLASH, _WHITE, _PLUS, _COLON = range(10)
_KNOWN = 0x30000  # no digit stands above


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    kinds = np.zeros(_KNOWN + 1, np.uint8)
    for code in range(_KNOWN):
        if chr(code).isspace():
            kinds[code] = _WHITE
        elif unicodedata.category(chr(code)) == "Nd":
            kinds[code] = _DIGIT
    for chars, kind in (
        (" ", _SPACE), ("-", _HYPHEN), (".", _STOP), ("()", _BRACKET), ("/", _SLASH), ("+", _PLUS), (":", _COLON)
    ):  # fmt: skip
        kinds[[ord(char) for char in chars]] = kind
    return kinds


@njit(cache=True, nogil=True)
def _shapes(codes, kinds):  # type: ignore[no-untyped-def]
    dotted = chained = spaced = spread = False
    digits = chain = stops = 0  # of what may be one number, up to here
    first = -1  # its first digit
    last, before = _OTHER, _OTHER  # the kinds of the two code points in front
    for here in range(len(codes)):
        kind = kinds[min(codes[here], np.uint32(_KNOWN))]
        if kind == _DIGIT:
            digits += 1
            goes_on = last == _DIGIT or (before == _DIGIT and last in (_SPACE, _HYPHEN))
            chain = chain + 1 if goes_on else 1
            if last != _DIGIT:
                stops = stops + 1 if last == _STOP and before == _DIGIT else 0
            first = here if first < 0 else first
            dotted |= stops >= 3
            chained |= chain >= 13
            spaced |= digits >= 7 or last == _PLUS
            spread |= here - first >= 5
        elif kind in (_OTHER, _PLUS, _COLON):
            digits, first = 0, -1
            dotted |= kind == _COLON and _is_double(codes, here)
        elif kind in (_SLASH, _WHITE):
            digits = 0
        before, last = last, kind
    return dotted, chained, spaced, spread


@njit(cache=True, nogil=True)
def _is_double(codes, colon):  # type: ignore[no-untyped-def]
    """Whether at most four hexadecimal digits and another colon stand before this one, and one such digit behind."""
    if colon + 1 == len(codes) or not _is_hex(codes[colon + 1]):
        return False
    here = colon - 1
    while here >= 0 and colon - here <= 4 and _is_hex(codes[here]):
        here -= 1
    return here >= 0 and codes[here] == 58


@njit(cache=True, nogil=True)
def _is_hex(code):  # type: ignore[no-untyped-def]
    return 48 <= code <= 57 or 65 <= code <= 70 or 97 <= code <= 102

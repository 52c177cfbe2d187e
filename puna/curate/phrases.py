"""Whether a text may hold any of a few phrases: one pass of vector instructions instead of a search for each.

C code points of a text.
"""

from collections.abc import Iterable

import numpy as np
from numba import njit
from numpy.typing import NDArray

_ANY_CASE = 0x20202020
"""Sets the bit that parts lower from upper case, in four letters."""
_KELVIN = 0x212A
"""K, the one letter outside of ASCII whose lower case is a whole letter of ASCII."""


def four_letters(parts: Iterable[str]) -> NDArray[np.uint32]:
    """What `may_hold` looks for: four characters of ASCII in lower case each, from a phrase's rarest place.

    Raises ValueError for others.
    """
    parts = tuple(parts)
    for part in parts:
        if len(part) != 4 or not part.isascii() or part != part.lower():
            raise ValueError(f"expected four ASCII characters in lower case, came {part!r}")
    return np.array([int.from_bytes(part.encode(), "little") | _ANY_CASE for part in parts], np.uint32)


@njit(cache=True, nogil=True)
def may_hold(codes, parts):  # type: ignore[no-untyped-def]
    """Whether one of the `parts` is in `codes`, in any case; seldom where none is, always where one is."""
    num_windows, byte = max(0, len(codes) - 3), np.uint32(0xFF)
    windows, kelvin = np.empty(num_windows, np.uint32), np.uint32(_KELVIN)
    nearest = np.uint32(_KELVIN)
    for here in range(num_windows):
        front = codes[here] & byte | (codes[here + 1] & byte) << np.uint32(8)
        behind = codes[here + 2] & byte | (codes[here + 3] & byte) << np.uint32(8)
        windows[here] = front | behind << np.uint32(16) | np.uint32(_ANY_CASE)
        nearest = min(nearest, codes[here] ^ kelvin)
    for part in parts:  # minima, as a way out of a loop would keep it from vector instructions
        for here in range(num_windows):
            nearest = min(nearest, windows[here] ^ part)
    return nearest == 0

"""Whether a text may hold any of a few phrases: vector instructions over its code points instead of a search for each.

C code points of a text, P phrases.
"""

from collections.abc import Iterable

import numpy as np
from numba import njit
from numpy.typing import NDArray

_WIDTH = 8
_ANY_CASE = 0x20202020
"""The bit by which lower case differs from upper case, in four letters."""
_KELVIN = 0x212A
"""K, the one letter outside of ASCII whose lower case is a letter of ASCII and nothing else."""


def phrase_ends(phrases: Iterable[str]) -> NDArray[np.uint32]:
    """What `may_hold` looks for, [P, 2]: the last eight letters of each phrase, four and four; equal ones once.

    Raises ValueError if a phrase is shorter, or not ASCII in lower case.
    """
    ends = dict[bytes, None]()
    for phrase in phrases:
        if len(phrase) < _WIDTH or not phrase.isascii() or phrase != phrase.lower():
            raise ValueError(f"expected {_WIDTH} characters or more of ASCII in lower case, came {phrase!r}")
        ends[phrase.encode()[-_WIDTH:]] = None
    return np.frombuffer(b"".join(ends), "<u4").reshape(-1, 2) | np.uint32(_ANY_CASE)


@njit(cache=True, nogil=True)
def may_hold(codes, ends):  # type: ignore[no-untyped-def]
    """Whether a phrase with one of these `ends` may be in `codes`, in any case: never wrong if it says no."""
    num_windows, byte = max(0, len(codes) - _WIDTH + 1), np.uint32(0xFF)
    letters, kelvin = np.empty(num_windows + 4, np.uint32), np.uint32(_KELVIN)
    nearest = kelvin
    for here in range(len(codes)):
        nearest = min(nearest, codes[here] ^ kelvin)
    for here in range(num_windows + 4 if num_windows else 0):
        front = codes[here] & byte | (codes[here + 1] & byte) << np.uint32(8)
        behind = codes[here + 2] & byte | (codes[here + 3] & byte) << np.uint32(8)
        letters[here] = front | behind << np.uint32(16) | np.uint32(_ANY_CASE)
    for end in range(len(ends)):  # minima, as a way out of the loop would keep it from vector instructions
        first, second = ends[end, 0], ends[end, 1]
        for here in range(num_windows):
            nearest = min(nearest, letters[here] ^ first | letters[here + 4] ^ second)
    return nearest == 0

"""Distinct pieces of a corpus and how often each occurs: all that training needs of it.

Memory grows with the distinct pieces, not with the text. Counts are 64-bit. Threads count for themselves (numba
without the interpreter's lock) and are added up, so neither the order of texts nor the number of threads is seen.

P distinct pieces.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.tokenizer.split import character_classes, piece_ends

_BATCH_BYTES = 1 << 20
_FIRST_SLOTS = 1 << 12
_USED, _PIECES = range(2)


@dataclass(frozen=True)
class PieceCounts:
    """`bytes` of all pieces, one after another, piece p from offsets[p] to offsets[p + 1]; counts [P] int64."""

    bytes: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]


def count_pieces(texts: Iterable[str], digits: int = 3, threads: int = 1) -> PieceCounts:
    """Count the pieces of `texts`; digits: the longest run of digits in one."""
    counters = [_Counter(digits) for _ in range(threads)]
    batches = _batches(texts)
    with ThreadPoolExecutor(threads) as pool:
        while several := list(islice(batches, threads)):
            list(pool.map(_Counter.add, counters, several))
    for other in counters[1:]:
        counters[0].add_counts(other.counts())
    return counters[0].counts()


def _batches(texts: Iterable[str]) -> Iterator[list[bytes]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text.encode())
        size += len(batch[-1])
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Counter:
    """An open-addressing table of pieces: slots -> piece number, and per piece its hash, count and bytes."""

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.slots = np.full(_FIRST_SLOTS, -1, np.int64)
        self.hashes = np.empty(_FIRST_SLOTS // 2, np.uint64)
        self.offsets = np.zeros(_FIRST_SLOTS // 2 + 1, np.int64)
        self.number_of = np.zeros(_FIRST_SLOTS // 2, np.int64)
        self.arena = np.empty(8 * _FIRST_SLOTS, np.uint8)
        self.state = np.zeros(2, np.int64)

    def add(self, texts: list[bytes]) -> None:
        """Count the pieces of texts (UTF-8)."""
        data = np.frombuffer(b"".join(texts), np.uint8)
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        pieces = np.concatenate([[0], piece_ends(data, ends, character_classes(), self.digits)])
        self._insert_all(data, pieces, np.ones(len(pieces) - 1, np.int64))

    def add_counts(self, other: PieceCounts) -> None:
        """Add what another one has counted."""
        self._insert_all(other.bytes, other.offsets, other.counts)

    def _insert_all(self, data: NDArray[np.uint8], offsets: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        piece = 0
        while piece < len(numbers):
            piece = _insert_from(data, offsets, numbers, piece, *self._table())
            if piece < len(numbers):
                self._grow(len(data))

    def counts(self) -> PieceCounts:
        """What was counted so far."""
        pieces = int(self.state[_PIECES])
        return PieceCounts(
            self.arena[: self.state[_USED]], self.offsets[: pieces + 1].copy(), self.number_of[:pieces].copy()
        )

    def _table(self) -> tuple[NDArray, ...]:  # type: ignore[type-arg]
        return self.slots, self.hashes, self.offsets, self.number_of, self.arena, self.state

    def _grow(self, at_most: int) -> None:
        """Make room for one more piece, however long."""
        pieces, used = int(self.state[_PIECES]), int(self.state[_USED])
        if pieces == len(self.number_of):
            self.slots = _rehashed(self.hashes, pieces, 4 * len(self.number_of))
            self.hashes, self.number_of, self.offsets = (
                np.concatenate([old, np.zeros(pieces, old.dtype)])
                for old in (self.hashes, self.number_of, self.offsets)
            )
        if used + at_most > len(self.arena) or 2 * used > len(self.arena):
            larger = np.empty(2 * len(self.arena) + at_most, np.uint8)
            larger[:used] = self.arena[:used]
            self.arena = larger


@njit(cache=True, nogil=True)
def _insert_from(data, starts, numbers, piece, slots, hashes, offsets, counts, arena, state):  # type: ignore[no-untyped-def]
    """Add pieces from number `piece` on; where it stopped for want of room."""
    while piece < len(numbers):
        start, end = starts[piece], starts[piece + 1]
        if not _insert(data, start, end, numbers[piece], slots, hashes, offsets, counts, arena, state):
            break
        piece += 1
    return piece


@njit(cache=True, nogil=True)
def _insert(data, start, end, number, slots, hashes, offsets, counts, arena, state):  # type: ignore[no-untyped-def]
    """Add `number` to a piece's count; false if it is new and there is no room for it."""
    value = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)  # FNV-1a
    value ^= value >> np.uint64(29)
    mask = np.uint64(len(slots) - 1)
    slot = value & mask
    while slots[slot] >= 0:
        piece = slots[slot]
        if hashes[piece] == value and offsets[piece + 1] - offsets[piece] == end - start:
            first, same = offsets[piece], True
            for i in range(end - start):
                if arena[first + i] != data[start + i]:
                    same = False
                    break
            if same:
                counts[piece] += number
                return True
        slot = (slot + np.uint64(1)) & mask
    piece, used = state[_PIECES], state[_USED]
    if piece == len(counts) or used + end - start > len(arena):
        return False
    for i in range(end - start):
        arena[used + i] = data[start + i]
    slots[slot], hashes[piece], counts[piece], offsets[piece + 1] = piece, value, number, used + end - start
    state[_PIECES], state[_USED] = piece + 1, used + end - start
    return True


@njit(cache=True, nogil=True)
def _rehashed(hashes, pieces, num_slots):  # type: ignore[no-untyped-def]
    slots = np.full(num_slots, -1, np.int64)
    mask = np.uint64(num_slots - 1)
    for piece in range(pieces):
        slot = hashes[piece] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = piece
    return slots

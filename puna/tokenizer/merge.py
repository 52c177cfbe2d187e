"""Byte-level BPE training (Sennrich 2016): join the commonest pair of neighbours, again and again.

piece counts -> symbols in linked lists; pairs with their counts and places -> heap -> the next pair to join

A join touches the places of its pair alone. Of pairs equally common the one with the lower ids goes first, ids being
given in the order of `first_ids` and then of joining: the order of the `tokenizers` library, whose result this is.
Two pairs can make the same token; both then stand for one id.

N symbols of all distinct pieces. At most 3 N pairs of neighbours ever exist: N at the start, and two for each join,
which makes one symbol of two.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.base.errors import DataError
from puna.tokenizer.count import PieceCounts

_JOINS_A_REPORT = 512
_FIRST_SLOTS = 1 << 12
_PAIRS, _PLACES, _HEAP, _JOIN = range(4)
_HALF = 32


def train_merges(
    pieces: PieceCounts,
    first_ids: Sequence[int],
    num_tokens: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[bytes]:
    """Tokens in the order of their ids: the 256 bytes, byte b with id first_ids[b], then what was joined.

    Fewer than `num_tokens` if no pair is left. on_progress(tokens, num_tokens) is called now and then.
    Raises DataError for more than 715 MB of distinct pieces.
    """
    tokens = [bytes([byte]) for byte in sorted(range(256), key=first_ids.__getitem__)]
    ids = {token: number for number, token in enumerate(tokens)}
    trainer = _Trainer(pieces, first_ids)
    while len(tokens) < num_tokens and (pair := trainer.commonest()) is not None:
        token = tokens[pair[0]] + tokens[pair[1]]
        if token not in ids:
            ids[token] = len(tokens)
            tokens.append(token)
            if len(tokens) % _JOINS_A_REPORT == 0:
                on_progress(len(tokens), num_tokens)
        trainer.join(*pair, ids[token])
    return tokens


class _Symbols(NamedTuple):
    """[N] each: a symbol's id (-1: joined to the one before it), its neighbours in the piece (-1: none), its piece."""

    ids: NDArray[np.int32]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    piece: NDArray[np.int32]


class _Pairs(NamedTuple):
    """[3 N] each: a pair's two ids in one number, its count, its latest entry in `places`, the join that last added to
    it; and entries: the left symbol of a pair, and the entry of the same pair before it (-1: none)."""

    keys: NDArray[np.int64]
    totals: NDArray[np.int64]
    latest: NDArray[np.int32]
    touched: NDArray[np.int32]
    places: NDArray[np.int32]
    earlier: NDArray[np.int32]


class _Heap(NamedTuple):
    """[3 N] each: counts and pairs, the first to come in front. A count that is out of date is put right when it comes
    up; a pair that was added to gets a new entry."""

    counts: NDArray[np.int64]
    pairs: NDArray[np.int32]


class _Trainer:
    """The arrays of a training, and the two steps of its loop."""

    def __init__(self, pieces: PieceCounts, first_ids: Sequence[int]) -> None:
        size = len(pieces.bytes)
        if 3 * size >= 2**31:
            raise DataError(f"expected at most 715 MB of distinct pieces, came {size / 1e6:,.0f} MB; sample the text")
        self.weights = pieces.counts
        before, after = (np.arange(size, dtype=np.int32) + step for step in (-1, 1))
        before[pieces.offsets[:-1]] = -1
        after[pieces.offsets[1:] - 1] = -1
        piece = np.repeat(np.arange(len(pieces.counts), dtype=np.int32), np.diff(pieces.offsets))
        self.symbols = _Symbols(np.asarray(first_ids, np.int32)[pieces.bytes], before, after, piece)
        # Memory that nothing is written to costs nothing: room for the most that can be needed is taken at once.
        most = 3 * size + 1
        longs, ints = (lambda: np.empty(most, np.int64)), (lambda: np.empty(most, np.int32))
        self.pairs = _Pairs(longs(), longs(), ints(), ints(), ints(), ints())
        self.heap = _Heap(longs(), ints())
        self.state = np.zeros(4, np.int64)
        slots = np.full(_FIRST_SLOTS, -1, np.int32)
        self.slots = _find_pairs(self.symbols, self.weights, self.pairs, self.heap, slots, self.state)

    def commonest(self) -> tuple[int, int] | None:
        """The ids of the commonest pair; None if there is no pair left."""
        key = int(_commonest(self.pairs, self.heap, self.state))
        return None if key < 0 else (key >> _HALF, key & (1 << _HALF) - 1)

    def join(self, left: int, right: int, joined: int) -> None:
        """Make one symbol of id `joined` of each `left` with a `right` behind it."""
        places = _places_of(left, right, self.pairs, self.slots)
        if left == right:  # these can overlap: of "aaa" the first two are joined
            places.sort()
        args = self.symbols, self.weights, self.pairs, self.heap, self.slots, self.state
        self.slots = _join(left, right, joined, places, *args)


@njit(cache=True)
def _find_pairs(symbols, weights, pairs, heap, slots, state):  # type: ignore[no-untyped-def]
    """Count all pairs of neighbours and fill the heap; the slots, grown."""
    for place in range(len(symbols.ids)):
        after = symbols.after[place]
        if after >= 0:
            slots = _room(pairs, slots, state)
            weight = weights[symbols.piece[place]]
            pair = _add(symbols.ids[place], symbols.ids[after], weight, place, pairs, slots, state)
            pairs.touched[pair] = 0
    for pair in range(state[_PAIRS]):
        _push(pair, pairs, heap, state)
    return slots


@njit(cache=True)
def _commonest(pairs, heap, state):  # type: ignore[no-untyped-def]
    """The key of the commonest pair, taken off the heap; -1 if none is left."""
    while state[_HEAP] > 0:
        count, pair = _pop(pairs, heap, state)
        if count == pairs.totals[pair] and count > 0:
            return pairs.keys[pair]
        if pairs.totals[pair] > 0:
            _push(pair, pairs, heap, state)
    return np.int64(-1)


@njit(cache=True)
def _join(left, right, joined, places, symbols, weights, pairs, heap, slots, state):  # type: ignore[no-untyped-def]
    """Join a pair at its places, in their order, and put the pairs that arise on the heap; the slots, grown."""
    state[_JOIN] += 1
    first_new = state[_PLACES]
    own = _find(left, right, pairs, slots)
    pairs.latest[own] = -1
    for place in places:
        after = symbols.after[place]
        if symbols.ids[place] != left or after < 0 or symbols.ids[after] != right:
            continue
        weight = weights[symbols.piece[place]]
        slots = _room(pairs, slots, state)
        pairs.totals[own] -= weight
        before, behind = symbols.before[place], symbols.after[after]
        symbols.ids[place], symbols.ids[after], symbols.after[place] = joined, -1, behind
        if before >= 0:
            pairs.totals[_find(symbols.ids[before], left, pairs, slots)] -= weight
            _add(symbols.ids[before], joined, weight, before, pairs, slots, state)
        if behind >= 0:
            symbols.before[behind] = place
            pairs.totals[_find(right, symbols.ids[behind], pairs, slots)] -= weight
            _add(joined, symbols.ids[behind], weight, place, pairs, slots, state)
    for entry in range(first_new, state[_PLACES]):
        place = pairs.places[entry]
        if symbols.ids[place] < 0 or symbols.after[place] < 0:  # joined away within this very join
            continue
        pair = _find(symbols.ids[place], symbols.ids[symbols.after[place]], pairs, slots)
        if pair >= 0 and pairs.touched[pair] == state[_JOIN]:
            pairs.touched[pair] = -1
            _push(pair, pairs, heap, state)
    return slots


@njit(cache=True)
def _places_of(left, right, pairs, slots):  # type: ignore[no-untyped-def]
    """Where a pair was found, from first to last; a place may be gone by now."""
    latest = pairs.latest[_find(left, right, pairs, slots)]
    number, entry = 0, latest
    while entry >= 0:
        number += 1
        entry = pairs.earlier[entry]
    places = np.empty(number, np.int32)
    entry = latest
    for i in range(number - 1, -1, -1):
        places[i] = pairs.places[entry]
        entry = pairs.earlier[entry]
    return places


# --- the table of pairs ----------------------------------------------------------------------------------------------


@njit(cache=True)
def _add(left, right, weight, place, pairs, slots, state):  # type: ignore[no-untyped-def]
    """One more place of a pair, which may be a new one; the pair's number."""
    pair = _find(left, right, pairs, slots)
    if pair < 0:
        pair = state[_PAIRS]
        state[_PAIRS] += 1
        pairs.keys[pair], pairs.totals[pair], pairs.latest[pair] = np.int64(left) << _HALF | right, 0, -1
        slots[_slot(pairs.keys[pair], pairs, slots)] = pair
    entry = state[_PLACES]
    state[_PLACES] += 1
    pairs.places[entry], pairs.earlier[entry], pairs.latest[pair] = place, pairs.latest[pair], entry
    pairs.totals[pair] += weight
    pairs.touched[pair] = state[_JOIN]
    return pair


@njit(cache=True)
def _find(left, right, pairs, slots):  # type: ignore[no-untyped-def]
    """The number of a pair, -1 if it is new."""
    return slots[_slot(np.int64(left) << _HALF | right, pairs, slots)]


@njit(cache=True)
def _slot(key, pairs, slots):  # type: ignore[no-untyped-def]
    """Where a key is, or belongs."""
    mask = len(slots) - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(mixed >> np.uint64(20)) & mask
    while slots[slot] >= 0 and pairs.keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def _room(pairs, slots, state):  # type: ignore[no-untyped-def]
    """Slots with room for two more pairs: the same ones, or four times as many."""
    if 2 * (state[_PAIRS] + 2) <= len(slots):
        return slots
    larger = np.full(4 * len(slots), -1, np.int32)
    for pair in range(state[_PAIRS]):
        larger[_slot(pairs.keys[pair], pairs, larger)] = pair
    return larger


# --- the heap: the largest count in front, of equal ones the lowest ids ----------------------------------------------


@njit(cache=True)
def _push(pair, pairs, heap, state):  # type: ignore[no-untyped-def]
    at = state[_HEAP]
    state[_HEAP] += 1
    count = pairs.totals[pair]
    while at > 0:
        parent = (at - 1) >> 1
        if not _goes_first(count, pair, heap.counts[parent], heap.pairs[parent], pairs):
            break
        heap.counts[at], heap.pairs[at] = heap.counts[parent], heap.pairs[parent]
        at = parent
    heap.counts[at], heap.pairs[at] = count, pair


@njit(cache=True)
def _pop(pairs, heap, state):  # type: ignore[no-untyped-def]
    first_count, first_pair = heap.counts[0], heap.pairs[0]
    state[_HEAP] -= 1
    size = state[_HEAP]
    count, pair = heap.counts[size], heap.pairs[size]
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        other = child + 1
        if other < size and _goes_first(
            heap.counts[other], heap.pairs[other], heap.counts[child], heap.pairs[child], pairs
        ):
            child = other
        if not _goes_first(heap.counts[child], heap.pairs[child], count, pair, pairs):
            break
        heap.counts[at], heap.pairs[at] = heap.counts[child], heap.pairs[child]
        at = child
    heap.counts[at], heap.pairs[at] = count, pair
    return first_count, first_pair


@njit(cache=True)
def _goes_first(count, pair, other_count, other_pair, pairs):  # type: ignore[no-untyped-def]
    return count > other_count or (count == other_count and pairs.keys[pair] < pairs.keys[other_pair])

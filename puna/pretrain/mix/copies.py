"""Tokens for a domain -> how often each of its documents is learned.

The documents stand in an order that depends on the seed and their ids alone. A domain is learned in that order, pass
after pass; a run that follows another goes on where that one stopped. So a smaller mix is part of a larger one, and no
order of files or inputs changes the choice.
"""

import numpy as np
import numpy.typing as npt

from puna.base.rng import hash64

Int64 = npt.NDArray[np.int64]
Uint64 = npt.NDArray[np.uint64]


def choose_copies(sizes: Int64, seen: Int64, keys: Uint64, num_tokens: float, max_tokens: float) -> Int64:
    """Copies of each document of a domain: `num_tokens` rounded up to whole documents, never above `max_tokens`.

    sizes: tokens of each document; seen: how often it was learned before; keys: its place in the order (`order_keys`).
    Documents seen least are taken first, so that after every copy no document was seen more than once more often than
    another.
    """
    copies = np.zeros(len(sizes), np.int64)
    order = np.argsort(keys, kind="stable")
    level, taken = int(seen.min(initial=0)), 0
    while taken < num_tokens and len(sizes):
        row = order[seen[order] <= level]
        ends = taken + np.cumsum(sizes[row])
        # A document is taken if the tokens before it do not suffice and it fits below the limit with all before it.
        count = int(min(np.searchsorted(ends, num_tokens) + 1, np.searchsorted(ends, max_tokens, side="right")))
        copies[row[:count]] += 1
        if count < len(row):
            break
        taken = int(ends[-1]) if len(ends) else taken
        level += 1
    return copies


def order_keys(ids: list[str], seed: int) -> Uint64:
    """A 64-bit key for each document id, uniform: sorted by it, documents are in random order."""
    return np.array([hash64(seed, "mix", one) for one in ids], np.uint64)

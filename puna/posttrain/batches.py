"""Batches of anything by number: batch s is the same whatever was taken before, so resuming is exact."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from puna.base.rng import generator

T = TypeVar("T")


def shuffled_batches(items: Sequence[T], size: int, seed: int) -> Callable[[int], list[T]]:
    """Batch number s of the endless stream of items, shuffled anew every epoch: a pure function of s."""
    orders: dict[int, list[int]] = {}

    def item(place: int) -> T:
        epoch, index = divmod(place, len(items))
        if epoch not in orders:
            orders.clear()
            orders[epoch] = generator(seed, "epoch", epoch).permutation(len(items)).tolist()
        return items[orders[epoch][index]]

    return lambda step: [item(place) for place in range(step * size, (step + 1) * size)]

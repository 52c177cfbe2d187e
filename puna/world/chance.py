"""Random draws for text: one named stream, cheap scalar draws."""

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from puna.base.rng import hash64

T = TypeVar("T")


class Chance:
    """A stream named by (seed, key). Built on `random.random` alone, whose sequence Python keeps between versions.

    A scalar draw of a numpy Generator costs about ten times as much, and a world draws a few million.
    """

    def __init__(self, seed: int, *key: str | int):
        self._random = random.Random(hash64(seed, "world", *key)).random

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return int(self._random() * bound)

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + int(self._random() * (high - low + 1))

    def hit(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One item, all equally likely."""
        return items[int(self._random() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A shuffled copy (Fisher and Yates)."""
        rows = list(items)
        for i in range(len(rows) - 1, 0, -1):
            j = int(self._random() * (i + 1))
            rows[i], rows[j] = rows[j], rows[i]
        return rows

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` items without repetition, in random order; all of them if there are fewer."""
        rows = list(items)
        count = min(count, len(rows))
        for i in range(count):
            j = i + int(self._random() * (len(rows) - i))
            rows[i], rows[j] = rows[j], rows[i]
        return rows[:count]

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One key, with probability proportional to its weight."""
        mark = self._random() * sum(weights.values())
        for item, weight in weights.items():
            mark -= weight
            if mark < 0:
                return item
        return item

"""Worlds of one to sixteen processes, each started once a test process."""

from collections.abc import Callable, Iterator

import pytest

from tests.parallel.ranks import Ranks


@pytest.fixture(scope="session")
def ranks() -> Iterator[Callable[[int], Ranks]]:
    """`ranks(4).call(function, ...)`: see Ranks."""
    worlds: dict[int, Ranks] = {}

    def world(size: int) -> Ranks:
        for other, one in worlds.items():
            if other != size:
                one.close()  # an idle one polls, and slows the next down
        return worlds.setdefault(size, Ranks(size))

    yield world
    for one in worlds.values():
        one.close()

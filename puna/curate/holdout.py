"""Which documents are kept back from training, to measure on."""

from collections import defaultdict
from collections.abc import Iterable

from puna.base.rng import hash64


def choose_heldout(documents: Iterable[tuple[str, str]], seed: int, fraction: float, least: int) -> set[str]:
    """Ids of the held-out ones among `documents` (id, source): those whose hash with the seed is smallest.

    Of each source `fraction` (rounded), at least `least`, at most half of it.
    """
    by_source: dict[str, list[str]] = defaultdict(list)
    for identifier, source in documents:
        by_source[source].append(identifier)
    chosen: set[str] = set()
    for members in by_source.values():
        count = min(max(round(fraction * len(members)), least), len(members) // 2)
        members.sort(key=lambda identifier: (hash64(seed, "heldout", identifier), identifier))
        chosen.update(members[:count])
    return chosen

"""Which documents are kept back from training, to measure on."""

import numpy as np
from numpy.typing import NDArray


def choose_heldout(
    hashes: NDArray[np.uint64], sources: NDArray[np.integer], fraction: float, least: int
) -> NDArray[np.bool_]:
    """Which of the documents (a hash of the seed and the id, a number of the source, [N]) are held out, [N].

    Of each source those of smallest hash: `fraction` (rounded), at least `least`, at most half of it.
    """
    chosen = np.zeros(len(hashes), bool)
    for source in np.unique(sources):
        members = np.flatnonzero(sources == source)
        count = min(max(round(fraction * len(members)), least), len(members) // 2)
        chosen[members[np.argsort(hashes[members], kind="stable")[:count]]] = True
    return chosen

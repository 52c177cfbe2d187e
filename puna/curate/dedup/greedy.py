"""Who stays of vectors that are too alike: each in the order of ranks, unless one that stays is as near as `threshold`.

Llama 3 (4.2.3) so thins its dialogs, sorted by quality times difficulty within RoBERTa clusters. Semantic deduplication
here does the same in each of its clusters. Chains of likes do not join (no union-find): whoever goes is within the
threshold of one that stays, its twin, and no two that stay are. Ranks are an order of all, so the result has none.

N vectors, D width, S those that stay.
"""

import numpy as np
from numpy.typing import NDArray

from puna.curate.dedup.clusters import Floats, unit

_BLOCK = 512
_KEPT_BLOCK = 8192


def greedy_keep(
    embeddings: Floats, ranks: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of `embeddings` [N, D] the index of the one that stays for it (its own if it stays), and their cosine.

    A vector goes if its cosine to one that stays, of smaller rank, is `threshold` or more; its twin is the most alike.
    Memory: the vectors and a block of 512 by 8192 cosines.
    """
    order, vectors = np.argsort(ranks, kind="stable"), unit(embeddings)
    twins, cosines = np.arange(len(order)), np.ones(len(order), np.float32)
    stays = np.empty(len(order), np.int64)  # in the order of ranks
    num_stays = 0
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        best, who = _most_alike(vectors, block, stays[:num_stays])
        among = vectors[block] @ vectors[block].T  # [block, block]
        is_in = np.zeros(len(block), bool)
        for row in range(len(block)):
            before = np.flatnonzero(is_in[:row])
            if len(before):
                near = int(before[among[row, before].argmax()])
                if among[row, near] > best[row]:
                    best[row], who[row] = among[row, near], block[near]
            if best[row] >= threshold:
                twins[block[row]], cosines[block[row]] = who[row], best[row]
            else:
                is_in[row] = True
        new = block[is_in]
        stays[num_stays : num_stays + len(new)] = new
        num_stays += len(new)
    return twins, cosines


def _most_alike(
    vectors: Floats, block: NDArray[np.int64], stays: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """For each of the block the largest cosine to those that stay, and whose it is."""
    best, who = np.full(len(block), -np.inf, np.float32), np.full(len(block), -1, np.int64)
    for start in range(0, len(stays), _KEPT_BLOCK):
        kept = stays[start : start + _KEPT_BLOCK]
        similar = vectors[block] @ vectors[kept].T
        first, top = similar.argmax(1), similar.max(1)
        better = top > best
        best[better], who[better] = top[better], kept[first[better]]
    return best, who

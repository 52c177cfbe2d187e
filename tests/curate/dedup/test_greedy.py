"""Greedy keeping against three lines of brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from puna.curate.dedup import greedy
from puna.curate.dedup.clusters import Floats, unit
from puna.curate.dedup.greedy import greedy_keep


def brute(vectors: Floats, ranks: NDArray[np.int64], threshold: float) -> list[int]:
    cosines, stays, twins = unit(vectors) @ unit(vectors).T, list[int](), list(range(len(vectors)))
    for index in np.argsort(ranks).tolist():
        near = max(stays, key=lambda other: cosines[index, other], default=index)
        if near != index and cosines[index, near] >= threshold:
            twins[index] = near
        else:
            stays.append(index)
    return twins


def vectors_of(seed: int, count: int, dim: int) -> Floats:
    """Chains and heaps of likes."""
    draw = np.random.default_rng(seed)
    steps = draw.normal(size=(count, dim)) * draw.choice([0.1, 0.3, 2.0], (count, 1))
    return np.cumsum(steps, axis=0).astype(np.float32) + 0.01


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.5, 0.9, 0.99]), st.sampled_from([3, 7, 512]))
@settings(max_examples=60, deadline=None)
def test_who_stays_and_for_whom_is_that_of_brute_force(seed: int, count: int, threshold: float, block: int) -> None:
    vectors = vectors_of(seed, count, 5)
    ranks = np.random.default_rng(seed + 1).permutation(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(greedy, "_BLOCK", block)
        patch.setattr(greedy, "_KEPT_BLOCK", 2 * block)
        twins, cosines = greedy_keep(vectors, ranks, threshold)
    assert twins.tolist() == brute(vectors, ranks, threshold)
    exact = (unit(vectors) * unit(vectors)[twins]).sum(1)
    assert np.allclose(cosines, exact, atol=1e-5)


def test_the_laws() -> None:
    vectors, ranks = vectors_of(1, 900, 12), np.random.default_rng(2).permutation(900)
    twins, cosines = greedy_keep(vectors, ranks, 0.95)
    gone, stays = np.flatnonzero(twins != np.arange(900)), np.flatnonzero(twins == np.arange(900))
    assert len(gone) > 100 and len(stays) > 20
    assert np.isin(twins[gone], stays).all()  # a twin is in the documents
    assert (ranks[twins[gone]] < ranks[gone]).all() and (cosines[gone] >= 0.95).all()
    between = unit(vectors[stays]) @ unit(vectors[stays]).T - 2 * np.eye(len(stays))
    assert between.max() < 0.95  # no two that stay are near
    order = np.random.default_rng(3).permutation(900)
    again, _ = greedy_keep(vectors[order], ranks[order], 0.95)
    assert order[again].tolist() == twins[order].tolist()  # no order of the input counts


def test_a_chain_does_not_join_its_ends() -> None:
    angles = np.radians([0, 10, 20])
    chain = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert greedy_keep(chain, np.array([0, 1, 2]), float(np.cos(np.radians(12))))[0].tolist() == [0, 0, 2]
    assert greedy_keep(chain, np.array([1, 0, 2]), float(np.cos(np.radians(12))))[0].tolist() == [1, 1, 1]
    assert greedy_keep(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 0.9)[0].tolist() == []

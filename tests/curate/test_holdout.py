import numpy as np

from puna.curate.holdout import choose_heldout

SOURCES = np.array([0] * 900 + [1] * 10 + [2])
HASHES = np.random.default_rng(1).permutation(911).astype(np.uint64)


def test_counts_by_source() -> None:
    chosen = choose_heldout(HASHES, SOURCES, 0.02, 3)
    assert np.bincount(SOURCES[chosen], minlength=3).tolist() == [18, 3, 0]


def test_those_of_smallest_hash_whatever_the_order() -> None:
    chosen = choose_heldout(HASHES, SOURCES, 0.1, 1)
    for source, count in ((0, 90), (1, 1)):
        members = HASHES[source == SOURCES]
        assert set(HASHES[chosen & (source == SOURCES)]) == set(sorted(members.tolist())[:count])
    assert (choose_heldout(HASHES[::-1], SOURCES[::-1], 0.1, 1)[::-1] == chosen).all()
    # Another source's documents change nothing, and a larger fraction only adds.
    assert (choose_heldout(HASHES[:900], SOURCES[:900], 0.1, 1) == chosen[:900]).all()
    assert (choose_heldout(HASHES, SOURCES, 0.2, 1) >= chosen).all()


def test_nothing_is_held_out_when_nothing_is_asked() -> None:
    assert not choose_heldout(HASHES, SOURCES, 0.0, 0).any()

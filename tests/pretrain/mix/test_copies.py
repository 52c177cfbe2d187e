"""Which documents, how often: laws, and a plain walk over copies one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from puna.pretrain.mix.copies import choose_copies, order_keys

_SIZES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=30)


def one_by_one(sizes: list[int], seen: list[int], keys: list[int], wanted: float, most: float) -> list[int]:
    """Give copies in the order of (times seen by then, key), each as long as it is needed and fits."""
    copies, taken = [0] * len(sizes), 0
    while taken < wanted:
        level = min(s + c for s, c in zip(seen, copies, strict=True))
        first = min((i for i in range(len(sizes)) if seen[i] + copies[i] == level), key=lambda i: keys[i])
        if taken + sizes[first] > most:
            break
        copies[first] += 1
        taken += sizes[first]
    return copies


@given(documents=_SIZES, wanted=st.floats(0, 2000), room=st.floats(0, 60), seed=st.integers(0, 5))
def test_copies_are_those_of_a_walk_one_by_one(
    documents: list[tuple[int, int]], wanted: float, room: float, seed: int
) -> None:
    sizes, seen = (np.array(column) for column in zip(*documents, strict=True))
    keys = order_keys([f"d{i}" for i in range(len(sizes))], seed)
    most = wanted + room
    copies = choose_copies(sizes, seen, keys, wanted, most)
    assert copies.tolist() == one_by_one(sizes.tolist(), seen.tolist(), keys.tolist(), wanted, most)
    assert sizes @ copies <= most
    turn = np.random.default_rng(seed).permutation(len(sizes))
    assert np.array_equal(choose_copies(sizes[turn], seen[turn], keys[turn], wanted, most), copies[turn])
    if not seen.any() and copies.any():
        assert copies.max() - copies.min() <= 1  # no document a second time before all had their first


def test_a_smaller_mix_is_part_of_a_larger_one_and_a_following_one_goes_on() -> None:
    sizes, keys = np.full(40, 10), order_keys([str(i) for i in range(40)], 7)
    none = np.zeros(40, np.int64)
    small, large = (choose_copies(sizes, none, keys, tokens, 1e9) for tokens in (150, 500))
    assert (small <= large).all() and small.sum() == 15 and large.sum() == 50
    rest = choose_copies(sizes, small, keys, 350, 1e9)
    assert np.array_equal(small + rest, large)


def test_the_order_depends_on_id_and_seed_alone() -> None:
    ids = [f"page-{i}" for i in range(2000)]
    keys = order_keys(ids, 1)
    assert np.array_equal(order_keys(ids[::-1], 1)[::-1], keys)
    assert not np.array_equal(np.argsort(order_keys(ids, 2)), np.argsort(keys))
    assert abs((keys < 2**63).mean() - 0.5) < 0.04

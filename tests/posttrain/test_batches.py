"""Batches by number: each epoch holds every item once, in another order, whatever was asked before."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from puna.posttrain.batches import shuffled_batches


@given(st.integers(1, 12), st.integers(1, 7), st.lists(st.integers(0, 40), max_size=10))
def test_batches_are_parts_of_shuffled_epochs(num_items: int, size: int, asked: list[int]) -> None:
    items = [f"item {i}" for i in range(num_items)]
    batch_at = shuffled_batches(items, size, seed=1)
    stream = list(itertools.chain.from_iterable(batch_at(step) for step in range(3 * num_items)))
    for epoch in range(3 * size):
        assert sorted(stream[epoch * num_items : (epoch + 1) * num_items]) == sorted(items)
    again = shuffled_batches(items, size, seed=1)
    for step in asked:
        assert again(step) == batch_at(step)


def test_orders_differ_by_epoch_and_seed() -> None:
    items = list(range(50))
    orders = [shuffled_batches(items, 50, seed)(epoch) for seed in (1, 2) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 6

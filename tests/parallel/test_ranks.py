"""The worlds that the tests of this folder use."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.parallel.ranks import Ranks


def summed(start: float) -> Tensor:
    value = torch.tensor(start + dist.get_rank())
    dist.all_reduce(value)
    return value


def fails() -> None:
    if dist.get_rank() == 1:
        raise ValueError("rank one is tired")


def test_ranks_answer_in_order_and_again_after_one_failed(ranks: Callable[[int], Ranks]) -> None:
    world = ranks(2)
    assert [value.item() for value in world.call(summed, 1.0)] == [3.0, 3.0]
    with pytest.raises(AssertionError, match="rank one is tired"):
        world.call(fails)
    assert [value.item() for value in world.call(summed, 2.0)] == [5.0, 5.0]

"""The seal: any single bit that flips is seen, and what may change is not sealed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from puna.pretrain.faults.orders import flip_bit
from puna.pretrain.faults.seal import Seal


def tensors() -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    odd = nn.Parameter(torch.randn(3, 5))  # 60 bytes: no whole number of 64-bit words
    return {
        "model": {"even": nn.Parameter(torch.randn(4, 8)), "odd": odd, "bias": nn.Parameter(torch.zeros(3), False)},
        "optimizer": {"half": torch.randn(7).bfloat16(), "step": torch.tensor(3.0), "bytes": torch.arange(3).byte()},
    }


@given(st.sampled_from(["even", "odd", "half", "step", "bytes"]), st.integers(0, 10**6))
def test_one_flipped_bit_anywhere_breaks_it(name: str, seed: int) -> None:
    held = tensors()
    seal = Seal(held, every=1)
    seal.take(1)
    assert not seal.is_broken()
    victim = next(group[name] for group in held.values() if name in group)
    flip_bit(victim, seed)
    assert seal.is_broken()
    flip_bit(victim, seed)
    assert not seal.is_broken()


def test_two_tensors_that_change_places_break_it() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    assert Seal({"a": a, "b": b}, 1).value() != Seal({"a": b, "b": a}, 1).value()


def test_what_a_backward_pass_moves_is_not_sealed() -> None:
    held = tensors()
    seal = Seal(held, every=1)
    seal.take(1)
    held["model"]["bias"].data += 1
    assert not seal.is_broken()


@pytest.mark.parametrize("every, step, is_seen", [(1, 3, True), (4, 4, True), (4, 3, False), (0, 4, False)])
def test_it_is_taken_when_asked_for(every: int, step: int, is_seen: bool) -> None:
    held = tensors()
    seal = Seal(held, every)
    seal.take(step)
    flip_bit(held["model"]["even"], 5)
    assert seal.is_broken() == is_seen

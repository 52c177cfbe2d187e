"""Faults that a supervisor orders (`puna chaos`): the rank puts them into itself. Nobody ordered: nothing happens.

A flipped bit in the memory of a parameter, between steps; gradients that are no numbers, once.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from puna.base.rng import generator
from puna.parallel.heartbeat import Pulse

B = TypeVar("B")


def disturbed(
    backward: Callable[[nn.Module, B], dict[str, float]], pulse: Pulse
) -> Callable[[nn.Module, B], dict[str, float]]:
    """`backward`, one gradient of which is no number when that was ordered."""

    def disturbed_backward(model: nn.Module, batch: B) -> dict[str, float]:
        row = backward(model, batch)
        if (seed := pulse.ordered("nan")) is not None:
            gradients = [one.grad for one in model.parameters() if one.grad is not None]
            _local(gradients[seed % len(gradients)]).view(-1)[0] = float("nan")
        return row

    return disturbed_backward


def flip_if_ordered(model: nn.Module, pulse: Pulse) -> None:
    """Flip a bit of a parameter that learns, drawn by the order's seed."""
    if (seed := pulse.ordered("flip")) is None:
        return
    learned = [one for one in model.parameters() if one.requires_grad]
    flip_bit(_local(learned[seed % len(learned)]), seed)


def flip_bit(tensor: Tensor, seed: int) -> None:
    """Flip one bit of a tensor's memory."""
    draw: Any = generator(seed, "flip")
    memory = tensor.detach().view(-1).view(torch.uint8)
    byte, bit = int(draw.integers(memory.numel())), int(draw.integers(8))
    memory[byte] ^= int(np.uint8(1 << bit))


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor

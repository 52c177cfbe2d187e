"""Silent corruption: a hash of weights and optimizer, taken after a step and checked before the next one changes them.

Nothing may change them in between, so a difference is a bit that flipped in memory. The hash is a sum of 64-bit words,
weighted by the tensor's place: one pass at the speed of memory, and no single flip leaves it as it was.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

_ODD = 0x9E3779B97F4A7C15  # 2^64 / the golden ratio: an odd number, so that no multiple of a flip vanishes
_MASK = (1 << 64) - 1


class Seal:
    """Of what a loop trains: nested tensors. every: after so many steps (0: never); `take` and `is_broken` go by it.

    What takes no gradient, such as the routers' biases that a backward pass moves, is left out.
    """

    def __init__(self, tensors: dict[str, Any], every: int) -> None:
        self._tensors, self._every = tensors, every
        self._value: int | None = None

    def take(self, step: int) -> None:
        """After a step; the seal of the step before is gone."""
        self._value = self.value() if self._every and step % self._every == 0 else None

    @property
    def taken(self) -> int:
        """The hash after the last step: what was taken, or if that step had no turn what it is now."""
        return self.value() if self._value is None else self._value

    def is_broken(self) -> bool:
        """Whether what was sealed after the last step is other than it was."""
        return self._value is not None and self._value != self.value()

    def value(self) -> int:
        """The hash as it would be now, of what this process holds."""
        sums = [_words(one).sum(dtype=torch.int64) for one in _leaves(self._tensors)]
        if not sums:
            return 0
        total = 0
        for place, part in enumerate(torch.stack(sums).tolist()):
            total = (total + (2 * place + 1) * _ODD * part) & _MASK
        return total


def _leaves(tensors: Any) -> Iterator[Tensor]:
    if isinstance(tensors, dict):
        yield from itertools.chain.from_iterable(_leaves(one) for one in tensors.values())
    elif isinstance(tensors, Tensor) and (tensors.requires_grad or not isinstance(tensors, torch.nn.Parameter)):
        yield (tensors.to_local() if isinstance(tensors, DTensor) else tensors).detach()


def _words(tensor: Tensor) -> Tensor:
    """A tensor's memory as whole numbers, the longest that divide it."""
    flat = tensor.contiguous().view(-1)
    for dtype in (torch.int64, torch.int32, torch.int16):
        if flat.nbytes % dtype.itemsize == 0 and flat.element_size() <= dtype.itemsize:
            return flat.view(dtype)
    return flat.view(torch.uint8)

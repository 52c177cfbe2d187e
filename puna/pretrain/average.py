"""The mean of a model's weights over the last steps (Polyak and Juditsky 1992), as Llama 3 takes it while annealing."""

import torch
from torch import Tensor, nn

from puna.parallel.data import local


class Average:
    """A running mean of a model's parameters; buffers are not averaged. mean: by name, a checkpoint keeps it."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters = dict(model.named_parameters())
        self.mean: dict[str, Tensor] = {name: torch.zeros_like(one) for name, one in self._parameters.items()}

    @torch.no_grad()
    def add(self, number: int) -> None:
        """Take in the weights as they are, as the `number`-th, counted from one."""
        torch._foreach_lerp_(*self._held(), 1 / number)

    @torch.no_grad()
    def put(self) -> None:
        """Make the mean the model's weights."""
        mean, parameters = self._held()
        torch._foreach_copy_(parameters, mean)

    def _held(self) -> tuple[list[Tensor], list[Tensor]]:
        """What this process holds of the mean and of the parameters."""
        return [local(one) for one in self.mean.values()], [local(one) for one in self._parameters.values()]

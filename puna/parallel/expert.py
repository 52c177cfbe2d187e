"""Expert parallelism: the experts of a layer over several processes, each of which has a batch of its own.

    router -> tokens of the chosen experts to their owners -> one feed-forward an expert -> back -> weighted sum

A token is sent once for each of its choices. Routers and everything else are whole on every rank; what a rank's experts
learn comes from the batches of all ranks of the group, so their gradients are already summed over it.

N tokens, D model width, E experts, k experts a token, S ranks.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from puna.base.errors import ConfigError
from puna.model import Llama
from puna.model.feed_forward import Experts
from puna.parallel.part import layers_of


def divide_experts(model: Llama, group: dist.ProcessGroup | None = None) -> None:
    """Leave this rank its share of each layer's experts: rank i has those from i * E / S on, under their numbers.

    The weights must be there, or be put in by name: drawn after it, they would not be those that the seed gives to the
    whole model.

    Raises ConfigError if the model is dense or E is not a multiple of S.
    """
    num_experts, size = model.config.num_experts, dist.get_world_size(group)
    if num_experts == 1:
        raise ConfigError(f"mesh.experts: expected 1 for a model without experts, came {size}")
    if num_experts % size:
        raise ConfigError(f"model.num_experts: expected a multiple of mesh.experts = {size}, came {num_experts}")
    for layer in layers_of(model).values():
        assert isinstance(layer.feed_forward, Experts)
        layer.feed_forward = DividedExperts(layer.feed_forward, group)


class DividedExperts(Experts):
    """`Experts` of which a rank has E / S, in `experts` by their numbers; the same output for the rank's tokens.

    Every rank must call it as often as the others, with as many tokens as it likes.
    """

    def __init__(self, whole: Experts, group: dist.ProcessGroup | None = None) -> None:
        nn.Module.__init__(self)  # and not that of Experts, which would make all of them anew
        self.experts_per_token, self.router, self.router_bias = whole.experts_per_token, whole.router, whole.router_bias
        self.group = group
        self.num_experts = len(whole.experts)
        share = self.num_experts // dist.get_world_size(group)
        first = dist.get_rank(group) * share
        self.experts = nn.ModuleDict(  # type: ignore[assignment]
            {str(number): whole.experts[number] for number in range(first, first + share)}
        )

    def mixed(self, tokens: Tensor, weights: Tensor, chosen: Tensor, admitted: Tensor) -> Tensor:
        """As in `Experts`. Choices travel by the number of their expert, so that each owner's are in one piece."""
        places, choices = admitted.nonzero(as_tuple=True)
        numbers, order = chosen[places, choices].sort(stable=True)
        places, choices = places[order], choices[order]
        sent = torch.bincount(numbers, minlength=self.num_experts).view(-1, len(self.experts))
        arrived = torch.empty_like(sent)  # [S, E / S]: from each rank, for each own expert
        dist.all_to_all_single(arrived, sent, group=self.group)
        there, back = sent.sum(1).tolist(), arrived.sum(1).tolist()
        received = _Exchange.apply(tokens[places], there, back, self.group)
        answers = _Exchange.apply(self._computed(received, arrived), back, there, self.group)
        part = answers * weights[places, choices, None].to(tokens.dtype)
        return torch.zeros_like(tokens).index_add_(0, places, part)

    def _computed(self, received: Tensor, arrived: Tensor) -> Tensor:
        """What the own experts say to tokens that came rank by rank and expert by expert, in that order."""
        number = torch.arange(len(self.experts), device=received.device).repeat(len(arrived))
        by_expert = number.repeat_interleave(arrived.flatten()).argsort(stable=True)
        pieces = received[by_expert].split(arrived.sum(0).tolist())
        # An expert without a token is computed too: its gradient is then zero, not missing.
        said = [expert(piece) for expert, piece in zip(self.experts.children(), pieces, strict=True)]
        return torch.cat(said)[by_expert.argsort()]


class _Exchange(torch.autograd.Function):
    """All-to-all of rows: `there[r]` of them, in order, to rank r, and `back[r]` from it; gradients the other way."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, there: list[int], back: list[int], group: dist.ProcessGroup | None) -> Tensor:
        ctx.there, ctx.back, ctx.group = there, back, group
        return _exchanged(rows, there, back, group)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchanged(slopes[0], ctx.back, ctx.there, ctx.group), None, None, None


def _exchanged(rows: Tensor, there: list[int], back: list[int], group: dist.ProcessGroup | None) -> Tensor:
    received = rows.new_empty(sum(back), rows.shape[1])
    dist.all_to_all_single(received, rows.contiguous(), back, there, group=group)
    return received

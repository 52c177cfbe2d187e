"""The feed-forward half of a layer: one SwiGLU, or several of which a router chooses a few for every token.

N tokens, D model width, E experts, k experts a token.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.model.config import LlamaConfig


@dataclass(frozen=True)
class Routed:
    """What one layer's router did with the N counted tokens: probabilities [N, E], chosen [N, k], dropped choices."""

    probabilities: Tensor
    chosen: Tensor
    num_dropped: int


class Share(Protocol):
    """The part of a micro-batch's tokens that one process has where others have the rest (`parallel.context`)."""

    def total(self, sums: Tensor) -> Tensor:
        """`sums` added up over the processes, with gradient."""

    def whole(self, part: Tensor) -> Tensor:
        """What every process has, [B, its tokens, ...], as that of the whole rows, [B, T, ...]."""

    def own(self, whole: Tensor) -> Tensor:
        """The inverse: the part of [B, T, ...] that is this process's."""


class Routing:
    """What a training pass asks of the experts, and in `layers` what each of them reports, in order.

    counted [B, T]: false for tokens (padding) that take no part: no expert computes them. capacity_factor: an expert
    takes at most this times its even share of all choices (Lepikhin 2021; 0: all that come); a choice beyond is
    dropped, so that the token gets the other choices' part alone. share: if other processes have tokens of the same
    rows; capacity is then that of all of them. What `layers` report is of this process's tokens.
    """

    def __init__(self, counted: Tensor, capacity_factor: float = 0.0, share: Share | None = None) -> None:
        self.counted, self.capacity_factor, self.share = counted, capacity_factor, share
        # In a plain object: FSDP hands each layer a copy of a dataclass, and what that one is told is lost.
        self.layers: list[Routed] = []

    def admit(self, probabilities: Tensor, chosen: Tensor) -> Tensor:
        """[N, k], true for choices that are computed. First choices go before second ones, then by place."""
        counted = self.counted.flatten()
        admitted = counted[:, None].expand_as(chosen)
        if self.capacity_factor:
            admitted = admitted & self._with_room(chosen.masked_fill(~admitted, -1), probabilities.shape[1])
        num_dropped = int(counted.sum()) * chosen.shape[1] - int(admitted.sum())
        self.layers.append(Routed(probabilities[counted], chosen[counted], num_dropped))
        return admitted

    def _with_room(self, chosen: Tensor, num_experts: int) -> Tensor:
        """[N, k], true for choices within the capacity of their expert; -1 is no choice.

        Every process counts the queues of the whole rows: a place in one hangs on all tokens before it.
        """
        rows = chosen.view(*self.counted.shape, -1)
        queue = (rows if self.share is None else self.share.whole(rows)).flatten(0, 1).T
        queued = F.one_hot(queue.flatten() + 1, num_experts + 1)[:, 1:]
        place = (queued.cumsum(0) * queued).sum(1).view_as(queue)
        capacity = math.ceil(self.capacity_factor * int(queued.sum()) / num_experts)
        room = (place <= capacity).T.reshape(len(rows), -1, rows.shape[2])
        return (room if self.share is None else self.share.own(room)).flatten(0, 1)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate(x)) * up(x))."""

    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, ffn_dim, bias=False)
        self.up = nn.Linear(dim, ffn_dim, bias=False)
        self.down = nn.Linear(ffn_dim, dim, bias=False)

    def forward(self, x: Tensor, routing: Routing | None = None) -> Tensor:
        """[..., D] to [..., D]; nothing is chosen, so nothing is reported in `routing`."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    """A mixture of experts as in Mixtral (Jiang 2024): sum over the k chosen of softmax(their logits) * expert(x).

    With `config.router_bias` each expert has a bias that is added to its probability for the choice alone, not for the
    weight (Wang 2024, DeepSeek): training moves it without a gradient, to even out the load.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.experts_per_token = config.experts_per_token
        self.router = nn.Linear(config.dim, config.num_experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(config.dim, config.ffn_dim) for _ in range(config.num_experts))
        # A parameter, not a buffer: it is saved, resumed and loaded with the weights.
        bias = nn.Parameter(torch.zeros(config.num_experts), requires_grad=False)
        self.router_bias = bias if config.router_bias else None

    def forward(self, x: Tensor, routing: Routing | None = None) -> Tensor:
        """[B, T, D] to [B, T, D]. `routing`: limits what is computed, and is told what was chosen."""
        tokens = x.flatten(0, -2)
        probabilities, weights, chosen = self.route(tokens)
        admitted = (
            torch.ones_like(chosen, dtype=torch.bool) if routing is None else routing.admit(probabilities, chosen)
        )
        return self.mixed(tokens, weights, chosen, admitted).view_as(x)

    def mixed(self, tokens: Tensor, weights: Tensor, chosen: Tensor, admitted: Tensor) -> Tensor:
        """Of tokens [N, D] the sums over their admitted choices [N, k] of weight * expert(token), [N, D].

        The seam for experts that are in other processes: `parallel.expert` computes the same with them.
        """
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            # An expert without a token is computed too: its gradient is then zero, not missing.
            places, choices = ((chosen == number) & admitted).nonzero(as_tuple=True)
            part = expert(tokens[places]) * weights[places, choices, None].to(tokens.dtype)
            out.index_add_(0, places, part)
        return out

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of tokens [N, D]: probabilities [N, E] in fp32, and of the chosen experts weights and numbers [N, k].

        Dividing the chosen probabilities by their sum is the softmax over the chosen logits.
        """
        probabilities = self.router(tokens).float().softmax(-1)
        ranked = probabilities if self.router_bias is None else probabilities + self.router_bias
        chosen = ranked.topk(self.experts_per_token, dim=-1).indices
        weights = probabilities.gather(-1, chosen)
        return probabilities, weights / weights.sum(-1, keepdim=True), chosen

"""The feed-forward half of a layer: one SwiGLU, or several of which a router chooses a few for every token.

N tokens, D model width, E experts, k experts a token.
"""

import math
from dataclasses import dataclass, field

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


@dataclass
class Routing:
    """What a training pass asks of the experts, and in `layers` what each of them reports, in order.

    counted [B, T]: false for tokens (padding) that take no part: no expert computes them. capacity_factor: an expert
    takes at most this times its even share of all choices (Lepikhin 2021; 0: all that come); a choice beyond is
    dropped, so that the token gets the other choices' part alone.
    """

    counted: Tensor
    capacity_factor: float = 0.0
    layers: list[Routed] = field(default_factory=list)

    def admit(self, probabilities: Tensor, chosen: Tensor) -> Tensor:
        """[N, k], true for choices that are computed. First choices go before second ones, then by place."""
        counted = self.counted.flatten()
        admitted = counted[:, None].expand_as(chosen)
        if self.capacity_factor:
            num_experts = probabilities.shape[1]
            capacity = math.ceil(self.capacity_factor * int(admitted.sum()) / num_experts)
            queued = F.one_hot(chosen.T.flatten(), num_experts) * admitted.T.reshape(-1, 1)
            place = (queued.cumsum(0) * queued).sum(1).view_as(chosen.T).T
            admitted = admitted & (place <= capacity)
        num_dropped = int(counted.sum()) * chosen.shape[1] - int(admitted.sum())
        self.layers.append(Routed(probabilities[counted], chosen[counted], num_dropped))
        return admitted


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
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            # An expert without a token is computed too: its gradient is then zero, not missing.
            places, choices = ((chosen == number) & admitted).nonzero(as_tuple=True)
            part = expert(tokens[places]) * weights[places, choices, None].to(x.dtype)
            out.index_add_(0, places, part)
        return out.view_as(x)

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of tokens [N, D]: probabilities [N, E] in fp32, and of the chosen experts weights and numbers [N, k].

        Dividing the chosen probabilities by their sum is the softmax over the chosen logits.
        """
        probabilities = self.router(tokens).float().softmax(-1)
        ranked = probabilities if self.router_bias is None else probabilities + self.router_bias
        chosen = ranked.topk(self.experts_per_token, dim=-1).indices
        weights = probabilities.gather(-1, chosen)
        return probabilities, weights / weights.sum(-1, keepdim=True), chosen

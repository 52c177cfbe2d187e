"""A mixture of experts that begins as a trained dense model (sparse upcycling, Komatsuzaki 2023)."""

import torch

from puna.base.errors import ConfigError
from puna.model.config import LlamaConfig
from puna.model.llama import Llama


@torch.no_grad()
def upcycled(dense: Llama, num_experts: int, experts_per_token: int, seed: int, router_bias: bool = False) -> Llama:
    """`dense` with every feed-forward part copied `num_experts` times and routers drawn from `seed`, normal(0, 0.02).

    The weights of the chosen experts sum to one, so at the start the output is that of `dense`. Raises ConfigError if
    `dense` has experts already, or the numbers do not fit together.
    """
    if dense.config.num_experts != 1:
        raise ConfigError(
            f"expected a dense model to copy experts from, came one of {dense.config.num_experts} experts"
        )
    values = {**dense.config.to_dict(), "num_experts": num_experts, "experts_per_token": experts_per_token}
    model = Llama(LlamaConfig(**{**values, "router_bias": router_bias}), seed=seed)
    model.to(dense.embedding.weight.dtype)
    weights = dict(dense.named_parameters())
    for name, parameter in model.named_parameters():
        if ".router" not in name:
            parameter.copy_(weights[_dense_name(name)])
    return model


def _dense_name(name: str) -> str:
    """layers.0.feed_forward.experts.3.up.weight is a copy of layers.0.feed_forward.up.weight."""
    before, found, after = name.partition(".experts.")
    return f"{before}.{after.partition('.')[2]}" if found else name

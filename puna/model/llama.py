"""The model: token ids -> logits. One definition for training, sampling, scoring and serving.

B batch, T tokens, D model width, H query heads, K key/value heads, C head width, V vocabulary.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.model.attention import AttentionContext, KVCache, attend
from puna.model.config import LlamaConfig
from puna.model.feed_forward import Experts, FeedForward, Routing
from puna.model.rope import apply_rope, rope_frequencies, rope_tables


class Llama(nn.Module):
    """Llama 3: a pre-norm decoder with grouped-query attention, RoPE, SwiGLU and RMSNorm.

    With `config.num_experts` above 1 each SwiGLU is a mixture of experts, as in Mixtral.

    Weights are drawn on construction from `seed` alone (see `initialise`). Under `torch.device("meta")` none are made.
    """

    def __init__(self, config: LlamaConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = None if config.tied else _linear(config.dim, config.vocab_size)
        # No buffer: a buffer would be cast with the model to bf16 and be lost on the meta device.
        self.frequencies = rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
        if not self.embedding.weight.is_meta:
            self.initialise(seed)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits [B, T, V] of the token after each of `tokens` [B, T] int64.

        positions [B, T]: for RoPE; by default 0, 1, ... or on from the cache's. documents [B, T]: tokens with unequal
        numbers do not see each other. cache: earlier tokens; the new ones are added to it.
        """
        return F.linear(self.hidden(tokens, positions, documents, cache), self.output_weight)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: KVCache | None = None,
        routing: Routing | None = None,
    ) -> Tensor:
        """The state [B, T, D] that `output_weight` turns into logits; arguments as for `forward`.

        routing: what training asks of the experts and learns from them, if the model has any.
        """
        context = AttentionContext.of(tokens, positions, documents, cache)
        x = _in_compute_dtype(self.embedding(tokens))
        if self.frequencies.device != tokens.device:
            self.frequencies = self.frequencies.to(tokens.device)
        rope = rope_tables(self.frequencies, context.positions, x.dtype)
        for layer in self.layers:
            x = layer(x, rope, context, routing)
        return self.norm(x)

    @property
    def output_weight(self) -> Tensor:
        """[V, D]: the output matrix, which is the embedding if the model is tied."""
        return self.embedding.weight if self.output is None else self.output.weight

    def set_rope(self, theta: float, scaling: dict[str, Any] | None, max_position: int) -> None:
        """Turn queries and keys by these frequencies from now on: what long context changes beside the weights."""
        self.config = replace(self.config, rope_theta=theta, rope_scaling=scaling, max_position=max_position)
        self.frequencies = rope_frequencies(self.config.head_dim, theta, scaling)

    @torch.no_grad()
    def initialise(self, seed: int, std: float = 0.02) -> None:
        """Draw all weights: matrices normal(0, std), those writing into the residual stream std / sqrt(2 L), norms 1.

        The scaling keeps the stream's variance from growing with depth (GPT-2, section 2.3); the Llama 3 paper does not
        give its initialisation. Drawn in fp32 on the CPU in the order of `named_parameters`, so that a seed means the
        same weights on every device.
        """
        for parameter, (_, drawn) in zip(self.parameters(), drawn_weights(self, seed, std), strict=True):
            parameter.copy_(drawn)


def drawn_weights(model: Llama, seed: int, std: float) -> Iterator[tuple[str, Tensor]]:
    """What `initialise` gives each parameter, one at a time; the model may be on the meta device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    residual_std = std / math.sqrt(2 * model.config.layers)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            yield name, torch.full(parameter.shape, 0.0 if name.endswith("router_bias") else 1.0, device="cpu")
            continue
        drawn = torch.empty(parameter.shape, dtype=torch.float32, device="cpu").normal_(generator=generator)
        yield name, drawn * (residual_std if name.endswith((".o.weight", ".down.weight")) else std)


class Layer(nn.Module):
    """One block: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config, index)
        self.feed_forward_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = FeedForward(config.dim, config.ffn_dim) if config.num_experts == 1 else Experts(config)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], context: AttentionContext, routing: Routing | None = None
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rope, context)
        return x + self.feed_forward(self.feed_forward_norm(x), routing)


class Attention(nn.Module):
    """Projections around `attend`; queries and keys are turned by RoPE before it."""

    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        self.q = _linear(config.dim, config.heads * config.head_dim)
        self.k = _linear(config.dim, config.kv_heads * config.head_dim)
        self.v = _linear(config.dim, config.kv_heads * config.head_dim)
        self.o = _linear(config.heads * config.head_dim, config.dim)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], context: AttentionContext) -> Tensor:
        q, k, v = self.heads(x)
        out = attend(apply_rope(q, *rope), apply_rope(k, *rope), v, context, self.index)
        return self.o(out.flatten(-2))

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, T, H, C], keys and values [B, T, K, C] of `x` [B, T, D], not turned yet."""
        q, k, v = (project(x).unflatten(-1, (-1, self.head_dim)) for project in (self.q, self.k, self.v))
        return q, k, v


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        # All in the dtype of `x`: torch has no fused kernel for two, and autocast on GPUs would go over to fp32.
        with torch.autocast(x.device.type, enabled=False):
            return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def _in_compute_dtype(x: Tensor) -> Tensor:
    """`x` in the dtype of autocast's products, if that is on: what flows between the layers is then as wide as they."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _linear(num_in: int, num_out: int) -> nn.Linear:
    return nn.Linear(num_in, num_out, bias=False)

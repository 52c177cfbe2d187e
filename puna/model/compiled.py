"""Layers through torch.compile, attention apart: each half of a layer is one graph forward and one back.

    norm, projections, RoPE -> attention as it is -> projection, residual sum, norm, SwiGLU, residual sum

Packed documents are attended one by one, in other lengths with every batch. With attention outside, graphs hang on the
shape of a micro-batch alone, and all layers share two of them: seconds to compile, where a whole model takes a minute.
"""

import functools
from functools import partial
from typing import Any

import torch
from torch import Tensor

from puna.model.attention import AttentionContext, attend
from puna.model.feed_forward import Experts, Routing
from puna.model.llama import Layer, Llama
from puna.model.rope import apply_rope


def compile_layers(model: Llama) -> None:
    """Compute the layers of a dense model by compiled graphs from now on, where gradients are wanted; in place.

    Without gradients (validation, generation: shapes of all kinds) layers stay as they are. Raises ValueError for a
    model of experts, whose tokens go other ways with each batch.
    """
    layers = [layer for layer in model.layers.children() if isinstance(layer, Layer)]
    if any(isinstance(layer.feed_forward, Experts) for layer in layers):
        raise ValueError("expected a dense model to compile, came one of experts")
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]


def uncompile_layers(model: Llama) -> None:
    """Undo `compile_layers`."""
    for layer in model.layers.children():
        vars(layer).pop("forward", None)


def _forward(
    layer: Layer,
    x: Tensor,
    rope: tuple[Tensor, Tensor],
    context: AttentionContext,
    routing: Routing | None = None,
) -> Tensor:
    if not torch.is_grad_enabled():
        return Layer.forward(layer, x, rope, context, routing)
    before, after = _halves()
    q, k, v = before(layer, x, *rope)
    out: Tensor = after(layer, x, attend(q, k, v, context, layer.attention.index))
    return out


@functools.cache
def _halves() -> tuple[Any, Any]:
    return torch.compile(_before, dynamic=False), torch.compile(_after, dynamic=False)


def _before(layer: Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [B, T, heads, C] of `x` [B, T, D]."""
    q, k, v = layer.attention.heads(layer.attention_norm(x))
    return apply_rope(q, cos, sin), apply_rope(k, cos, sin), v


def _after(layer: Layer, x: Tensor, seen: Tensor) -> Tensor:
    """What the layer returns, of its input and what its attention saw [B, T, H, C]."""
    x = x + layer.attention.o(seen.flatten(-2))
    out: Tensor = x + layer.feed_forward(layer.feed_forward_norm(x))
    return out

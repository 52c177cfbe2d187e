"""Causal attention of a whole row by blocks of queries, for training on cores: plain matrix products forward and back.

torch's fused kernel for cores runs narrow heads at a quarter of the speed of a matrix product. At 4 rows of 512 tokens,
6 heads of 32 channels, two cores: 43 ms forward and backward, 36 by blocks of 64; 8 heads of 64: 86 and 66. What it
costs is memory: the probabilities are kept for the backward pass, B H T T / 2 numbers a layer. So longer rows stay with
the fused kernel, which is as fast there, and shorter ones too. With AVX-512 that kernel is the faster one almost
everywhere (1.0 to 1.4 times, in forward and backward pass of rows of 384 to 1,024 tokens), so all rows stay with it.

B batch, T tokens, H query heads, K key/value heads, G = H / K, C head width.
"""

from typing import Any

import torch
from torch import Tensor

_BLOCK = 64
SHORTEST, LONGEST = 384, 1024
HAS_WIDE_VECTORS = torch.backends.cpu.get_cpu_capability() == "AVX512"


def suits(q: Tensor) -> bool:
    """Whether queries [B, T, H, C] are better computed here than by torch's kernel."""
    return (
        not HAS_WIDE_VECTORS
        and SHORTEST <= q.shape[1] <= LONGEST
        and q.requires_grad
        and torch.is_grad_enabled()
        and q.device.type == "cpu"
        and q.dtype == torch.float32
    )


def kept_probabilities(heads: int, tokens: int) -> float:
    """Numbers that a layer keeps here for each token of a row of so many, 0 if the row goes to torch's kernel."""
    if HAS_WIDE_VECTORS or not SHORTEST <= tokens <= LONGEST:
        return 0.0
    return heads * sum((end - start) * end for start, end in _blocks(tokens)) / tokens


def block_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal grouped-query attention of q [B, T, H, C] over k, v [B, T, K, C]: [B, T, H, C]."""
    return _BlockAttention.apply(q, k, v)  # type: ignore[no-any-return]


class _BlockAttention(torch.autograd.Function):
    """Queries lie as [B K, T G, C]: those of a block of tokens are one piece of memory for all G heads of a group."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        groups, scale = q.shape[2] // k.shape[2], q.shape[3] ** -0.5
        queries, keys, values = _lie(q, groups).mul(scale), _lie(k, 1), _lie(v, 1)
        out, kept = torch.empty_like(queries), list[Tensor]()
        for start, end in _blocks(q.shape[1]):
            rows = slice(start * groups, end * groups)
            scores = queries[:, rows] @ keys[:, :end].mT
            later = torch.ones(end - start, end - start, dtype=torch.bool).triu(1)[:, None]
            scores.unflatten(1, (-1, groups))[..., start:].masked_fill_(later, -torch.inf)
            kept.append(scores.softmax(-1))
            out[:, rows] = kept[-1] @ values[:, :end]
        ctx.save_for_backward(queries, keys, values, *kept)
        ctx.groups, ctx.scale, ctx.rows = groups, scale, q.shape[0]
        return _stand(out, q.shape[0], groups)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values, *kept = ctx.saved_tensors
        groups = ctx.groups
        slope = _lie(slopes[0], groups)
        of_queries = torch.empty_like(queries)
        of_keys, of_values = torch.zeros_like(keys), torch.zeros_like(values)
        for (start, end), seen in zip(_blocks(keys.shape[1]), kept, strict=True):
            rows = slice(start * groups, end * groups)
            of_values[:, :end].baddbmm_(seen.mT, slope[:, rows])
            of_seen = slope[:, rows] @ values[:, :end].mT
            of_scores = torch._softmax_backward_data(of_seen, seen, -1, seen.dtype)
            of_queries[:, rows] = of_scores @ keys[:, :end]
            of_keys[:, :end].baddbmm_(of_scores.mT, queries[:, rows])
        of_queries.mul_(ctx.scale)
        return _stand(of_queries, ctx.rows, groups), _stand(of_keys, ctx.rows, 1), _stand(of_values, ctx.rows, 1)


def _blocks(tokens: int) -> list[tuple[int, int]]:
    return [(start, min(start + _BLOCK, tokens)) for start in range(0, tokens, _BLOCK)]


def _lie(x: Tensor, groups: int) -> Tensor:
    """[B, T, K G, C] as [B K, T G, C]."""
    return x.unflatten(2, (-1, groups)).transpose(1, 2).reshape(x.shape[0] * x.shape[2] // groups, -1, x.shape[3])


def _stand(x: Tensor, rows: int, groups: int) -> Tensor:
    """The inverse of `_lie`."""
    return x.unflatten(0, (rows, -1)).unflatten(2, (-1, groups)).transpose(1, 2).flatten(2, 3)

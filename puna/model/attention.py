"""The seam of the model: everything that decides which token sees which is behind `attend`.

B batch, T new tokens, S tokens seen (cached and new), H query heads, K key/value heads, C head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class KVCache(Protocol):
    """Keys and values of earlier tokens. The dense form is `SlotCache`; others may page or shard."""

    def extend(self, counts: int | Sequence[int]) -> Tensor:
        """Make room for `counts` new tokens a row; their positions [B, T], padded on the right."""

    def mask(self) -> Tensor:
        """[B, 1, T, S], true where one of the new tokens may see a stored one."""

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' k, v [B, T, K, C]; return all a layer has, [B, K, S, C]."""


@dataclass(frozen=True)
class AttentionContext:
    """What the layers of one forward pass share.

    positions: [B, T] or [1, T], for RoPE. documents: [B, T] or None; tokens see each other only if their numbers are
    equal. cache: where keys and values of earlier tokens are. mask: [B, 1, T, S] or None for plain causal attention.
    """

    positions: Tensor
    documents: Tensor | None
    cache: KVCache | None
    mask: Tensor | None

    @classmethod
    def of(
        cls, tokens: Tensor, positions: Tensor | None, documents: Tensor | None, cache: KVCache | None
    ) -> "AttentionContext":
        """The context of `tokens` [B, T]. Without `positions`, tokens are numbered from 0, or on from the cache's."""
        if documents is not None and cache is not None:
            raise ValueError("expected documents or a cache, came both: a cache row holds one document")
        if positions is None:
            new = torch.arange(tokens.shape[1], device=tokens.device)[None]
            positions = new if cache is None else cache.extend(tokens.shape[1])
        mask = cache.mask() if cache is not None else None if documents is None else document_mask(documents)
        return cls(positions, documents, cache, mask)


def document_mask(documents: Tensor) -> Tensor:
    """[B, 1, T, T], true where a token may see another: the same document, and not later. `documents`: [B, T]."""
    order = torch.arange(documents.shape[1], device=documents.device)
    same = documents[:, :, None] == documents[:, None, :]
    return (same & (order[:, None] >= order))[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, context: AttentionContext, layer: int) -> Tensor:
    """Grouped-query attention of q [B, T, H, C] over k, v [B, T, K, C] and what the cache has: [B, T, H, C].

    On two CPU cores `enable_gqa` with a boolean mask was faster, backward included, than expanded keys and values
    (18.5 against 20.2 ms at B16 T256 H4 K2 C32), than query heads folded into the time axis (20.1) and than
    products written out (21.9).
    """
    if context.cache is not None:
        keys, values = context.cache.update(layer, k, v)
    else:
        keys, values = k.transpose(1, 2), v.transpose(1, 2)
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), keys, values, attn_mask=context.mask, is_causal=context.mask is None, enable_gqa=True
    )
    return out.transpose(1, 2)

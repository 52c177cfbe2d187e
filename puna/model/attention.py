"""The seam of the model: everything that decides which token sees which is behind `attend`.

B batch, T new tokens, S tokens seen (cached and new), H query heads, K key/value heads, C head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.model.block_attention import block_attention, suits


class KVCache(Protocol):
    """Keys and values of earlier tokens. The dense form is `SlotCache`; others may page or shard."""

    def extend(self, counts: int | Sequence[int]) -> Tensor:
        """Make room for `counts` new tokens a row; their positions [B, T], padded on the right."""

    def mask(self) -> Tensor:
        """[B, 1, T, S], true where one of the new tokens may see a stored one."""

    def spans(self) -> list[tuple[slice, slice]]:
        """Parts of the T new tokens, in order, each with the part of S that has all it sees; [] if not worth it."""

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' k, v [B, T, K, C]; return all a layer has, [B, K, S, C]."""


@dataclass(frozen=True)
class AttentionContext:
    """What the layers of one forward pass share.

    positions: [B, T] or [1, T], for RoPE. documents: [B, T] or None; tokens see each other only if their numbers are
    equal. cache: where keys and values of earlier tokens are. mask: [B, 1, T, S] or None for plain causal attention,
    over whole rows or over each of the documents: with `pieces`, their lengths, in the order of the B * T tokens, or on
    a GPU with `offsets`, int32 [N + 1], where they begin and, last, end. spans: as `KVCache.spans`.
    """

    positions: Tensor
    documents: Tensor | None
    cache: KVCache | None
    mask: Tensor | None
    pieces: list[int] | None = None
    offsets: Tensor | None = None
    spans: list[tuple[slice, slice]] | None = None

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
        if cache is not None:
            return cls(positions, None, cache, cache.mask(), spans=cache.spans())
        if documents is None:
            return cls(positions, None, None, None)
        starts = None if torch.compiler.is_compiling() else document_starts(documents)  # a graph is for one shape
        if starts is None:
            return cls(positions, documents, None, document_mask(documents))
        if len(starts) == len(tokens):  # every row is one document: one call for all beats one for each by an eighth
            return cls(positions, documents, None, None)
        offsets = torch.cat([starts, starts.new_tensor([tokens.numel()])])
        if _has_kernel_of_lengths(tokens.device):
            return cls(positions, documents, None, None, offsets=offsets.int())
        if tokens.device.type == "cpu" and len(starts) * _SHORTEST_MEAN <= tokens.numel():
            return cls(positions, documents, None, None, pieces=offsets.diff().tolist())
        return cls(positions, documents, None, document_mask(documents))


_SHORTEST_MEAN = 32
"""Documents of fewer tokens on average are computed under a mask: a call for each costs more than it saves."""


def document_starts(documents: Tensor) -> Tensor | None:
    """Where the documents [B, T] begin, [N] in the order of the B * T tokens; None if one stands in several pieces."""
    is_first = torch.ones_like(documents, dtype=torch.bool)
    is_first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = is_first.flatten().nonzero()[:, 0]
    ordered = documents.sort(1).values
    num_documents = len(documents) + int((ordered[:, 1:] != ordered[:, :-1]).sum())
    return starts if num_documents == len(starts) else None


def _has_kernel_of_lengths(device: torch.device) -> bool:
    """Whether torch has a kernel for documents of all lengths there: on GPUs, for products in half precision."""
    return (
        device.type == "cuda" and torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda").itemsize == 2
    )


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
    if context.pieces is not None:
        return _attend_pieces(q, k, v, context.pieces)
    if context.offsets is not None and q.shape[3] % 8 == 0 and q.shape[3] <= 256:  # what the kernel takes
        return _attend_offsets(q, k, v, context.offsets)
    mask = context.mask
    if context.offsets is not None:
        assert context.documents is not None
        mask = document_mask(context.documents)
    if context.cache is None and mask is None:
        return _causal(q, k, v)
    if context.cache is not None:
        keys, values = context.cache.update(layer, k, v)
    else:
        keys, values = k.transpose(1, 2), v.transpose(1, 2)
    if context.spans:
        assert mask is not None
        return _attend_spans(q.transpose(1, 2), keys, values, mask, context.spans).transpose(1, 2)
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )
    return out.transpose(1, 2)


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of q [B, T, H, C] over k, v [B, T, K, C], each row one document."""
    if suits(q):
        return block_attention(q, k, v)
    queries, keys, values = (one.transpose(1, 2) for one in (q, k, v))
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True).transpose(1, 2)


def _attend_spans(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, spans: list[tuple[slice, slice]]) -> Tensor:
    """Attention [B, H, T, C] where no product is made with keys that nothing of a part sees.

    For a rank's half of a row of 4,096 tokens, forward and backward on one thread: 128 ms of CPU, and 70 with documents
    of 300 tokens, where the mask over all keys takes 220 to 235.
    """
    out = []
    for tokens, seen in spans:
        visible = mask[:, :, tokens, seen]
        part = (q[:, :, tokens], keys[:, :, seen], values[:, :, seen])
        out.append(F.scaled_dot_product_attention(*part, attn_mask=visible, enable_gqa=True))
    return torch.cat(out, dim=2)


def _attend_pieces(q: Tensor, k: Tensor, v: Tensor, pieces: list[int]) -> Tensor:
    """Causal attention of each document alone: no product of two documents, nor of a token with a later one.

    At 4 rows of 512 tokens, documents of 200, two cores: 10 ms, backward included, where the mask takes 18.
    """
    out = []
    for part in zip(*(one.flatten(0, 1).split(pieces) for one in (q, k, v)), strict=True):
        query, key, value = (one[None] for one in part)
        out.append(_causal(query, key, value)[0])
    return torch.cat(out).unflatten(0, q.shape[:2])


def _attend_offsets(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor) -> Tensor:
    """The same on a GPU, by one call of the flash kernel for all documents."""
    from torch.nn.attention.varlen import varlen_attn

    longest, has_groups = q.shape[1], q.shape[2] > k.shape[2]
    query, key, value = (one.flatten(0, 1) for one in (q, k, v))
    out = varlen_attn(query, key, value, offsets, offsets, longest, longest, window_size=(-1, 0), enable_gqa=has_groups)
    assert isinstance(out, Tensor)
    return out.unflatten(0, q.shape[:2])

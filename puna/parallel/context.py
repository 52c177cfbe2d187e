"""Context parallelism: the tokens of a row over several processes (Llama 3, section 3.3.2).

A row is cut into 2 S chunks; of S ranks, rank i has chunks i and 2 S - 1 - i, so that under a causal mask each has as
many pairs of tokens to compute. Keys and values are gathered whole in every layer: they are few beside the queries, as
heads share them, and any mask of documents stays possible, which a ring of partial sums makes hard.

    cache = ContextCache(batch.documents, group)
    tokens, positions = (own_chunks(field, rank, size) for field in (batch.tokens, batch.positions))
    hidden = model.hidden(tokens, positions, cache=cache)

B rows, T tokens of a whole row, S ranks, K key/value heads, C head width.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from puna.base.errors import ConfigError


def own_chunks(field: Tensor, rank: int, size: int) -> Tensor:
    """What `rank` of `size` has of `field` [B, T, ...]: chunks i and 2 S - 1 - i, [B, T / S, ...].

    Raises ConfigError if T is not a multiple of 2 S.
    """
    if field.shape[1] % (2 * size):
        multiple = f"a multiple of 2 * mesh.context = {2 * size}"
        raise ConfigError(f"row_tokens: expected {multiple}, came {field.shape[1]}; change one of the two")
    chunks = field.chunk(2 * size, dim=1)
    return torch.cat((chunks[rank], chunks[-1 - rank]), dim=1)


def whole_rows(parts: Sequence[Tensor]) -> Tensor:
    """The inverse: what the ranks have, [B, T / S, ...] each and in their order, as [B, T, ...]."""
    firsts, seconds = zip(*(part.chunk(2, dim=1) for part in parts), strict=True)
    return torch.cat((*firsts, *reversed(seconds)), dim=1)


def gathered_rows(part: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """`whole_rows` of every rank's `part` [B, T / S, ...], on every rank, with gradient."""
    return _GatheredRows.apply(part, group)


class ContextCache:
    """A `KVCache` of one forward pass over a rank's chunks; it "stores" nothing but fetches what the others have.

    documents [B, T]: of the whole rows; tokens see each other if their numbers are equal. All ranks of `group` must
    run the same layers in the same order, also when a layer is computed again for its gradients.

    Raises ConfigError if T is not a multiple of 2 S.
    """

    def __init__(self, documents: Tensor, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        rank, size = dist.get_rank(group), dist.get_world_size(group)
        places = torch.arange(documents.shape[1], device=documents.device)
        own_documents, own_places = own_chunks(documents, rank, size), own_chunks(places[None], rank, size)
        same = own_documents[:, :, None] == documents[:, None, :]
        self._mask = (same & (own_places[:, :, None] >= places))[:, None]
        half = own_documents.shape[1] // 2
        chunks = (slice(half), slice(half, 2 * half))
        self._spans = [(chunk, _seen(self._mask[:, :, chunk])) for chunk in chunks]

    def extend(self, counts: int | Sequence[int]) -> Tensor:
        """Refused: positions restart with each document, and the batch has them."""
        raise ValueError("expected the positions of the rank's own chunks beside a ContextCache, came none")

    def mask(self) -> Tensor:
        """[B, 1, T / S, T], true where one of the rank's tokens may see one of the row: made once for all layers."""
        return self._mask

    def spans(self) -> list[tuple[slice, slice]]:
        """The two chunks, each with the stretch of the row that it sees: without documents half of all products."""
        return self._spans

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Of the rank's k, v [B, T / S, K, C] the whole rows', [B, K, T, C], in one exchange."""
        heads = gathered_rows(torch.cat((k, v), dim=2), self._group)
        keys, values = heads.transpose(1, 2).chunk(2, dim=1)
        return keys, values


class ContextShare:
    """The `Share` of a rank: what the routing of experts asks of a micro-batch whose rows are divided.

    A loss of what `total` gives, on each rank with the targets it has as its weight, has the gradient of the undivided
    one if those of the ranks are summed: all of them add to every rank's part.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group

    def total(self, sums: Tensor) -> Tensor:
        """Added up over the ranks; gradients too."""
        return _Total.apply(sums, self._group)

    def whole(self, part: Tensor) -> Tensor:
        """`gathered_rows` of the group."""
        return gathered_rows(part, self._group)

    def own(self, whole: Tensor) -> Tensor:
        """`own_chunks` of the rank."""
        return own_chunks(whole, dist.get_rank(self._group), dist.get_world_size(self._group))


def _seen(mask: Tensor) -> slice:
    """From the first to the last of the keys that a mask [B, 1, tokens, T] shows to any token."""
    places = mask.flatten(0, 2).any(0).nonzero()[:, 0].tolist()
    return slice(places[0], places[-1] + 1)


class _Total(torch.autograd.Function):
    """All-reduce; backward the same, for every rank's loss hangs on every part."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = sums.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        slope = slopes[0].contiguous().clone()
        dist.all_reduce(slope, group=ctx.group)
        return slope, None


class _GatheredRows(torch.autograd.Function):
    """All-gather; backward a reduce-scatter that sums in fp32 at least, for every rank's loss hangs on every key."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        size = dist.get_world_size(group)
        parts = part.new_empty(size * len(part), *part.shape[1:])
        dist.all_gather_single(parts, part.contiguous(), group=group)
        return whole_rows(parts.chunk(size))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (slope,) = slopes
        size = dist.get_world_size(ctx.group)
        shares = torch.cat([own_chunks(slope, rank, size) for rank in range(size)])
        shares = shares.to(torch.promote_types(slope.dtype, torch.float32))
        own = shares.new_empty(len(slope), *shares.shape[1:])
        dist.reduce_scatter_single(own, shares, group=ctx.group)
        return own.to(slope.dtype), None

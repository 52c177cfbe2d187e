"""A dense key/value cache whose rows have lengths of their own: the engine's continuous batching.

B rows, T new tokens, S slots, K key/value heads, C head width, L layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from puna.model.config import LlamaConfig


class SlotCache:
    """Keys and values [L, B, K, S, C]; row b holds positions 0 .. lengths[b] - 1 in its first slots.

    A step is `positions = cache.extend(counts)`, then `model(tokens, positions, cache=cache)` with tokens [B, T], row b
    padded on the right after counts[b]. Padding is written to a spare slot that no token sees, and its output is
    meaningless. `cache.rows(0, n)` is the same memory seen as a smaller batch, so that full and empty rows need not be
    computed: keep the rows in use first, moving the last one into a gap with `copy_rows`.

    Raises ValueError if a row would grow past `capacity`.
    """

    def __init__(
        self,
        config: LlamaConfig,
        num_rows: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (config.layers, num_rows, config.kv_heads, capacity + 1, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(num_rows, dtype=torch.int64)
        self._new = _NewTokens.none(num_rows)

    @property
    def num_rows(self) -> int:
        return self.keys.shape[1]

    @property
    def capacity(self) -> int:
        """Tokens a row can hold."""
        return self.keys.shape[3] - 1

    def rows(self, start: int, stop: int) -> "SlotCache":
        """Rows start .. stop - 1 as a cache that shares memory and lengths with this one."""
        view = object.__new__(SlotCache)
        view.keys, view.values = self.keys[:, start:stop], self.values[:, start:stop]
        view.lengths = self.lengths[start:stop]
        view._new = _NewTokens.none(stop - start)
        return view

    def extend(self, counts: int | Sequence[int] | Tensor) -> Tensor:
        """Announce counts[b] >= 0 new tokens for row b (an int: for every row); their positions [B, T]."""
        added = torch.as_tensor(counts).expand(self.num_rows).cpu()
        if int((self.lengths + added).max()) > self.capacity:
            raise ValueError(
                f"expected rows of at most {self.capacity} tokens, came {int((self.lengths + added).max())}"
            )
        step = torch.arange(int(added.max()))
        positions = self.lengths[:, None] + step
        slots = positions.masked_fill(step >= added[:, None], self.capacity)
        self.lengths += added
        device = self.keys.device
        self._new = _NewTokens(positions.to(device), slots.to(device), int(self.lengths.max()))
        return self._new.positions

    def mask(self) -> Tensor:
        """[B, 1, T, S]: a token sees the slots up to its own position, which all are filled."""
        slots = torch.arange(self._new.num_seen, device=self.keys.device)
        return (slots <= self._new.positions[:, :, None])[:, None]

    def spans(self) -> list[tuple[slice, slice]]:
        """None: few new tokens, or slots that nearly all see."""
        return []

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v [B, T, K, C] of the announced tokens; all of the layer's, [B, K, S, C], as views."""
        keys, values = self.keys[layer], self.values[layer]
        rows = torch.arange(self.num_rows, device=keys.device)[:, None]
        keys[rows, :, self._new.slots] = k
        values[rows, :, self._new.slots] = v
        return keys[:, :, : self._new.num_seen], values[:, :, : self._new.num_seen]

    def reset(self, rows: int | Sequence[int]) -> None:
        """Empty some rows."""
        self.lengths[rows] = 0

    def truncate(self, row: int, length: int) -> None:
        """Forget all of a row after its first `length` tokens (rejected drafts, a shared prefix)."""
        if not 0 <= length <= int(self.lengths[row]):
            raise ValueError(f"expected a length of at most {int(self.lengths[row])}, came {length}")
        self.lengths[row] = length

    def copy_rows(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Copy rows: close a gap, permute a batch, or start many samples from one prompt."""
        kept = self.lengths[list(source)]
        used = int(kept.max()) if len(kept) else 0
        for stored in (self.keys, self.values):
            stored[:, list(target), :, :used] = stored[:, list(source), :, :used]
        self.lengths[list(target)] = kept


class _NewTokens:
    """Where the announced tokens go: positions and slots [B, T], and how many slots can be seen."""

    def __init__(self, positions: Tensor, slots: Tensor, num_seen: int) -> None:
        self.positions, self.slots, self.num_seen = positions, slots, num_seen

    @classmethod
    def none(cls, num_rows: int) -> "_NewTokens":
        empty = torch.zeros((num_rows, 0), dtype=torch.int64)
        return cls(empty, empty, 0)

"""Runs the model on the rows of a plan: prefill of new rows as one right-padded batch, one decode step of all old ones.

B batch, T tokens, D model width, V vocabulary.
"""

from collections.abc import Sequence as SequenceOf

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.engine.request import Sequence
from puna.engine.scheduler import Plan
from puna.model import Llama, SlotCache


class Runner:
    """The model and its cache. The cache starts small and doubles; attention runs over the longest row, not over it."""

    FIRST_CAPACITY = 256

    def __init__(self, model: Llama, max_batch: int) -> None:
        self.model = model
        self.max_batch = max_batch
        self.cache: SlotCache | None = None

    @property
    def device(self) -> torch.device:
        return self.model.output_weight.device

    @torch.inference_mode()
    def run(self, plan: Plan) -> Tensor:
        """Logits [B, V] of the next token of each row of the plan, old ones first."""
        cache = self._cache_for(plan)
        if plan.moves:
            sources, targets = zip(*plan.moves, strict=True)
            cache.copy_rows(sources, targets)
        hidden = []
        if plan.old:
            hidden.append(self._decode(cache.rows(0, len(plan.old)), plan.old))
        if plan.new:
            hidden.append(self._prefill(cache, len(plan.old), plan.new))
        return F.linear(torch.cat(hidden), self.model.output_weight)

    def _decode(self, cache: SlotCache, rows: SequenceOf[Sequence]) -> Tensor:
        tokens = torch.tensor([[row.tokens[-1]] for row in rows], device=self.device)
        return self.model.hidden(tokens, cache.extend(1), cache=cache)[:, 0]

    def _prefill(self, cache: SlotCache, first_row: int, rows: SequenceOf[Sequence]) -> Tensor:
        """Last states [B, D] of new rows. A prompt with several samples is run once and its row copied."""
        prompts: dict[int, SequenceOf[int]] = {}
        for row in rows:
            prompts.setdefault(id(row.prompt), row.prompt)
        order = list(prompts)
        block_rows = {prompt: row for row, prompt in enumerate(order)}
        source = [block_rows[id(row.prompt)] for row in rows]
        block = cache.rows(first_row, first_row + len(order))
        block.reset(slice(None))  # type: ignore[arg-type]
        lengths = torch.tensor([len(prompt) for prompt in prompts.values()])
        tokens = torch.zeros((len(order), int(lengths.max())), dtype=torch.int64)
        for i, prompt in enumerate(prompts.values()):
            tokens[i, : len(prompt)] = torch.as_tensor(prompt)
        positions = block.extend(lengths)
        states = self.model.hidden(tokens.to(self.device), positions, cache=block)
        last = states[torch.arange(len(order)), lengths - 1]
        if len(order) < len(rows):  # prompts were computed in the block's first rows; now each row gets its own
            cache.rows(first_row, first_row + len(rows)).copy_rows(source, range(len(rows)))
        return last[source]

    def _cache_for(self, plan: Plan) -> SlotCache:
        """The cache, grown if a row could not take its next tokens."""
        needed = max(len(row.prompt) + len(row.tokens) for row in plan.rows)
        num_rows = max([len(plan.rows), *(source + 1 for source, _ in plan.moves)])
        old = self.cache
        if old is not None and needed <= old.capacity and num_rows <= old.num_rows:
            return old
        capacity = self.FIRST_CAPACITY if old is None else old.capacity
        while capacity < needed:
            capacity *= 2
        capacity = min(capacity, max(self.model.config.max_position, needed))
        num_rows = min(self.max_batch, max(num_rows, 1 if old is None else old.num_rows))
        weight = self.model.output_weight
        self.cache = SlotCache(self.model.config, num_rows, capacity, weight.dtype, weight.device)
        if old is not None:
            used = int(old.lengths.max())
            self.cache.keys[:, : old.num_rows, :, :used] = old.keys[:, :, :, :used]
            self.cache.values[:, : old.num_rows, :, :used] = old.values[:, :, :, :used]
            self.cache.lengths[: old.num_rows] = old.lengths
        return self.cache

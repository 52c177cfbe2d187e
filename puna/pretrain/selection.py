"""Rho-1's selective language modelling (Lin 2024): only tokens worth learning are learned.

A token is worth it where the model's loss exceeds that of a frozen reference, trained on text of the kind that is
wanted: what both know, or neither can, is left out. The choice is made over the whole batch, before micro-batches, so
it costs one more pass of the model and one of the reference.
"""

import dataclasses
import math

import torch
from torch import Tensor

from puna.model import Llama
from puna.pretrain.loader import IGNORED, Batch
from puna.pretrain.loss import token_losses


def selected(model: Llama, reference: Llama, batch: Batch, keep: float, micro_batch: int, chunk_tokens: int) -> Batch:
    """`batch` with the targets IGNORED that are not among the `keep` share of highest excess loss (eq. 3 to 5)."""
    losses = [
        torch.cat([_losses(one, part, chunk_tokens) for part in batch.split(micro_batch)]) for one in (model, reference)
    ]
    kept = highest(losses[0] - losses[1], batch.targets != IGNORED, keep)
    return dataclasses.replace(batch, targets=batch.targets.where(kept, IGNORED))


def highest(excess: Tensor, learned: Tensor, keep: float) -> Tensor:
    """True at the `keep` share of `learned`, at least one, with the highest `excess`; each [B, T]."""
    num_kept = max(1, round(keep * int(learned.sum())))
    order = excess.masked_fill(~learned, -math.inf).flatten().sort(descending=True, stable=True).indices
    kept = torch.zeros_like(learned).flatten()
    kept[order[:num_kept]] = True
    return kept.view_as(learned) & learned


@torch.no_grad()
def _losses(model: Llama, part: Batch, chunk_tokens: int) -> Tensor:
    hidden = model.hidden(part.tokens, part.positions, part.documents)
    return token_losses(hidden, model.output_weight, part.targets, chunk_tokens)

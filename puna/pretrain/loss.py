"""The training loss: cross-entropy in nats over the targets of a whole batch, and what may be added to it.

Everything is a sum, so that dividing by the number of targets of the WHOLE batch gives the same gradient for any number
of micro-batches, packed or not.

B rows, T tokens, N tokens that are learned, D model width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from puna.base.config import Config
from puna.pretrain.loader import IGNORED


class LossConfig(Config):
    """What pretraining minimises; as it stands, plain cross-entropy.

    z_weight: of the z-loss, the mean of log(sum of exp(logits))^2, which keeps logits from drifting (Chowdhery 2022,
    section 5: 1e-4). chunk_tokens: this many tokens' logits exist at once (0: all of a micro-batch), the same result
    (1e-6). keep: the share of a batch's tokens that are learned, those on which the model falls behind the input
    `reference` most (Lin 2024: 0.6 to 0.7).
    """

    z_weight: float = Field(default=0.0, ge=0)
    chunk_tokens: int = Field(default=0, ge=0)
    keep: float = Field(default=1.0, gt=0, le=1)


def loss_sums(hidden: Tensor, weight: Tensor, targets: Tensor, config: LossConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """What to minimise over targets [B, T] that are not IGNORED, and the sums it is made of: `loss`, perhaps `z_loss`.

    hidden [B, T, D] and the output matrix [V, D] make the logits.
    """
    if config.chunk_tokens:
        learned = targets != IGNORED
        grad = torch.is_grad_enabled()
        arguments = (hidden[learned], weight, targets[learned], config.z_weight, config.chunk_tokens, grad)
        objective, loss, z_loss = _ChunkedLoss.apply(*arguments)
    else:
        logits = F.linear(hidden, weight)
        objective = loss = cross_entropy_sum(logits, targets)
        if config.z_weight:
            z_loss = z_loss_sum(logits, targets)
            objective = loss + config.z_weight * z_loss
    return objective, {"loss": loss, "z_loss": z_loss} if config.z_weight else {"loss": loss}


def cross_entropy_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of -log p(target) over the targets that are not IGNORED; logits [B, T, V], targets [B, T]."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def z_loss_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of log(sum of exp(logits))^2 over the targets that are not IGNORED; without weight."""
    return logits[targets != IGNORED].float().logsumexp(-1).square().sum()


@torch.no_grad()
def token_losses(hidden: Tensor, weight: Tensor, targets: Tensor, chunk_tokens: int = 0) -> Tensor:
    """-log p(target) of every token, [B, T], 0 where the target is IGNORED; without gradients."""
    states, wanted = hidden.flatten(0, 1), targets.flatten()
    size = chunk_tokens or len(wanted)
    parts = [
        F.cross_entropy(F.linear(h, weight).float(), t, ignore_index=IGNORED, reduction="none")
        for h, t in zip(states.split(size), wanted.split(size))
    ]
    return torch.cat(parts).view_as(targets)


class _ChunkedLoss(torch.autograd.Function):
    """Loss and gradients chunk by chunk in one pass, so that no more than [chunk_tokens, V] logits exist.

    At V 128,256, D 256 and 2,048 tokens, chunks of 256: 394 MiB beyond the inputs; whole logits take 2,891.
    Checkpointed chunks were simpler, but compute logits twice and add up gradients of the matrix in copies: 469 MiB.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, z_weight: float, chunk_tokens: int, grad: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        loss, z_loss = (torch.zeros((), device=hidden.device) for _ in range(2))
        if grad:
            ctx.hidden_grad = torch.empty_like(hidden)
            ctx.weight_grad = torch.zeros_like(weight, dtype=torch.float32)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            wanted = targets[part, None]
            products = F.linear(hidden[part], weight)
            logits, dtype = products.float(), products.dtype
            log_sum = logits.logsumexp(-1, keepdim=True)
            loss = loss + (log_sum - logits.gather(1, wanted)).sum()
            z_loss = z_loss + log_sum.square().sum()
            if grad:
                # d/dlogits of (log_sum - logit + z log_sum^2) is p (1 + 2 z log_sum) - 1 at the target.
                slope = logits.sub_(log_sum).exp_()
                if z_weight:
                    slope.mul_(1 + 2 * z_weight * log_sum)
                slope.scatter_add_(1, wanted, torch.full_like(log_sum, -1.0))
                slope, states = slope.to(dtype), hidden[part].to(dtype)
                ctx.hidden_grad[part] = slope @ weight
                if dtype == torch.float32:
                    ctx.weight_grad.addmm_(slope.T, states)
                else:  # in fp32 this one product would take a third of a step on a GPU
                    ctx.weight_grad.add_(slope.T @ states)
        ctx.dtype = weight.dtype
        ctx.mark_non_differentiable(loss, z_loss)
        return loss + z_weight * z_loss, loss, z_loss

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        # Scaled in place and given away: a second copy of the output matrix's gradient would be half a GiB at 8B.
        hidden_grad, weight_grad = ctx.hidden_grad, ctx.weight_grad
        del ctx.hidden_grad, ctx.weight_grad
        return hidden_grad.mul_(slopes[0]), weight_grad.mul_(slopes[0]).to(ctx.dtype), None, None, None, None

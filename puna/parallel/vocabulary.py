"""Cross-entropy over an output matrix that is divided over processes by rows of the vocabulary.

Whole logits never exist: a rank computes those of its rows, and what crosses the group are three numbers a token, the
largest logit, the sum of exponentials and the logit of the target (Shoeybi 2019, section 3).

N tokens that are learned, D model width, V vocabulary, S ranks.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
"""Target of a token that is not learned; as in `puna.pretrain.loader` and torch."""


def divided_loss_sums(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    group: dist.ProcessGroup | None = None,
    z_weight: float = 0.0,
    chunk_tokens: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """`puna.pretrain.loss.loss_sums`, where a rank's `weight` [V / S, D] has the rows from rank * V / S on.

    hidden [..., D] and targets [...] are the same on every rank of `group`, and so are the sums returned. Only the
    gradients are the rank's own: of its rows of the matrix, and for the hidden states its PART, from its rows alone,
    which the caller adds up over the group (in sequence parallelism the reduce-scatter behind the gather does).
    chunk_tokens: this many tokens' logits exist at once, 0 for all.

    Raises ValueError if a target is outside the vocabulary.
    """
    learned = targets != IGNORED
    wanted, num_rows = targets[learned], len(weight) * dist.get_world_size(group)
    if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < num_rows:
        raise ValueError(f"expected targets from 0 to {num_rows - 1}, came {int(wanted.min())} to {int(wanted.max())}")
    arguments = (hidden[learned], weight, wanted, z_weight, chunk_tokens or max(1, len(wanted)))
    objective, loss, z_loss = _DividedLoss.apply(*arguments, torch.is_grad_enabled(), group)
    return objective, {"loss": loss, "z_loss": z_loss} if z_weight else {"loss": loss}


class _DividedLoss(torch.autograd.Function):
    """Loss and gradients chunk by chunk in one pass, as in `puna.pretrain.loss`; sums in fp32 at least."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        z_weight: float,
        chunk_tokens: int,
        grad: bool,
        group: dist.ProcessGroup | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = torch.promote_types(weight.dtype, torch.float32)
        first = dist.get_rank(group) * len(weight)
        loss, z_loss = (torch.zeros((), dtype=wide, device=hidden.device) for _ in range(2))
        if grad:
            ctx.hidden_grad = torch.empty_like(hidden)
            ctx.weight_grad = torch.zeros_like(weight, dtype=wide)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            products = F.linear(hidden[part], weight)
            logits, dtype = products.to(wide), products.dtype
            rows = (targets[part] - first)[:, None]
            owned = ((rows >= 0) & (rows < len(weight))).to(wide)
            rows = rows.clamp(0, len(weight) - 1)  # a row of another rank's: any, times 0
            log_sum, wanted = _over_the_vocabulary(logits, logits.gather(1, rows) * owned, group)
            loss = loss + (log_sum - wanted).sum()
            z_loss = z_loss + log_sum.square().sum()
            if grad:
                # d/dlogits of (log_sum - logit + z log_sum^2) is p (1 + 2 z log_sum) - 1 at the target.
                slope = logits.sub_(log_sum).exp_()
                if z_weight:
                    slope.mul_(1 + 2 * z_weight * log_sum)
                slope.scatter_add_(1, rows, -owned)
                slope, states = slope.to(dtype), hidden[part].to(dtype)
                ctx.hidden_grad[part] = slope @ weight
                if dtype == wide:
                    ctx.weight_grad.addmm_(slope.T, states)
                else:  # as in puna.pretrain.loss
                    ctx.weight_grad.add_(slope.T @ states)
        ctx.dtype = weight.dtype
        ctx.mark_non_differentiable(loss, z_loss)
        return loss + z_weight * z_loss, loss, z_loss

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, weight_grad = ctx.hidden_grad, ctx.weight_grad
        del ctx.hidden_grad, ctx.weight_grad
        scaled = (hidden_grad.mul_(slopes[0]), weight_grad.mul_(slopes[0]).to(ctx.dtype))
        return (*scaled, None, None, None, None, None)


def _over_the_vocabulary(logits: Tensor, wanted: Tensor, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """Of a rank's logits [N, V / S] and share of the wanted ones [N, 1]: the whole log-sum-exp and logits, [N, 1]."""
    highest = logits.amax(1, keepdim=True)
    dist.all_reduce(highest, dist.ReduceOp.MAX, group)
    sums = torch.stack(((logits - highest).exp().sum(1, keepdim=True), wanted))
    dist.all_reduce(sums, group=group)
    return highest + sums[0].log(), sums[1]

"""What pretraining minimises: select -> losses of each micro-batch -> load of the experts.

With the settings as they stand it is `language_modelling`, to the bit.
"""

import torch
from torch import Tensor, nn

from puna.model import Llama, Routing
from puna.pretrain.computing import computed_in
from puna.pretrain.experts import ExpertLoad, ExpertsConfig, balance_loss
from puna.pretrain.loader import Batch
from puna.pretrain.loop import Backward, PartLoss, language_modelling
from puna.pretrain.loss import LossConfig, loss_sums
from puna.pretrain.selection import selected


def pretraining(
    micro_batch: int,
    loss: LossConfig,
    experts: ExpertsConfig,
    reference: Llama | None = None,
    dtype: torch.dtype = torch.float32,
) -> Backward[Batch]:
    """The backward pass of these settings. With a `reference` only the `loss.keep` share of a batch's tokens counts.

    dtype: of the products; batches go to where the model is.

    It returns, beside `loss` and `targets` (those that count): `z_loss` if it has a weight, and of a model with experts
    `balance_loss`, `expert_load` and `dropped`.
    """

    def backward(model: nn.Module, batch: Batch) -> dict[str, float]:
        assert isinstance(model, Llama)
        batch = batch.to(model.output_weight.device)
        if reference is not None:
            with computed_in(dtype, batch.tokens.device):
                batch = selected(model, reference, batch, loss.keep, micro_batch, loss.chunk_tokens)
        if model.config.num_experts == 1:
            return language_modelling(micro_batch, dense_loss(loss, dtype))(model, batch)
        load = ExpertLoad()
        row = language_modelling(micro_batch, _experts_loss(loss, experts, load, dtype))(model, batch)
        if experts.bias_rate:
            load.move_biases(model, experts.bias_rate)
        return {**row, **load.row()}

    return backward


def dense_loss(config: LossConfig, dtype: torch.dtype = torch.float32) -> PartLoss:
    """The loss of a micro-batch that asks nothing of experts: for dense models, and for validation."""

    def part_loss(model: nn.Module, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, Llama)
        part = part.to(model.output_weight.device)
        with computed_in(dtype, part.tokens.device):
            hidden = model.hidden(part.tokens, part.positions, part.documents)
            return loss_sums(hidden, model.output_weight, part.targets, config)

    return part_loss


def _experts_loss(loss: LossConfig, experts: ExpertsConfig, load: ExpertLoad, dtype: torch.dtype) -> PartLoss:
    """The same with the balance loss, a mean over layers and over the micro-batch's tokens; `load` is told."""

    def part_loss(model: nn.Module, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, Llama)
        routing = Routing(part.documents >= 0, experts.capacity_factor)  # padding is document -1
        with computed_in(dtype, part.tokens.device):
            hidden = model.hidden(part.tokens, part.positions, part.documents, routing=routing)
            objective, sums = loss_sums(hidden, model.output_weight, part.targets, loss)
        load.add(routing)
        # Times the targets, as everything is divided by those of the batch: micro-batches count by their targets.
        balance = torch.stack([balance_loss(routed) for routed in routing.layers]).mean() * part.num_targets
        return objective + experts.balance_weight * balance, {**sums, "balance_loss": balance}

    return part_loss

"""Pretraining by several processes: the same loop, with a model that is divided over them.

    start -> divided model -> rows of this rank -> loss and gradients of all -> one decision for all

What is learned is the same as in one process (puna/parallel), and so is every row of the log.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from puna.base.config import Mesh
from puna.base.errors import ConfigError
from puna.model import Llama, LlamaConfig, Routing
from puna.parallel.context import ContextShare
from puna.parallel.mesh import BATCH, SUMMED, World
from puna.parallel.model import ParallelModel
from puna.parallel.part import Head, Part
from puna.parallel.vocabulary import divided_loss_sums
from puna.pretrain.experts import ExpertLoad, ExpertsConfig, balance_loss
from puna.pretrain.loader import IGNORED, Batch
from puna.pretrain.loop import Backward, Together
from puna.pretrain.loss import LossConfig, loss_sums

_PATIENCE = datetime.timedelta(hours=12)
"""How long a rank waits for the others to join: stages before this one may take long."""


@contextlib.contextmanager
def world_of(sizes: Mesh) -> Iterator[World]:
    """Join the processes that RANK, WORLD_SIZE and MASTER_ADDR tell of, as torchrun sets them, for a while."""
    if dist.is_initialized():
        yield World(sizes, torch.device("cpu"))
        return
    is_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if is_gpu else torch.device("cpu")
    if is_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if is_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield World(sizes, device)
    finally:
        dist.destroy_process_group()


def agreed(here: bool, device: torch.device) -> bool:
    """True on every rank if it is true on one; all of them call it."""
    flag = torch.tensor(float(here), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


class Divided:
    """A model of this rank's world with its losses. values: whole tensors by parameter name, in any order; dtype: of
    the products."""

    def __init__(
        self,
        shape: LlamaConfig,
        world: World,
        values: Iterable[tuple[str, Tensor]],
        row_tokens: int,
        micro_batch: int,
        loss: LossConfig,
        experts: ExpertsConfig,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if loss.keep < 1:
            raise ConfigError("loss.keep: expected 1 where several processes train, came less; selection needs one")
        self.world, self._micro_batch, self._experts = world, micro_batch, experts
        self._names = ("objective", "loss", "z_loss") if loss.z_weight else ("objective", "loss")
        self.parallel = ParallelModel(shape, world, values, _head(world, loss), len(self._names), row_tokens, dtype)
        self._loads: dict[int, ExpertLoad] = {}
        self._balance = torch.zeros((), device=world.device)
        if shape.num_experts > 1:
            for part in self.parallel.parts:
                self._route(part)

    @property
    def model(self) -> Llama:
        """This rank's parameters, under the whole model's names."""
        return self.parallel.model

    def together(self) -> Together:
        """What the loop asks all ranks."""
        return Together(clip=lambda model, most: self.parallel.clip(most), agree=self.agree)

    def agree(self, here: bool) -> bool:
        """True on every rank if it is true on one."""
        return agreed(here, self.world.device)

    def asked_of_whole(
        self, evaluate: Callable[[nn.Module], dict[str, float]]
    ) -> Callable[[nn.Module], dict[str, float]]:
        """`evaluate` of the whole model, which is gathered for it, on one rank; what it says is known to all."""

        def asked(model: nn.Module) -> dict[str, float]:
            values = self.parallel.gathered(lambda name, parameter: parameter.detach())
            scores: list[dict[str, float]] = [{}]
            if dist.get_rank() == 0:
                whole = Llama(self.parallel.config)
                with torch.no_grad():
                    for name, parameter in whole.named_parameters():
                        parameter.copy_(values[name])
                scores = [evaluate(whole)]
            dist.broadcast_object_list(scores)
            return scores[0]

        return asked

    def backward(self) -> Backward[Batch]:
        """As `pretraining` in objective.py, of this rank's rows."""

        def backward(model: nn.Module, batch: Batch) -> dict[str, float]:
            targets = max(1, int(self._over_batch(torch.tensor(float(batch.num_targets)))))
            self._loads.clear()
            self._balance.zero_()
            micro_batch = min(self._micro_batch, len(batch.tokens))
            sums = self.parallel.run(batch, micro_batch, 1 / targets, backward=True)
            row = {name: value / targets for name, value in zip(self._names[1:], sums.tolist()[1:])}
            return {**row, **self._expert_row(targets), "targets": targets}

        return backward

    def mean_loss(self, batches: list[Batch]) -> float:
        """Mean nats a target over `batches`, which every rank has whole, without gradients."""
        rows = batches[0]
        for other in batches[1:]:
            rows = rows.beside(other)
        per_rank = -(-len(rows.tokens) // (self.world.size(*BATCH)))
        micro_batch = min(self._micro_batch, per_rank)
        per_rank += -per_rank % micro_batch
        rows = _filled(rows, per_rank * self.world.size(*BATCH))
        own = Batch(*(self.world.own(one) for one in (rows.tokens, rows.targets, rows.positions, rows.documents)))
        with torch.no_grad():
            sums = self.parallel.run(own, micro_batch, 1.0, backward=False)
        return sums[self._names.index("loss")].item() / max(1, rows.num_targets)

    def _over_batch(self, value: Tensor) -> float:
        return self.world.summed(value.to(self.world.device), *BATCH).item()

    def _route(self, part: Part) -> None:
        """Ask a part's experts what one process' are asked, and add their balance loss to the objective."""
        config, world = self._experts, self.world
        share = ContextShare(world.along("context").get_group()) if world.sizes.context > 1 else None

        def routing_of(documents: Tensor) -> Routing:
            return Routing(documents >= 0, config.capacity_factor, share=share)

        def auxiliary(routing: Routing, targets: Tensor) -> Tensor:
            load = self._loads.setdefault(part.numbers.start, ExpertLoad())
            load.add(routing)
            losses = torch.stack([balance_loss(routed, share) for routed in routing.layers]).sum()
            # Of the targets that this rank has: those of a divided row add up to all of its micro-batch.
            balance = losses / self.parallel.config.layers * (targets != IGNORED).sum()
            self._balance += balance.detach()
            return config.balance_weight * balance

        part.routing_of, part.auxiliary = routing_of, auxiliary

    def _expert_row(self, targets: int) -> dict[str, float]:
        """Move the routers' biases, and say how even the load was, as `ExpertLoad.row` does."""
        if self.parallel.config.num_experts == 1:
            return {}
        whole = ExpertLoad()
        for part in self.parallel.parts:
            whole.put(part.numbers, self._loads[part.numbers.start], self.parallel.config.layers)
        whole.add_up(lambda value: self.world.summed(value, *SUMMED, "pipeline"))
        if self._experts.bias_rate:
            layers = {number: layer for part in self.parallel.parts for number, layer in part.layers.items()}
            whole.move_biases_of(
                {int(number): layer.get_submodule("feed_forward") for number, layer in layers.items()},
                self._experts.bias_rate,
            )
        balance = self.world.summed(self._balance.clone(), *SUMMED, "pipeline").item()
        return {"balance_loss": balance / targets, **whole.row()}


def _head(world: World, config: LossConfig) -> Head:
    """Sums of the losses over the targets of some hidden states; the vocabulary may be divided."""

    def head(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        if world.sizes.tensor == 1:
            objective, sums = loss_sums(hidden, weight, targets, config)
        else:
            group = world.along("tensor").get_group()
            objective, sums = divided_loss_sums(hidden, weight, targets, group, config.z_weight, config.chunk_tokens)
        return torch.stack([objective, *sums.values()])

    return head


def _filled(rows: Batch, count: int) -> Batch:
    """So many rows: those that are missing are padding."""
    missing = count - len(rows.tokens)
    if not missing:
        return rows
    shape = (missing, rows.tokens.shape[1])
    zeros, padding = torch.zeros(shape, dtype=torch.int64), torch.full(shape, -1)
    return rows.beside(Batch(zeros, torch.full(shape, IGNORED), zeros, padding))

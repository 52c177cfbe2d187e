"""A Llama divided over a world: made piece by piece, trained as one, gathered again.

    trimmed to own layers -> experts -> tensors -> FSDP -> weights put in, one at a time

No rank ever has the whole model, unless it is alone.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from puna.base.errors import ConfigError
from puna.model import Llama, LlamaConfig
from puna.parallel.context import ContextCache, own_chunks
from puna.parallel.data import local, shard, share_of, sum_gradients, whole_tensor
from puna.parallel.expert import divide_experts
from puna.parallel.mesh import DIMENSIONS, SUMMED, World, check_model
from puna.parallel.part import Head, Part
from puna.parallel.pipeline import Pipeline, stage_layers, trimmed
from puna.parallel.tensor import divide_tensors


class Rows(Protocol):
    """A batch: [B, T] int64 each, of whole rows."""

    @property
    def tokens(self) -> Tensor: ...
    @property
    def targets(self) -> Tensor: ...
    @property
    def positions(self) -> Tensor: ...
    @property
    def documents(self) -> Tensor: ...


class ParallelModel:
    """This rank's share of a model. `model` has its parameters under the names that the whole one gives them.

    head: what the last part makes of hidden states, `num_sums` numbers, the first of which is minimised.
    """

    def __init__(
        self,
        config: LlamaConfig,
        world: World,
        values: Iterable[tuple[str, Tensor]],
        head: Head,
        num_sums: int,
        row_tokens: int,
        compute: torch.dtype = torch.float32,
    ) -> None:
        check_model(world.sizes, config, row_tokens)
        self.config, self.world = config, world
        sizes = world.sizes
        with torch.device("meta"):
            self.model = Llama(config)
        total = sizes.pipeline * sizes.stages
        ranges = dict(enumerate(stage_layers(config.layers, total)))
        mine = [number for number in ranges if number % sizes.pipeline == world.place("pipeline")]
        if total > 1:
            numbers = [layer for number in mine for layer in ranges[number]]
            trimmed(self.model, numbers, 0 in mine, total - 1 in mine)
        if sizes.experts > 1:
            divide_experts(self.model, world.along("experts").get_group())
        if sizes.tensor > 1:
            divide_tensors(self.model, world.along("tensor"))
        cache_of = self._context_cache if sizes.context > 1 else None
        parts = {
            number: Part(self.model, ranges[number], number == 0, number == total - 1, head, cache_of, compute)
            for number in mine
        }
        self.is_sharded = world.size("data", "experts", "context") > 1
        if self.is_sharded:
            for part in parts.values():
                shard(part, world, compute)
        for part in parts.values():
            part.to_empty(device=world.device)
        self._put_in(values)
        self.pipeline = Pipeline(world, parts, config.dim, compute, num_sums) if total > 1 else None
        self.parts, self._num_sums = list(parts.values()), num_sums
        # The output matrix of a tied model is the embedding: its first and last part hold a copy each.
        self._is_twin = config.tied and total > 1 and total - 1 in mine
        self._twins = _ends(world) if config.tied and total > 1 else None

    def parameters(self) -> list[nn.Parameter]:
        """Those that are learned, of this rank."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def run(self, batch: Rows, micro_batch: int, scale: float, backward: bool) -> Tensor:
        """What the head returned for all rows of this step on all ranks, [S], summed; the same on each rank.

        batch: this rank's rows. With `backward` the gradients of `scale` times the objective are added to the
        parameters, summed over the ranks that learn other tokens.
        """
        if len(batch.tokens) % micro_batch and (self.pipeline or self.is_sharded):
            raise ConfigError(
                f"micro_batch: expected a divisor of a rank's {len(batch.tokens)} rows of a step, came {micro_batch}"
            )
        fields = self._own(batch)
        for part in self.parts:
            part.scale = scale
        if self.pipeline is not None:
            pass_ = self.pipeline.learn if backward else self.pipeline.measure
            sums = pass_(len(batch.tokens) // micro_batch, fields)
        else:
            sums = self._run_whole(fields, micro_batch, backward)
        if backward:
            self._sum_gradients()
        else:
            self._give_back()
        if sums is None:
            sums = torch.zeros(self._num_sums, device=self.world.device)
        return self.world.summed(sums, *SUMMED, "pipeline")

    def clip(self, max_norm: float) -> float:
        """Scale gradients so that their norm over all ranks is at most `max_norm`; the norm before."""
        norm = self.gradient_norm()
        factor = min(1.0, max_norm / (norm + 1e-6))
        if factor < 1.0:
            torch._foreach_mul_([local(one.grad) for one in self.parameters() if one.grad is not None], factor)
        return norm

    @torch.no_grad()
    def gradient_norm(self) -> float:
        """The norm of the whole model's gradient."""
        total = torch.zeros((), dtype=torch.float64, device=self.world.device)
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None and parameter.requires_grad:
                copies = self._copies(name, parameter)
                if copies:
                    total += local(parameter.grad).double().square().sum() / copies
        dist.all_reduce(total)
        return total.sqrt().item()

    @torch.no_grad()
    def gathered(self, tensors: Callable[[str, nn.Parameter], Tensor | None]) -> dict[str, Tensor]:
        """Whole tensors by parameter name, of the values, the gradients or whatever `tensors` says, on every rank."""
        own = dict[str, Tensor]()
        for name, parameter in self.model.named_parameters():
            value = tensors(name, parameter)
            if value is not None:
                own[name] = whole_tensor(value).cpu()
        everywhere: list[dict[str, Tensor]] = [{} for _ in range(self.world.sizes.world_size)]
        dist.all_gather_object(everywhere, own)
        return {name: value for some in everywhere for name, value in some.items()}

    def _own(self, batch: Rows) -> dict[str, Tensor]:
        """The fields of a batch that this rank computes: with context parallelism its chunks of every row."""
        device, sizes = self.world.device, self.world.sizes
        named = {"tokens": batch.tokens, "positions": batch.positions, "documents": batch.documents}
        named |= {"targets": batch.targets}
        fields = {name: value.to(device) for name, value in named.items()}
        row = fields["documents"]
        if sizes.context > 1:
            place = self.world.place("context")
            fields = {name: own_chunks(value, place, sizes.context) for name, value in fields.items()}
        return {**fields, "row": row}

    def _run_whole(self, fields: dict[str, Tensor], micro_batch: int, backward: bool) -> Tensor:
        """All layers on this rank, micro-batch after micro-batch."""
        (part,) = self.parts
        columns = [fields[name].split(micro_batch) for name in ("tokens", "positions", "documents", "targets", "row")]
        total = torch.zeros(self._num_sums, device=self.world.device)
        last = len(columns[0]) - 1
        for number, piece in enumerate(zip(*columns)):
            if isinstance(part, FSDPModule):
                part.set_requires_gradient_sync(number == last)
                part.set_is_last_backward(number == last)
            sums = part(*piece)
            if backward:
                (sums[0, 0] * part.scale).backward()
            total += sums.detach()[0]
        return total

    @torch.no_grad()
    def _sum_gradients(self) -> None:
        for parameter in self.parameters():
            grad = parameter.grad
            if isinstance(grad, DTensor) and isinstance(parameter, DTensor) and grad.placements != parameter.placements:
                parameter.grad = grad.redistribute(placements=parameter.placements)
        if not self.is_sharded and self.world.sizes.replicas > 1:
            sum_gradients(self.parameters(), self.world.along("replicas"))
        if self._twins is not None and self.model.embedding is not None:
            grad = self.model.embedding.weight.grad
            assert grad is not None
            dist.all_reduce(local(grad), group=self._twins)

    def _give_back(self) -> None:
        """Give gathered weights back: a backward pass does it, and without one they would stay."""
        for part in self.parts:
            for module in part.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()

    @torch.no_grad()
    def _put_in(self, values: Iterable[tuple[str, Tensor]]) -> None:
        """Give every parameter its share of the whole tensor of its name."""
        missing = dict(self.model.named_parameters())
        for name, value in values:
            parameter = missing.pop(name, None)
            if parameter is not None:
                local(parameter).copy_(share_of(parameter, value))
        assert not missing, f"no values for {sorted(missing)}"

    def _copies(self, name: str, parameter: nn.Parameter) -> int:
        """How many ranks hold the same share of a parameter; 0 if another rank's copy is the one that counts."""
        if name == "embedding.weight" and self._is_twin:
            return 0
        shards = self.world.sizes.pipeline
        if isinstance(parameter, DTensor):
            for size, placement in zip(parameter.device_mesh.shape, parameter.placements):
                shards *= 1 if placement.is_replicate() else size
        if ".experts." in name:
            shards *= self.world.sizes.experts
        return self.world.sizes.world_size // shards

    def _context_cache(self, documents: Tensor) -> ContextCache:
        return ContextCache(documents, self.world.along("context").get_group())


def _ends(world: World) -> dist.ProcessGroup | None:
    """The first and the last rank of this rank's pipeline, or None in its middle. Every rank must call it."""
    grid = world.grid.mesh.movedim(DIMENSIONS.index("pipeline"), -1).reshape(-1, world.sizes.pipeline)
    mine = None
    for line in grid.tolist():
        group = dist.new_group([line[0], line[-1]])
        if dist.get_rank() in (line[0], line[-1]):
            mine = group
    return mine

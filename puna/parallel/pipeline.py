"""Pipeline parallelism: layers over ranks, several parts of them a rank if the schedule wants (Narayanan 2021)."""

import itertools
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import (
    PipelineScheduleMulti,
    PipelineScheduleSingle,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleLoopedBFS,
)

from puna.base.errors import ConfigError
from puna.model import Llama
from puna.parallel.mesh import World
from puna.parallel.part import Part, layers_of

_SINGLE: dict[str, type[PipelineScheduleSingle]] = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}
_SEVERAL: dict[str, type[PipelineScheduleMulti]] = {
    "interleaved-1f1b": ScheduleInterleaved1F1B,
    "looped-bfs": ScheduleLoopedBFS,
    "interleaved-zero-bubble": ScheduleInterleavedZeroBubble,
}


def stage_layers(layers: int, stages: int) -> list[range]:
    """Which layers each stage has: as many, but the first and the last one fewer, for embedding and output.

    As in Llama 3 (section 3.3.2). Where it does not come out even, stages in the middle have one more.
    """
    shares = [(layers + 2) // stages] * stages
    for stage in [*range(1, stages - 1), 0, stages - 1][: (layers + 2) % stages]:
        shares[stage] += 1
    shares[0] -= 1
    shares[-1] -= 1
    while min(shares) < 1:  # few layers: no stage goes without
        shares[shares.index(max(shares))] -= 1
        shares[shares.index(min(shares))] += 1
    ends = [0, *itertools.accumulate(shares)]
    return [range(first, end) for first, end in itertools.pairwise(ends)]


class Pipeline:
    """The parts of this rank, by the number of their stage, and the schedules that run them.

    dim, dtype: of hidden states between stages. num_sums: S, numbers that the last part's head returns.
    """

    def __init__(self, world: World, parts: dict[int, Part], dim: int, dtype: torch.dtype, num_sums: int) -> None:
        self.world, self.parts = world, parts
        self._dim, self._dtype, self._num_sums = dim, dtype, num_sums
        self._schedules: dict[tuple[int, ...], PipelineScheduleSingle | PipelineScheduleMulti] = {}
        self._sums: list[Tensor] = []

    def learn(self, num_micro: int, fields: dict[str, Tensor]) -> Tensor | None:
        """Forward and backward passes of all micro-batches of `fields` [B, T], by the names of Part's arguments.

        The sum of what the head returned, [S], on the rank with the last stage; None on the others.
        """
        tokens = fields["tokens"]
        schedule = self._schedule(num_micro, len(tokens) // num_micro, tokens.shape[1])
        arguments = [tokens] if any(part.is_first for part in self.parts.values()) else []
        named: dict[str, Any] = {name: value for name, value in fields.items() if name != "tokens"}
        self._sums.clear()
        is_last = any(part.is_last for part in self.parts.values())
        schedule.step(*arguments, target=fields["targets"] if is_last else None, losses=[], **named)
        return torch.stack(self._sums).sum(0) if is_last else None

    @torch.no_grad()
    def measure(self, num_micro: int, fields: dict[str, Tensor]) -> Tensor | None:
        """As `learn`, forward alone: each micro-batch from stage to stage. No schedule is made for it, since torch's
        own way to do it loses the gradients that FSDP has."""
        group, sizes, total = self.world.along("pipeline").get_group(), self.world.sizes, None
        columns = [fields[name].chunk(num_micro) for name in ("tokens", "positions", "documents", "targets", "row")]
        for tokens, *others in zip(*columns):
            rows, length = tokens.shape
            for number, part in sorted(self.parts.items()):
                x = tokens
                if not part.is_first:
                    x = torch.empty(rows, length // sizes.tensor, self._dim, dtype=self._dtype, device=tokens.device)
                    dist.recv(x, group=group, group_src=(number - 1) % sizes.pipeline)
                x = part(x, *others)
                if part.is_last:
                    total = x[0] if total is None else total + x[0]
                else:
                    dist.send(x.contiguous(), group=group, group_dst=(number + 1) % sizes.pipeline)
        return total

    def _schedule(self, num_micro: int, rows: int, tokens: int) -> PipelineScheduleSingle | PipelineScheduleMulti:
        key = (num_micro, rows, tokens)
        if key not in self._schedules:
            sizes, name = self.world.sizes, self.world.sizes.schedule
            if num_micro < sizes.pipeline or (name in _SEVERAL and num_micro % sizes.pipeline):
                raise ConfigError(
                    f"micro_batch: expected {sizes.pipeline} micro-batches of a rank's rows, or a multiple, for the "
                    f"pipeline, came {num_micro} of {rows} rows; make micro_batch smaller or batch_rows larger"
                )
            tokens_of = partial(torch.empty, rows, tokens, dtype=torch.int64, device="meta")
            hidden = partial(
                torch.empty,
                rows,
                tokens // sizes.tensor,
                self._dim,
                dtype=self._dtype,
                device="meta",
                requires_grad=True,
            )
            sums = partial(torch.empty, 1, self._num_sums, dtype=torch.float32, device="meta", requires_grad=True)
            stages: list[Any] = [
                PipelineStage(
                    part,
                    number,
                    sizes.pipeline * sizes.stages,
                    self.world.device,
                    input_args=tokens_of() if part.is_first else hidden(),
                    output_args=sums() if part.is_last else hidden(),
                    group=self.world.along("pipeline").get_group(),
                )
                for number, part in self.parts.items()
            ]
            if name in _SEVERAL:
                several = _SEVERAL[name](stages, num_micro, loss_fn=self._objective, scale_grads=False)
                self._schedules[key] = several
            else:
                self._schedules[key] = _SINGLE[name](stages[0], num_micro, loss_fn=self._objective, scale_grads=False)
        return self._schedules[key]

    def _objective(self, output: Tensor, targets: Tensor) -> Tensor:
        self._sums.append(output.detach()[0])
        return output[0, 0] * next(iter(self.parts.values())).scale


def trimmed(model: Llama, numbers: list[int], is_first: bool, is_last: bool) -> None:
    """Keep these layers of a model, by number, the embedding if it is the first (or tied and the last), in place."""
    tied, layers = model.output is None, layers_of(model)
    model.layers = nn.ModuleDict({str(number): layers[number] for number in numbers})  # type: ignore[assignment]
    if not is_first and not (is_last and tied):
        model.embedding = None  # type: ignore[assignment]
    if not is_last:
        model.norm = model.output = None  # type: ignore[assignment]

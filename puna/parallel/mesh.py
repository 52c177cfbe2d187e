"""The processes of a run as a grid, and what a rank has to know of its place in it.

Dimensions from the outermost to the innermost, whose ranks are neighbours: replicas, data, experts, pipeline, context,
tensor. The order within is Llama 3's (section 3.3.2): what talks most sits closest.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from puna.base.config import Mesh, did_you_mean
from puna.base.errors import ConfigError
from puna.model import LlamaConfig

DIMENSIONS = ("replicas", "data", "experts", "pipeline", "context", "tensor")
BATCH = ("replicas", "data", "experts")
"""Dimensions whose ranks learn different rows."""
SUMMED = (*BATCH, "context")
"""Dimensions over whose ranks the gradients of weights are summed: they learn different tokens."""
SCHEDULES = ("gpipe", "1f1b", "interleaved-1f1b", "looped-bfs", "interleaved-zero-bubble")
SEVERAL_STAGES = ("interleaved-1f1b", "looped-bfs", "interleaved-zero-bubble")
"""Schedules of more than one stage a rank."""

S = TypeVar("S", range, Tensor)


@dataclass(frozen=True)
class World:
    """The grid of this run and this process' place in it. Made by every rank, in a process group that is there."""

    sizes: Mesh
    device: torch.device

    def __post_init__(self) -> None:
        check_world(self.sizes, dist.get_world_size())

    @cached_property
    def grid(self) -> DeviceMesh:
        """All dimensions, those of size one too."""
        shape = tuple(self.size(name) for name in DIMENSIONS)
        return init_device_mesh(self.device.type, shape, mesh_dim_names=DIMENSIONS)

    def size(self, *names: str) -> int:
        """Ranks along these dimensions together."""
        product = 1
        for name in names:
            product *= int(getattr(self.sizes, name))
        return product

    def place(self, *names: str) -> int:
        """This rank's number along these dimensions, the last one counting fastest."""
        number = 0
        for name in names:
            number = number * self.size(name) + self.grid.get_local_rank(name)
        return number

    def along(self, *names: str) -> DeviceMesh:
        """The ranks that differ from this one along these dimensions alone, as one row."""
        names = tuple(sorted(names, key=DIMENSIONS.index))
        found = self._rows.get(names)
        if found is None:
            part = self.grid[names]
            found = self._rows[names] = part._flatten("_".join(names)) if len(names) > 1 else part
        return found

    @cached_property
    def _rows(self) -> dict[tuple[str, ...], DeviceMesh]:
        return {}

    def own(self, rows: S) -> S:
        """This rank's share of the rows of a batch: as many as every other rank has, in their order.

        Raises ConfigError if they cannot be divided.
        """
        ranks = self.size(*BATCH)
        if len(rows) % ranks:
            raise ConfigError(
                f"batch_rows: expected a multiple of the {ranks} ranks that divide it ({layout(self.sizes)}), came "
                f"{len(rows)}"
            )
        share = len(rows) // ranks
        first = self.place(*BATCH) * share
        return rows[first : first + share]

    def summed(self, value: Tensor, *names: str) -> Tensor:
        """The sum of `value` over the ranks along these dimensions, the same to the bit on each."""
        if self.size(*names) > 1:
            dist.all_reduce(value, group=self.along(*names).get_group())
        return value


def check_world(sizes: Mesh, num_processes: int) -> None:
    """Raises ConfigError if a mesh is not for so many processes."""
    if sizes.world_size != num_processes:
        raise ConfigError(
            f"mesh: expected a product of {num_processes}, the number of processes, came {sizes.world_size} "
            f"({layout(sizes)}); set mesh.data and the others, or start as many processes"
        )


def check_model(sizes: Mesh, config: LlamaConfig, row_tokens: int) -> None:
    """Raises ConfigError if a model, or rows of so many tokens, cannot be divided so."""
    divided = {
        "tensor": {"heads": config.heads, "kv_heads": config.kv_heads, "ffn_dim": config.ffn_dim}
        | {"vocab_size": config.vocab_size, "row_tokens": row_tokens // max(1, sizes.context)},
        "context": {"row_tokens / 2": row_tokens // 2 if row_tokens % 2 == 0 else 1},
        "experts": {"num_experts": config.num_experts},
    }
    for dimension, numbers in divided.items():
        ranks = int(getattr(sizes, dimension))
        for name, number in numbers.items():
            if number % ranks:
                raise ConfigError(f"mesh.{dimension}: expected a divisor of {name} = {number:,}, came {ranks}")
    stages = sizes.pipeline * sizes.stages
    if sizes.schedule not in SCHEDULES:
        near = did_you_mean(sizes.schedule, SCHEDULES)
        raise ConfigError(f'mesh.schedule: expected one of {", ".join(SCHEDULES)}, came "{sizes.schedule}"{near}')
    if sizes.stages > 1 and (sizes.pipeline == 1 or sizes.schedule not in SEVERAL_STAGES):
        raise ConfigError(
            f"mesh.stages: expected 1 without a pipeline or with the schedule {sizes.schedule}, came {sizes.stages}; "
            f"schedules of several stages a rank are {', '.join(SEVERAL_STAGES)}"
        )
    if stages > config.layers:
        raise ConfigError(f"mesh.pipeline: expected at most one stage a layer ({config.layers}), came {stages} stages")


def layout(sizes: Mesh) -> str:
    """The dimensions above one, outermost first: "data 2, tensor 2"."""
    named = [f"{name} {getattr(sizes, name)}" for name in DIMENSIONS if getattr(sizes, name) > 1]
    return ", ".join(named) or "one process"

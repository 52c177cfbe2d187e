"""Data parallelism: weights, gradients and optimizer sharded over ranks (FSDP2, Zhao 2023), or whole copies of them.

Gradients are summed in fp32, over ranks that learn different rows and, with context parallelism, different tokens.
Sums, not means: what is minimised is divided by the targets of the whole batch already.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from puna.model.feed_forward import Experts
from puna.parallel.mesh import World
from puna.parallel.part import Part

_BUCKET = 1 << 24
"""Numbers that are summed in one message."""


def shard(part: Part, world: World, compute: torch.dtype) -> None:
    """Shard a part's weights over data, experts and context ranks, those of experts over data and context ranks.

    compute: of the products; weights are kept as they are, and gradients are reduced in fp32.
    """
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32, cast_forward_inputs=False)
    everywhere = _ranks(world, "data", "experts", "context")
    for layer in part.layers.values():
        experts = [module for module in layer.modules() if isinstance(module, Experts)]
        for one in experts if world.sizes.experts > 1 else []:
            fully_shard(
                list(one.experts.children()),
                mesh=_ranks(world, "data", "context"),
                mp_policy=policy,
                reshard_after_forward=world.sizes.reshard,
            )
        fixed = {parameter for parameter in layer.parameters() if not parameter.requires_grad}
        fully_shard(
            layer, mesh=everywhere, mp_policy=policy, reshard_after_forward=world.sizes.reshard, ignored_params=fixed
        )
    fixed = {parameter for parameter in part.parameters() if not parameter.requires_grad}
    fully_shard(part, mesh=everywhere, mp_policy=policy, reshard_after_forward=False, ignored_params=fixed)
    for module in part.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo cannot divide while it sums


def _ranks(world: World, *names: str) -> DeviceMesh:
    """The ranks along `names`, with those of whole copies before them if there are any."""
    inner = world.along(*names)
    if world.sizes.replicas == 1:
        return inner
    return world.grid["replicas", inner.mesh_dim_names[0]]  # type: ignore[index]


@torch.no_grad()
def sum_gradients(parameters: list[nn.Parameter], ranks: DeviceMesh) -> None:
    """Add up the gradients of whole copies over `ranks`, in fp32, a bucket at a time."""
    group, bucket, size = ranks.get_group(), list[Tensor](), 0
    for parameter in parameters:
        if parameter.grad is not None:
            bucket.append(local(parameter.grad))
            size += bucket[-1].numel()
            if size >= _BUCKET:
                _sum_bucket(bucket, group)
                bucket, size = [], 0
    if bucket:
        _sum_bucket(bucket, group)


def _sum_bucket(bucket: list[Tensor], group: dist.ProcessGroup) -> None:
    flat = torch.cat([one.flatten().float() for one in bucket])
    dist.all_reduce(flat, group=group)
    for one, summed in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
        one.copy_(summed.view_as(one))


def share_of(parameter: Tensor, whole: Tensor) -> Tensor:
    """What this rank holds of a parameter, taken from the whole tensor."""
    if not isinstance(parameter, DTensor):
        return whole
    shape, firsts = compute_local_shape_and_global_offset(parameter.shape, parameter.device_mesh, parameter.placements)
    return whole[tuple(slice(first, first + size) for first, size in zip(firsts, shape))]


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor; every rank that holds a share of it must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

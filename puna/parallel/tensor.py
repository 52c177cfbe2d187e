"""Tensor and sequence parallelism (Shoeybi 2019, Korthikanti 2022), with DTensor.

Between the halves of a layer each rank has T / TP tokens of every row. Before a half they are gathered, its first
matrices are divided by columns (heads, or feed-forward channels) and its last by rows, and what the ranks add up to is
scattered over the tokens again. The embedding and the output matrix are divided by the vocabulary.
"""

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.distributed.tensor.parallel.style import ParallelStyle

from puna.model import Llama
from puna.model.feed_forward import Experts
from puna.model.llama import Layer
from puna.parallel.part import layers_of

_TOKENS = Shard(1)


def divide_tensors(model: Llama, ranks: DeviceMesh) -> None:
    """Divide the weights of a model, or of some of its layers, over `ranks`, in place."""
    plan: dict[str, ParallelStyle] = {
        "embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=_TOKENS),
        "norm": SequenceParallel(),
        "output": ColwiseParallel(),
    }
    parallelize_module(model, ranks, {name: style for name, style in plan.items() if getattr(model, name) is not None})
    for layer in layers_of(model).values():
        _divide_layer(layer, ranks)


def _divide_layer(layer: Layer, ranks: DeviceMesh) -> None:
    gathered = PrepareModuleInput(input_layouts=(_TOKENS, None, None), desired_input_layouts=(Replicate(), None, None))
    plan: dict[str, ParallelStyle] = {
        "attention_norm": SequenceParallel(),
        "attention": gathered,
        **{f"attention.{name}": ColwiseParallel() for name in "qkv"},
        "attention.o": RowwiseParallel(output_layouts=_TOKENS),
        "feed_forward_norm": SequenceParallel(),
    }
    experts = layer.feed_forward
    if isinstance(experts, Experts):
        # Each rank routes all tokens, alike: what the router learns is whole on each of them, and so is the input's
        # gradient, since every expert sums its part of it.
        plan["feed_forward"] = PrepareModuleInput(
            input_layouts=(_TOKENS, None), desired_input_layouts=(Replicate(), None), use_local_output=True
        )
        plan["feed_forward.router"] = _Alike()
        numbers = experts.experts.keys() if isinstance(experts.experts, nn.ModuleDict) else range(len(experts.experts))
        for number in numbers:
            plan |= _divided_feed_forward(f"feed_forward.experts.{number}.", Replicate())
    else:
        plan["feed_forward"] = PrepareModuleInput(
            input_layouts=(_TOKENS, None), desired_input_layouts=(Replicate(), None)
        )
        plan |= _divided_feed_forward("feed_forward.", _TOKENS)
    parallelize_module(layer, ranks, plan)
    if isinstance(experts, Experts):
        scatter = PrepareModuleOutput(output_layouts=Replicate(), desired_output_layouts=_TOKENS, use_local_output=True)
        parallelize_module(experts, ranks, scatter)


def _divided_feed_forward(name: str, result: Replicate | Shard) -> dict[str, ParallelStyle]:
    return {
        f"{name}gate": ColwiseParallel(),
        f"{name}up": ColwiseParallel(),
        f"{name}down": RowwiseParallel(output_layouts=result),
    }


class _Alike(ParallelStyle):
    """A matrix that every rank has whole and multiplies with the same input."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        from torch.distributed.tensor import DTensor, distribute_module

        def taken(module: nn.Module, inputs: tuple[Tensor, ...], ranks: DeviceMesh) -> tuple[Tensor, ...]:
            return tuple(
                one if isinstance(one, DTensor) else DTensor.from_local(one, ranks, [Replicate()], run_check=False)
                for one in inputs
            )

        def given(module: nn.Module, output: DTensor, ranks: DeviceMesh) -> Tensor:
            return output.to_local()

        return distribute_module(module, device_mesh, None, taken, given)  # type: ignore[arg-type]  # its hooks do return

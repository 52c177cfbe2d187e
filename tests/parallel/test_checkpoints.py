"""Checkpoints of several ranks: what one layout saves, any other loads, bit for bit; and no row is lost or repeated."""

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from puna.base.rng import hash64
from puna.model import Llama, LlamaConfig
from puna.pretrain import checkpoint
from puna.pretrain.average import Average
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.loader import Loader
from puna.pretrain.loss import cross_entropy_sum
from puna.pretrain.optim import Optimizer, OptimizerConfig
from puna.pretrain.steps import Steps
from tests.parallel.ranks import Ranks
from tests.pretrain.test_loop import VOCABULARY, Counting

LAYOUTS = {"one": 1, "fsdp": 2, "tensor": 2, "pipeline": 2, "experts": 2, "fsdp of four": 4, "fsdp and tensor": 4}
STATE = {"log": [{"step": 1, "loss": 1.5}], "seconds": 2.0}


def model_of(experts: int = 3) -> Llama:
    # Odd sizes, so that shards are uneven and some are empty.
    sizes: dict[str, Any] = {"num_experts": experts, "experts_per_token": 2, "router_bias": True} if experts > 1 else {}
    shape = {"dim": 12, "layers": 2, "heads": 2, "kv_heads": 1, "ffn_dim": 22, "vocab_size": VOCABULARY}
    return Llama(LlamaConfig(**shape, max_position=64, tied=experts == 1, **sizes))


def in_layout(layout: str, draw: bool = False) -> nn.Module:
    """The model as this rank holds it, perhaps with weights drawn by their names."""
    model = model_of()
    with torch.no_grad():
        for name, parameter in model.named_parameters() if draw else ():
            parameter.copy_(drawn(name, parameter.shape))
    if layout == "tensor":
        divide_matrices(model, init_device_mesh("cpu", (2,)))
    elif layout == "fsdp and tensor":
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        divide_matrices(model, mesh["tensor"])
        fully_shard(model, mesh=mesh["data"])
    elif layout.startswith("fsdp"):
        for layer in model.layers:
            fully_shard(layer)
        fully_shard(model)
    elif layout == "pipeline":
        for name in ("layers.1", "norm", "output") if dist.get_rank() == 0 else ("layers.0", "embedding"):
            cut_out(model, name)
    elif layout == "experts":
        for layer in range(2):
            for number in {0: (1,), 1: (0, 2)}[dist.get_rank()]:
                cut_out(model, f"layers.{layer}.feed_forward.experts.{number}")
    return model


def divide_matrices(model: nn.Module, mesh: Any) -> None:
    for name, parameter in list(model.named_parameters()):
        placement = Shard(1) if ".down" in name else Shard(0) if parameter.dim() == 2 else Replicate()
        owner = model.get_submodule(name.rpartition(".")[0])
        divided = nn.Parameter(distribute_tensor(parameter.data, mesh, [placement]), parameter.requires_grad)
        setattr(owner, name.rpartition(".")[2], divided)


def cut_out(model: nn.Module, name: str) -> None:
    above, _, last = name.rpartition(".")
    setattr(model.get_submodule(above), last, nn.Module())


def state_of(model: nn.Module) -> dict[str, Any]:
    config = OptimizerConfig(optimizer="muon")  # which has AdamW's state too, of what is no inner matrix
    parts = {"model": dict(model.named_parameters()), "optimizer": Optimizer(model, config).tensors()}
    return {**parts, "average": Average(model).mean}


def every(tensors: dict[str, Any], name: str = "") -> list[tuple[str, Tensor]]:
    pairs = []
    for key, value in tensors.items():
        pairs += every(value, f"{name}/{key}") if isinstance(value, dict) else [(f"{name}/{key}", value)]
    return pairs


def drawn(name: str, shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(hash64(0, name) >> 1))


def number_of(name: str) -> int:
    return hash64(0, name) % 97 + 1


@torch.no_grad()
def saves(layout: str, folder: Path) -> None:
    """Weights as drawn, and all else a multiple of them, so that each tensor differs and is known whole."""
    tensors = state_of(in_layout(layout, draw=True))
    for name, tensor in every({**tensors, "model": {}}):
        parameter = tensors["model"][name.split("/")[2]]
        tensor.copy_(parameter * number_of(name)) if tensor.dim() else tensor.fill_(number_of(name))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, tensors, STATE)
        for _, tensor in every(tensors):
            tensor.zero_()


def loads(layout: str, folder: Path) -> list[str]:
    tensors = state_of(in_layout(layout))
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.load(tensors) == (1, STATE)
    for name, tensor in every(tensors):
        whole = tensor.full_tensor() if is_divided(tensor) else tensor
        weight = drawn(name.split("/")[2], tensor.shape)
        number = number_of(name)
        expected = weight if name.startswith("/model") else weight * number if tensor.dim() else torch.tensor(number)
        assert torch.equal(whole, expected), f"{layout}: {name}"
    return [name for name, _ in every(tensors)]


def is_divided(tensor: Tensor) -> bool:
    return isinstance(tensor, DTensor)


@pytest.mark.parametrize("source", LAYOUTS)
def test_what_one_layout_saves_every_other_loads_to_the_bit(
    tmp_path: Path, ranks: Callable[[int], Ranks], source: str
) -> None:
    def call(function: Callable[..., Any], layout: str) -> list[Any]:
        arguments = (layout, tmp_path)
        return [function(*arguments)] if layout == "one" else ranks(LAYOUTS[layout]).call(function, *arguments)

    call(saves, source)
    all_names = set(call(loads, "one")[0])
    for layout in LAYOUTS:
        if layout != source:
            assert set().union(*call(loads, layout)) == all_names


def saves_but_one_rank_fails(folder: Path, where: str) -> list[str]:
    """Steps 1 and 3 are written whole, of step 2 rank 1's part fails; what each rank is told."""
    told, tensors = [], {"model": {f"of rank {dist.get_rank()}": torch.ones(4), "of both": torch.ones(2)}}
    owner, name = {"writing": (FileSystemWriter, "write_data"), "checksums": (checkpoint, "sha256_file")}[where]
    with Checkpoints(folder) as checkpoints, pytest.MonkeyPatch.context() as patch:
        for step in (1, 2, 3):
            if step == 2 and dist.get_rank() == 1:
                patch.setattr(owner, name, broken)
            for tensor in tensors["model"].values():
                tensor.fill_(step)
            checkpoints.save(step, tensors, STATE)
            try:
                checkpoints.wait()
            except OSError as error:
                told.append(f"{step} {error}")
            patch.undo()
        assert checkpoints.load(tensors) == (3, STATE)
    return told


def broken(*arguments: Any, **named: Any) -> Any:
    raise OSError("no such disk")


def steps_loaded(folder: Path) -> list[Any]:
    """The step that each rank takes, and its tensors' values."""
    tensors = {"model": {f"of rank {dist.get_rank()}": torch.zeros(4), "of both": torch.zeros(2)}}
    with Checkpoints(folder) as checkpoints:
        found = checkpoints.load(tensors)
    return [found and found[0], *{value for tensor in tensors["model"].values() for value in tensor.tolist()}]


@pytest.mark.parametrize("where", ["writing", "checksums"])
def test_what_fails_on_one_rank_is_told_to_all_and_one_rank_s_damage_makes_all_go_back(
    tmp_path: Path, ranks: Callable[[int], Ranks], where: str
) -> None:
    for told in ranks(2).call(saves_but_one_rank_fails, tmp_path, where):
        assert len(told) == 1 and told[0].startswith("2 ") and "no such disk" in told[0]
    assert ranks(2).call(steps_loaded, tmp_path) == [[3, 3.0]] * 2
    victim = tmp_path / "step-3" / "__1_0.distcp"
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert ranks(2).call(steps_loaded, tmp_path) == [[1, 1.0]] * 2
    (tmp_path / "step-1/checksums.json").unlink()
    assert ranks(2).call(steps_loaded, tmp_path) == [[None, 0.0]] * 2


STEPS = Steps.of(16 * 40, 16, 8, {16 * 12: 4})  # three steps of four rows, then of eight


def learns(folder: Path, until: int) -> tuple[int, dict[int, list[int]], dict[str, Tensor]]:
    """Goes on from the last checkpoint to before step `until` on as many ranks as there are; one every two steps.

    The first step, this rank's rows by step, and the whole weights.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    loader = Loader(Counting([5, 17, 9, 30, 12, 8, 3, 22] * 3), row_tokens=16, rows=1, seed=1)
    model = model_of(experts=1)
    if world > 1:
        fully_shard(model)
    optimizer = Optimizer(model, OptimizerConfig())
    tensors = {"model": dict(model.named_parameters()), "optimizer": optimizer.tensors()}
    learned: dict[int, list[int]] = {}
    with Checkpoints(folder) as checkpoints:
        first, _ = checkpoints.load(tensors) or (0, {})
        for step in range(first, until):
            rows = STEPS.at(step)
            share = rows[rank * len(rows) // world : (rank + 1) * len(rows) // world]
            batch, targets = loader.learned(share), loader.learned(rows).num_targets
            logits = model(batch.tokens, positions=batch.positions, documents=batch.documents)
            (cross_entropy_sum(logits, batch.targets) * world / targets).backward()  # gradients are averaged
            optimizer.step(1e-3)
            learned[step] = list(share)
            if (step + 1) % 2 == 0:
                checkpoints.save(step + 1, tensors, {"log": []})
    whole = {name: (one.full_tensor() if is_divided(one) else one).detach() for name, one in model.named_parameters()}
    return first, learned, whole


def test_a_run_that_changes_its_world_size_learns_every_row_once(tmp_path: Path, ranks: Callable[[int], Ranks]) -> None:
    _, _, undisturbed = learns(tmp_path / "undisturbed", STEPS.num_steps)
    runs = []
    for world, until in ((1, 3), (2, 5), (4, 5), (1, STEPS.num_steps)):
        call = (tmp_path / "run", until)
        runs.append([learns(*call)] if world == 1 else ranks(world).call(learns, *call))
    assert [run[0][0] for run in runs] == [0, 2, 4, 4]  # each goes on from the checkpoint, the steps after it were lost
    counted = collections.Counter[int]()
    for run, ends in zip(runs, [2, 4, 4, STEPS.num_steps]):
        counted.update(row for _, learned, _ in run for step, rows in learned.items() if step < ends for row in rows)
    assert counted == collections.Counter(range(STEPS.num_rows))
    for name, whole in runs[-1][0][2].items():
        assert torch.allclose(whole, undisturbed[name], rtol=0, atol=1e-6), name

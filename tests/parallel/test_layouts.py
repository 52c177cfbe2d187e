"""The law of parallel training: any layout gives the loss and the gradients of one process."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from puna.base.config import Mesh
from puna.model import Llama, LlamaConfig
from puna.model.compiled import compile_layers
from puna.model.float8 import use_float8
from puna.parallel.mesh import World
from puna.pretrain.computing import has_compiler
from puna.pretrain.divided import Divided
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import Batch
from puna.pretrain.loop import mean_loss
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining
from tests.parallel.ranks import Ranks

T, ROWS, MICRO = 32, 16, 2


def config_of(**changes: Any) -> LlamaConfig:
    sizes: dict[str, Any] = {"dim": 16, "layers": 4, "heads": 4, "kv_heads": 2, "ffn_dim": 24, "vocab_size": 64}
    return LlamaConfig(**{**sizes, "max_position": 64, "tied": True, **changes})


def batch_of(seed: int = 0) -> Batch:
    """Rows of documents of any length, the last one sometimes padding."""
    drawn = torch.Generator().manual_seed(seed)
    tokens = torch.randint(64, (ROWS, T), generator=drawn)
    targets = torch.randint(64, (ROWS, T), generator=drawn)
    positions, documents = torch.zeros(ROWS, T, dtype=torch.int64), torch.zeros(ROWS, T, dtype=torch.int64)
    for row in range(ROWS):
        cuts = sorted(torch.randint(1, T, (3,), generator=drawn).tolist())
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, T])):
            positions[row, start:end] = torch.arange(end - start)
            documents[row, start:end] = number
        if row % 2:
            documents[row, cuts[-1] :] = -1
            targets[row, cuts[-1] :] = -100
    return Batch(tokens, targets, positions, documents)


def divided(
    config: LlamaConfig,
    sizes: Mesh,
    experts: ExpertsConfig,
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
    eight: bool = False,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """On one rank of many: what a step measured, with the norm of the gradient, and every gradient."""
    world = _world(sizes.model_dump_json())
    settings = (T, MICRO, LossConfig(z_weight=1e-3), experts, dtype)
    model = Divided(config, world, Llama(config).named_parameters(), *settings)
    if eight:
        assert use_float8(model.model)
    if compiled:
        compile_layers(model.model)
    batch = batch_of()
    own = Batch(*(world.own(field) for field in (batch.tokens, batch.targets, batch.positions, batch.documents)))
    row = model.backward()(model.model, own)
    biases = {name: one for name, one in model.model.named_parameters() if name.endswith("router_bias")}
    row["validation"] = model.mean_loss(batch_of(1).split(3))
    gathered = model.parallel.gathered(lambda name, one: biases.get(name, one.grad))
    return {**row, "norm": model.parallel.gradient_norm()}, gathered


@functools.cache
def _world(sizes: str) -> World:
    """A layout's world, made once: gloo keeps threads for each of its groups."""
    return World(Mesh.model_validate_json(sizes), torch.device("cpu"))


def alone(config: LlamaConfig, experts: ExpertsConfig) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The same in one process, by what it learns with."""
    model = Llama(config)
    row = pretraining(MICRO, LossConfig(z_weight=1e-3), experts)(model, batch_of())
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    row["norm"] = torch.stack([one.double().square().sum() for one in grads.values()]).sum().sqrt().item()
    biases = {name: one.data for name, one in model.named_parameters() if name.endswith("router_bias")}
    row["validation"] = mean_loss(model, batch_of(1).split(3))
    return row, {**grads, **biases}


LAYOUTS: dict[int, list[str]] = {
    2: [
        "data 2",
        "data 2 reshard",
        "replicas 2",
        "tensor 2",
        "context 2",
        "pipeline 2",
        "pipeline 2 gpipe",
        "pipeline 2 stages 2 interleaved-1f1b",
        "pipeline 2 stages 2 looped-bfs",
        "pipeline 2 stages 2 interleaved-zero-bubble",
    ],
    4: [
        "data 4",
        "replicas 2 data 2",
        "data 2 tensor 2",
        "data 2 context 2",
        "data 2 pipeline 2",
        "replicas 2 tensor 2",
        "replicas 2 context 2",
        "replicas 2 pipeline 2",
        "tensor 2 context 2",
        "tensor 2 pipeline 2",
        "context 2 pipeline 2",
        "context 4",
        "pipeline 4",
        "data 2 pipeline 2 stages 2 interleaved-zero-bubble",
    ],
    8: ["tensor 2 context 2 pipeline 2"],
    16: ["tensor 2 context 2 pipeline 2 data 2", "data 2 pipeline 2 stages 2 replicas 4 interleaved-1f1b"],
}
OF_EXPERTS: dict[int, list[str]] = {
    2: ["experts 2", "data 2", "replicas 2", "tensor 2", "context 2", "pipeline 2"],
    4: [
        "experts 4",
        "data 2 experts 2",
        "experts 2 tensor 2",
        "experts 2 context 2",
        "experts 2 pipeline 2",
        "context 2 pipeline 2",
    ],
    8: ["pipeline 2 data 2 experts 2"],
    16: ["pipeline 2 data 2 experts 2 tensor 2"],
}


def mesh_of(layout: str) -> Mesh:
    """Of "data 2 tensor 2 reshard": words with a number are sizes, the others a schedule or a switch."""
    words, values = layout.split(), dict[str, Any]()
    while words:
        word = words.pop(0)
        if words and words[0].isdigit():
            values[word] = int(words.pop(0))
        elif word == "reshard":
            values[word] = True
        else:
            values["schedule"] = word
    return Mesh(**values)


def check(world: Ranks, layout: str, config: LlamaConfig, experts: ExpertsConfig) -> None:
    expected, grads = alone(config, experts)
    for row, came in world.call(divided, config, mesh_of(layout), experts):
        assert row == pytest.approx(expected, rel=1e-5)
        assert came.keys() == grads.keys()
        for name, grad in grads.items():
            assert (came[name] - grad).norm() <= 1e-4 * grad.norm(), name


DENSE = [
    pytest.param(size, layout, tied, marks=[pytest.mark.long] * (size > 8))
    for size, several in LAYOUTS.items()
    for layout in several
    # An output matrix of its own is another case where the last part, or the vocabulary, is divided.
    for tied in ((True, False) if "pipeline" in layout or "tensor" in layout else (True,))
]


@pytest.mark.parametrize(("size", "layout", "tied"), DENSE)
def test_a_layout_gives_the_loss_and_the_gradients_of_one_process(
    ranks: Callable[[int], Ranks], size: int, layout: str, tied: bool
) -> None:
    check(ranks(size), layout, config_of(tied=tied), ExpertsConfig())


MIXTURES = [
    pytest.param(size, layout, marks=[pytest.mark.long] * (size > 8))
    for size, several in OF_EXPERTS.items()
    for layout in several
]


@pytest.mark.parametrize(("size", "layout"), MIXTURES)
def test_a_layout_of_a_mixture_of_experts_gives_those_of_one_process(
    ranks: Callable[[int], Ranks], size: int, layout: str
) -> None:
    config = config_of(num_experts=4, experts_per_token=2, router_bias=True)
    check(ranks(size), layout, config, ExpertsConfig(balance_weight=0.1, bias_rate=0.01, capacity_factor=1.25))


@pytest.mark.parametrize("layout", ["data 2", "replicas 2", "tensor 2", "context 2", "pipeline 2"])
def test_a_layout_in_bf16_is_near_one_process_in_fp32(ranks: Callable[[int], Ranks], layout: str) -> None:
    expected, grads = alone(config_of(), ExpertsConfig())
    for row, came in ranks(2).call(divided, config_of(), mesh_of(layout), ExpertsConfig(), torch.bfloat16):
        assert row["loss"] == pytest.approx(expected["loss"], rel=2e-3) and row["loss"] != expected["loss"]
        assert row["validation"] == pytest.approx(expected["validation"], rel=2e-3)
        for name, grad in grads.items():
            assert came[name].dtype == torch.float32
            assert (came[name] - grad).norm() <= 3e-2 * grad.norm(), name


@pytest.mark.parametrize("layout", ["data 2", "context 2", "pipeline 2", "experts 2"])
def test_a_layout_in_8_bits_is_near_one_process_in_fp32(ranks: Callable[[int], Ranks], layout: str) -> None:
    """Each rank has scales of its own tokens, so near is all it can be; ffn_dim of 32, or no matrix there would fit."""
    config = config_of(ffn_dim=32, **({"num_experts": 4, "experts_per_token": 2} if "experts" in layout else {}))
    expected, grads = alone(config, ExpertsConfig())
    for row, came in ranks(2).call(divided, config, mesh_of(layout), ExpertsConfig(), torch.bfloat16, False, True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=5e-3) and row["loss"] != expected["loss"]
        assert came.keys() == grads.keys()
        whole, exact = (torch.cat([one[name].flatten() for name in grads]) for one in (came, grads))
        assert torch.cosine_similarity(whole, exact, dim=0) > 0.98


@pytest.mark.long
@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler for torch.compile")
@pytest.mark.parametrize("layout", ["data 2", "replicas 2", "context 2"])
def test_compiled_layers_of_a_layout_give_those_of_one_process(ranks: Callable[[int], Ranks], layout: str) -> None:
    expected, grads = alone(config_of(), ExpertsConfig())
    answers = ranks(2).call(divided, config_of(), mesh_of(layout), ExpertsConfig(), torch.float32, True)
    for row, came in answers:
        assert row == pytest.approx(expected, rel=1e-5)
        for name, grad in grads.items():
            assert (came[name] - grad).norm() <= 1e-4 * grad.norm(), name

"""The law of parallel training: any layout gives the loss and the gradients of one process."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from puna.base.config import Mesh
from puna.model import Llama, LlamaConfig
from puna.parallel.mesh import World
from puna.parallel.model import ParallelModel
from puna.pretrain.divided import _head
from puna.pretrain.loader import Batch
from puna.pretrain.loss import LossConfig, loss_sums
from tests.parallel.ranks import Ranks

T, ROWS, MICRO = 32, 8, 2


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


def divided(config: LlamaConfig, sizes: Mesh, dtype: torch.dtype) -> tuple[float, float, dict[str, Tensor]]:
    """On one rank of many: the loss, the norm of the gradient and every gradient."""
    world = World(sizes, torch.device("cpu"))
    whole = Llama(config).to(dtype)
    model = ParallelModel(config, world, whole.named_parameters(), _head(world, LossConfig()), 2, T, dtype)
    batch = batch_of()
    own = Batch(*(world.own(field) for field in (batch.tokens, batch.targets, batch.positions, batch.documents)))
    sums = model.run(own, min(MICRO, len(own.tokens)), 1 / batch.num_targets, backward=True)
    return sums[0].item() / batch.num_targets, model.gradient_norm(), model.gathered(lambda name, one: one.grad)


def alone(config: LlamaConfig, dtype: torch.dtype) -> tuple[float, float, dict[str, Tensor]]:
    model, batch, total = Llama(config).to(dtype), batch_of(), 0.0
    for part in batch.split(MICRO):
        hidden = model.hidden(part.tokens, part.positions, part.documents)
        loss = loss_sums(hidden, model.output_weight, part.targets, LossConfig())[0]
        (loss / batch.num_targets).backward()
        total += loss.item()
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    norm = torch.stack([one.double().square().sum() for one in grads.values()]).sum().sqrt().item()
    return total / batch.num_targets, norm, grads


LAYOUTS: dict[int, list[dict[str, Any]]] = {
    2: [
        {"data": 2},
        {"data": 2, "reshard": True},
        {"replicas": 2},
        {"tensor": 2},
        {"context": 2},
        {"pipeline": 2},
        {"pipeline": 2, "schedule": "gpipe"},
        {"pipeline": 2, "stages": 2, "schedule": "interleaved-1f1b"},
        {"pipeline": 2, "stages": 2, "schedule": "interleaved-zero-bubble"},
    ],
    4: [
        {"data": 4},
        {"replicas": 2, "data": 2},
        {"data": 2, "tensor": 2},
        {"data": 2, "context": 2},
        {"data": 2, "pipeline": 2},
        {"replicas": 2, "tensor": 2},
        {"tensor": 2, "context": 2},
        {"tensor": 2, "pipeline": 2},
        {"context": 2, "pipeline": 2},
        {"context": 4},
        {"pipeline": 4},
    ],
    8: [{"tensor": 2, "context": 2, "pipeline": 2}],
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("size", "sizes"), [(size, one) for size, several in LAYOUTS.items() for one in several])
def test_a_layout_gives_the_loss_and_the_gradients_of_one_process(
    ranks: Callable[[int], Ranks], size: int, sizes: dict[str, Any], tied: bool
) -> None:
    config = config_of(tied=tied)
    loss, norm, grads = alone(config, torch.float32)
    for came_loss, came_norm, came in ranks(size).call(divided, config, Mesh(**sizes), torch.float32):
        assert came_loss == pytest.approx(loss, rel=1e-5)
        assert came_norm == pytest.approx(norm, rel=1e-5)
        assert came.keys() == grads.keys()
        for name, grad in grads.items():
            assert (came[name] - grad).norm() <= 1e-5 * grad.norm(), name

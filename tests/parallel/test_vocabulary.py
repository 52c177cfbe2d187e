"""The loss over a divided vocabulary beside the loss of one process and torch's own `loss_parallel`."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import loss_parallel
from torch.utils._python_dispatch import TorchDispatchMode

from puna.parallel import vocabulary
from puna.parallel.vocabulary import divided_loss_sums
from puna.pretrain import loader
from puna.pretrain.loss import LossConfig, loss_sums
from tests.parallel.ranks import Ranks

ROWS, TOKENS, WIDTH, VOCABULARY = 3, 11, 8, 36
Inputs = tuple[Tensor, Tensor, Tensor]


def drawn(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Inputs:
    """Hidden states, an output matrix, and targets of which every fifth is IGNORED."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, TOKENS, WIDTH, generator=generator) * scale
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator)
    targets = torch.randint(VOCABULARY, (ROWS, TOKENS), generator=generator)
    targets.view(-1)[::5] = vocabulary.IGNORED
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


def own_rows(weight: Tensor) -> Tensor:
    return weight.detach().chunk(dist.get_world_size())[dist.get_rank()].requires_grad_()


def divided(inputs: Inputs, z_weight: float, chunk: int) -> dict[str, Tensor]:
    """What a rank finds; the objective is divided, as by the targets of a batch."""
    hidden, weight, targets = inputs
    rows = own_rows(weight)
    objective, sums = divided_loss_sums(hidden, rows, targets, z_weight=z_weight, chunk_tokens=chunk)
    (objective / 7).backward()
    return {"objective": objective.detach(), **sums, "hidden": hidden.grad, "weight": rows.grad}


def together(found: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Gradients of the hidden states and of the whole matrix."""
    return sum(one["hidden"].double() for one in found), torch.cat([one["weight"] for one in found]).double()


def assert_close(found: Tensor, expected: Tensor, limit: float) -> None:
    assert (found.double() - expected.double()).norm() <= limit * expected.double().norm()


def test_ignored_is_the_loaders() -> None:
    assert vocabulary.IGNORED == loader.IGNORED


@pytest.mark.parametrize("size, z_weight, chunk", [(2, 0.1, 0), (2, 0.0, 1000), (2, 0.1, 7), (4, 0.0, 0), (4, 0.1, 11)])
def test_sums_and_gradients_are_those_of_the_whole_matrix(
    ranks: Callable[[int], Ranks], size: int, z_weight: float, chunk: int
) -> None:
    hidden, weight, targets = inputs = drawn()
    found = ranks(size).call(divided, inputs, z_weight, chunk)
    objective, sums = loss_sums(hidden, weight, targets, LossConfig(z_weight=z_weight, chunk_tokens=chunk))
    (objective / 7).backward()
    for one in found:
        assert set(one) - {"objective", "hidden", "weight"} == set(sums)
        for name, value in {"objective": objective, **sums}.items():
            assert one[name].item() == pytest.approx(value.item(), rel=1e-6), name
    for gradient, expected in zip(together(found), (hidden.grad, weight.grad)):
        assert_close(gradient, expected, 1e-6)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_in_double_they_are_those_of_autograd(ranks: Callable[[int], Ranks], scale: float) -> None:
    """Logits of thousands too, whose exponentials are beyond any number."""
    hidden, weight, targets = inputs = drawn(torch.float64, scale)
    found = ranks(4).call(divided, inputs, 0.01, 9)
    logits = (hidden @ weight.T)[targets != -100]
    loss = F.cross_entropy(logits, targets[targets != -100], reduction="sum")
    z_loss = logits.logsumexp(1).square().sum()
    ((loss + 0.01 * z_loss) / 7).backward()
    assert found[3]["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    assert found[3]["z_loss"].item() == pytest.approx(z_loss.item(), rel=1e-12)
    for gradient, expected in zip(together(found), (hidden.grad, weight.grad)):
        assert_close(gradient, expected, 1e-12)


def by_torch(inputs: Inputs) -> dict[str, Tensor]:
    hidden, weight, targets = inputs
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    rows = own_rows(weight)
    states = DTensor.from_local(hidden.flatten(0, 1), mesh, [Replicate()])
    matrix = DTensor.from_local(rows, mesh, [Shard(0)])
    with loss_parallel():
        loss = F.cross_entropy(F.linear(states, matrix), targets.flatten(), reduction="sum")
        (loss / 7).backward()
    return {"loss": loss.full_tensor().detach(), "weight": rows.grad, "hidden": hidden.grad}


def both(inputs: Inputs) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    theirs = by_torch(inputs)
    inputs[0].grad = None
    return divided(inputs, 0.0, 20), theirs


def test_sums_and_gradients_are_those_of_torchs_loss_parallel(ranks: Callable[[int], Ranks]) -> None:
    ours, theirs = zip(*ranks(2).call(both, drawn()))
    for one, other in zip(ours, theirs):
        assert one["loss"].item() == pytest.approx(other["loss"].item(), rel=1e-6)
        assert_close(one["weight"], other["weight"], 1e-6)
        assert_close(together(ours)[0], other["hidden"], 1e-6)  # torch adds up the hidden states' gradient itself


@pytest.mark.parametrize("size", [2, 4])
def test_in_bf16_it_is_as_near_to_double_as_one_process(ranks: Callable[[int], Ranks], size: int) -> None:
    hidden, weight, targets = inputs = drawn(torch.bfloat16)
    found = ranks(size).call(divided, inputs, 0.1, 20)
    objective, _ = loss_sums(hidden, weight, targets, LossConfig(z_weight=0.1, chunk_tokens=20))
    (objective / 7).backward()
    assert {one["hidden"].dtype for one in found} == {one["weight"].dtype for one in found} == {torch.bfloat16}
    assert found[0]["objective"].dtype == torch.float32
    assert found[0]["objective"].item() == pytest.approx(objective.item(), rel=1e-5)
    gradients = together(found)
    assert_close(gradients[0], hidden.grad, 1e-2)
    assert_close(gradients[1], weight.grad, 4e-3)  # 2^-8, the last place of bf16


class Logits(TorchDispatchMode):
    """Remembers the largest number of tokens for which something of the vocabulary's width was made.

    The matrix itself counts, transposed, as one of WIDTH tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.most = width, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = function(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.dim() == 2 and made.shape[1] == self.width:
            self.most = max(self.most, len(made))
        return made


def most_logits(inputs: Inputs, chunk: int) -> int:
    rows = own_rows(inputs[1])
    with Logits(len(rows)) as logits:
        divided_loss_sums(inputs[0], rows, inputs[2], chunk_tokens=chunk)[0].backward()
    return logits.most


def test_no_more_logits_exist_than_a_chunk_has(ranks: Callable[[int], Ranks]) -> None:
    assert ranks(2).call(most_logits, drawn(), 9) == [9, 9]
    assert ranks(2).call(most_logits, drawn(), 0) == [26, 26]


def measured(inputs: Inputs) -> float:
    with torch.inference_mode():
        return divided_loss_sums(inputs[0], own_rows(inputs[1]), inputs[2], chunk_tokens=20)[1]["loss"].item()


def test_it_is_measured_without_gradients_and_of_nothing_is_nothing(ranks: Callable[[int], Ranks]) -> None:
    hidden, weight, targets = drawn()
    expected = loss_sums(hidden, weight, targets, LossConfig())[0].item()
    assert ranks(2).call(measured, (hidden, weight, targets)) == [pytest.approx(expected, rel=1e-6)] * 2
    for one in ranks(2).call(divided, (hidden, weight, torch.full_like(targets, -100)), 0.1, 0):
        assert one["objective"] == one["loss"] == 0 and not one["hidden"].any() and not one["weight"].any()


def test_a_target_that_no_rank_has_is_refused(ranks: Callable[[int], Ranks]) -> None:
    hidden, weight, targets = drawn()
    targets[1, 1] = VOCABULARY
    with pytest.raises(AssertionError, match="ValueError: expected targets from 0 to 35, came 1 to 36"):
        ranks(2).call(divided, (hidden, weight, targets), 0.0, 0)

"""Losses beside their formulas in double precision, and the memory that a chunked one needs at Llama's vocabulary."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from puna.pretrain.loader import IGNORED
from puna.pretrain.loss import LossConfig, cross_entropy_sum, loss_sums, token_losses, z_loss_sum

ROWS, TOKENS, WIDTH, VOCABULARY = 3, 11, 8, 37


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states and an output matrix that want gradients, and targets of which every fifth is IGNORED."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, TOKENS, WIDTH, generator=generator).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).requires_grad_()
    targets = torch.randint(VOCABULARY, (ROWS, TOKENS), generator=generator)
    targets.view(-1)[::5] = IGNORED
    return hidden, weight, targets


def by_hand(targets: Tensor, logits: Tensor) -> tuple[float, float]:
    """Cross-entropy and squared log-sum, summed token by token."""
    loss = z_loss = 0.0
    for row, wanted in zip(logits.double().flatten(0, 1), targets.flatten().tolist()):
        if wanted != IGNORED:
            log_sum = row.exp().sum().log().item()
            loss, z_loss = loss + log_sum - row[wanted].item(), z_loss + log_sum**2
    return loss, z_loss


@pytest.mark.parametrize("chunk", [0, 1, 4, 7, 1000])
def test_sums_are_those_written_out(chunk: int) -> None:
    hidden, weight, targets = drawn()
    loss, z_loss = by_hand(targets, (hidden @ weight.T).detach())
    objective, sums = loss_sums(hidden, weight, targets, LossConfig(z_weight=0.01, chunk_tokens=chunk))
    assert sums["loss"].item() == pytest.approx(loss, rel=1e-6)
    assert sums["z_loss"].item() == pytest.approx(z_loss, rel=1e-6)
    assert objective.item() == pytest.approx(loss + 0.01 * z_loss, rel=1e-6)
    objective, sums = loss_sums(hidden, weight, targets, LossConfig(chunk_tokens=chunk))
    assert set(sums) == {"loss"} and objective.item() == sums["loss"].item()


@pytest.mark.parametrize("z_weight", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [1, 4, 7, 1000])
def test_chunked_gradients_are_those_of_whole_logits(chunk: int, z_weight: float) -> None:
    """Beside autograd in double; the sum is divided, as by the targets of a batch, and its gradient is added to one."""
    hidden, weight, targets = drawn()
    wide = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    logits = wide[0] @ wide[1].T
    picked = logits.log_softmax(-1)[targets != IGNORED].gather(1, targets[targets != IGNORED][:, None])
    (-picked.sum() / 7 + z_weight * z_loss_sum(logits, targets) / 7).backward()
    weight.grad = torch.ones_like(weight)
    objective, _ = loss_sums(hidden, weight, targets, LossConfig(z_weight=z_weight, chunk_tokens=chunk))
    (objective / 7).backward()
    for found, expected in ((hidden.grad, wide[0].grad), (weight.grad - 1, wide[1].grad)):
        assert (found - expected).norm() <= 1e-6 * expected.norm()


def test_by_default_it_is_plain_cross_entropy_to_the_bit() -> None:
    hidden, weight, targets = drawn()
    plain = cross_entropy_sum(torch.nn.functional.linear(hidden, weight), targets)
    objective, _ = loss_sums(hidden, weight, targets, LossConfig())
    assert torch.equal(objective, plain)
    gradients = [torch.autograd.grad(one, (hidden, weight)) for one in (objective, plain)]
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_a_chunked_loss_is_measured_without_gradients_too() -> None:
    hidden, weight, targets = drawn()
    expected = loss_sums(hidden, weight, targets, LossConfig())[0].item()
    with torch.inference_mode():
        found = loss_sums(hidden, weight, targets, LossConfig(chunk_tokens=3))[1]["loss"].item()
    assert found == pytest.approx(expected, rel=1e-6)
    nothing = torch.full_like(targets, IGNORED)
    loss_sums(hidden, weight, nothing, LossConfig(chunk_tokens=3))[0].backward()
    assert not hidden.grad.any() and not weight.grad.any()


def test_losses_token_by_token_add_up() -> None:
    hidden, weight, targets = drawn()
    logits = (hidden @ weight.T).detach()
    for chunk in (0, 4):
        each = token_losses(hidden, weight, targets, chunk)
        assert each.shape == targets.shape and not each.requires_grad
        assert not each[targets == IGNORED].any()
        row, token = 1, 3
        assert each[row, token].item() == pytest.approx(
            by_hand(targets[row, token, None], logits[None, row, token, None])[0], rel=1e-5
        )
        assert each.sum().item() == pytest.approx(by_hand(targets, logits)[0], rel=1e-6)


MEMORY = """
import json, torch
from pathlib import Path
from puna.pretrain.loss import LossConfig, loss_sums
hidden = torch.randn(1, 320, 16, requires_grad=True)
weight = torch.randn(128_256, 16, requires_grad=True)
targets = torch.randint(128_256, (1, 320))
def peak():  # getrusage's is never below what the parent had
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
loss_sums(hidden[:, :8], weight, targets[:, :8], LossConfig(chunk_tokens=8))[0].backward()
weight.grad = None
peaks = [peak()]
for chunk in (16, 0):
    loss_sums(hidden, weight, targets, LossConfig(chunk_tokens=chunk))[0].backward()
    weight.grad = None
    peaks.append(peak())
print(json.dumps(peaks))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of one process is read from /proc")
def test_logits_of_llamas_vocabulary_never_exist_whole() -> None:
    """In a process of its own, whose peak is measured: chunks of 16 tokens stay far below the logits of 320."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, env=environment)
    before, chunked, whole = json.loads(done.stdout)
    logits_bytes = 320 * 128_256 * 4
    assert chunked - before < 0.6 * logits_bytes
    assert whole - before > 1.5 * logits_bytes

"""FLOPs of work against what PyTorch counts, and seconds that behave."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from puna.model import Llama, LlamaConfig
from puna.pretrain.optim import Optimizer, OptimizerConfig
from puna.scaling.recipe.effort import Effort, Machine, decoding, forward, steps, training

CONFIG = LlamaConfig(vocab_size=96, dim=32, layers=3, heads=4, kv_heads=2, ffn_dim=80)
MACHINE = Machine(1e11, 4, 16e9)


def test_the_step_of_muon_has_the_flops_that_torch_counts() -> None:
    model = Llama(CONFIG)
    optimizer = Optimizer(model, OptimizerConfig(optimizer="muon"))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    with FlopCounterMode(display=False) as counted:
        optimizer.step(1e-3)
    assert steps(CONFIG, "muon").flops == pytest.approx(counted.get_total_flops(), rel=1e-9)
    assert steps(CONFIG, "adamw").flops == 0


def test_learning_is_three_passes_and_the_steps() -> None:
    learned = training(CONFIG, 4096, 64, 512, 1024, "muon")
    passed = forward(CONFIG, 4096, 64, 512)
    assert learned.flops == pytest.approx(3 * passed.flops + 4 * steps(CONFIG, "muon").flops)
    assert passed.calls == CONFIG.layers * 8


efforts = st.builds(Effort, *[st.floats(0, 1e12) for _ in dataclasses.fields(Effort)])


@given(efforts, efforts, st.floats(0.1, 10))
def test_seconds_add_up(one: Effort, other: Effort, times: float) -> None:
    assert MACHINE.seconds(one + other) == pytest.approx(MACHINE.seconds(one) + MACHINE.seconds(other), rel=1e-9)
    assert MACHINE.seconds(one * times) == pytest.approx(times * MACHINE.seconds(one), rel=1e-9)


@given(efforts, st.integers(1, 64))
def test_more_cores_are_never_slower_and_one_thread_is_never_faster(effort: Effort, cores: int) -> None:
    more = MACHINE.with_cores(MACHINE.cores + cores)
    assert more.seconds(effort) <= MACHINE.seconds(effort) <= MACHINE.with_threads(1).seconds(effort)
    assert MACHINE.seconds(effort, workers=2) >= MACHINE.seconds(effort, workers=4) == MACHINE.seconds(effort)


@given(st.floats(1, 1e4), st.floats(1, 200), st.floats(1, 200), st.integers(1, 512))
def test_longer_and_more_answers_take_longer(rows: float, prompt: float, answer: float, at_once: int) -> None:
    base = MACHINE.seconds(decoding(CONFIG, rows, prompt, answer, at_once))
    assert MACHINE.seconds(decoding(CONFIG, 2 * rows, prompt, answer, at_once)) > base
    assert MACHINE.seconds(decoding(CONFIG, rows, prompt, 2 * answer, at_once)) > base
    assert MACHINE.seconds(decoding(CONFIG, rows, prompt, answer, 2 * at_once)) <= base

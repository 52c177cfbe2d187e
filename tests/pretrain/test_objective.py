"""Pretraining's backward pass: default equals the plain loop, options add up, experts resume and balance."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from puna.base.output import Progress, StageOutput
from puna.model import Llama, LlamaConfig
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import Loader
from puna.pretrain.loop import Backward, LoopConfig, language_modelling, train
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining
from puna.pretrain.schedule import ScheduleConfig
from puna.pretrain.selection import selected

DENSE = LlamaConfig(dim=16, layers=2, heads=2, kv_heads=1, ffn_dim=32, vocab_size=31, max_position=64)
EXPERTS = dataclasses.replace(DENSE, num_experts=4, experts_per_token=2)
BIASED = dataclasses.replace(EXPERTS, router_bias=True)


class Counting:
    """Sequences that count upwards modulo the vocabulary: easy to learn."""

    def __init__(self, lengths: list[int]):
        self.lengths = np.array(lengths, dtype=np.int64)

    def piece(self, index: int, start: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        tokens = (np.arange(start, start + size + 1) + index) % DENSE.vocab_size
        return tokens[:-1], tokens[1:]


def loader_of() -> Loader:
    return Loader(Counting([5, 17, 9, 30, 12, 8, 3, 22]), row_tokens=16, rows=4, seed=1)


def model_of(config: LlamaConfig = DENSE, seed: int = 0) -> Llama:
    model = Llama(config)
    model.initialise(seed, std=0.2)
    return model


def gradients(model: Llama, backward: Backward) -> tuple[torch.Tensor, dict[str, float]]:
    model.zero_grad()
    row = backward(model, loader_of().batch(0))
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), row


def options(micro_batch: int = 2, reference: Llama | None = None, **changes: float) -> Backward:
    names = set(ExpertsConfig.model_fields)
    experts = ExpertsConfig(**{name: value for name, value in changes.items() if name in names})
    loss = LossConfig(**{name: value for name, value in changes.items() if name not in names})
    return pretraining(micro_batch, loss, experts, reference)


def test_without_options_it_is_plain_language_modelling_to_the_bit() -> None:
    model = model_of()
    plain, expected = gradients(model, language_modelling(2))
    found, row = gradients(model, options())
    assert torch.equal(found, plain) and row == expected


@pytest.mark.parametrize("changes", [{"z_weight": 0.1}, {"z_weight": 0.1, "chunk_tokens": 5}, {"keep": 0.4}])
def test_gradients_do_not_depend_on_micro_batches(changes: dict[str, float]) -> None:
    reference = model_of(seed=5) if "keep" in changes else None
    found = [gradients(model_of(), options(rows, reference, **changes))[0] for rows in (1, 2, 4)]
    assert all((one - found[0]).norm() <= 1e-5 * found[0].norm() for one in found[1:])
    plain = gradients(model_of(), options())[0]
    assert (found[0] - plain).norm() > 1e-2 * plain.norm()


def test_rows_say_what_was_measured() -> None:
    plain = gradients(model_of(), options())[1]
    row = gradients(model_of(), options(z_weight=0.1))[1]
    assert row["loss"] == plain["loss"]  # the cross-entropy alone, so that runs can be compared
    assert row["z_loss"] == pytest.approx(np.log(31) ** 2, rel=0.3)
    model, reference = model_of(), model_of(seed=5)
    kept = selected(model, reference, loader_of().batch(0), 0.4, 2, 0)
    row = gradients(model, options(reference=reference, keep=0.4))[1]
    assert row["targets"] == kept.num_targets < plain["targets"]
    assert row["loss"] > plain["loss"]
    assert set(gradients(model_of(EXPERTS), options())[1]) == {
        "loss", "targets", "balance_loss", "expert_load", "dropped",
    }  # fmt: skip


def test_the_balance_loss_reaches_the_routers_and_only_adds() -> None:
    """Gradients with weight 0.1 less those without are ten times those of weight 0.01 less those without."""
    none, small, large = (gradients(model_of(EXPERTS), options(balance_weight=w))[0] for w in (0.0, 0.01, 0.1))
    assert (large - none).norm() > 1e-3 * none.norm()
    assert ((large - none) - 10 * (small - none)).norm() <= 1e-3 * (large - none).norm()


def test_padding_is_no_load() -> None:
    """A batch of one short sequence: what the padding holds changes nothing that is measured."""
    batch = Loader(Counting([5]), row_tokens=16, rows=2, seed=1).batch(0)
    padded = batch.tokens.clone()
    padded[batch.documents < 0] = 7
    backward = options(capacity_factor=1.0, balance_weight=0.1)
    rows = [backward(model_of(EXPERTS), one) for one in (batch, dataclasses.replace(batch, tokens=padded))]
    assert rows[0] == rows[1]


def test_capacity_drops_choices_and_is_counted() -> None:
    assert gradients(model_of(EXPERTS), options())[1]["dropped"] == 0.0
    assert 0.05 < gradients(model_of(EXPERTS), options(capacity_factor=0.5))[1]["dropped"] < 0.7


class Stopped(Exception):
    """Thrown by a watcher in the middle of a run, as a kill would."""


def config_of() -> LoopConfig:
    schedule = ScheduleConfig(warmup_steps=2)
    return LoopConfig(lr=1e-2, schedule=schedule, micro_batch=2, checkpoint_interval_s=0.0, optimizer="muon")


def test_biases_resume_with_the_weights_to_the_bit(tmp_path: Path) -> None:
    backward = options(bias_rate=0.01, balance_weight=0.01, capacity_factor=1.25)
    whole = model_of(BIASED)
    log = train(whole, loader_of().batch, 6, config_of(), StageOutput(tmp_path / "whole"), backward)

    def stop(look: Progress) -> None:
        if look.done == 4:
            raise Stopped

    killed = StageOutput(tmp_path / "killed", watch=stop)
    with pytest.raises(Stopped):
        train(model_of(BIASED), loader_of().batch, 6, config_of(), killed, backward)
    resumed = model_of(BIASED, seed=9)
    again = train(resumed, loader_of().batch, 6, config_of(), StageOutput(tmp_path / "killed"), backward)
    assert again == log
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert whole.layers[0].feed_forward.router_bias.abs().max() >= 0.01


def test_experts_learn(tmp_path: Path) -> None:
    config = config_of().model_copy(update={"checkpoint_interval_s": 1e9})
    backward = options(balance_weight=0.01)
    log = train(model_of(EXPERTS), loader_of().batch, 60, config, StageOutput(tmp_path), backward)
    assert log[0]["loss"] > 3 and log[-1]["loss"] < 0.5
    assert log[-1]["expert_load"] < 2.0

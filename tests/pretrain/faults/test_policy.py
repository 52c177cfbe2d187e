"""Faults put into a run on purpose: what comes out is what would have come without, or without the batch at fault."""

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from puna.base.config import Mesh
from puna.base.errors import DiskFullError, MachineError, RunError, StoppedError
from puna.base.output import Progress, StageOutput
from puna.base.records import read_jsonl
from puna.model import Llama, LlamaConfig
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.faults.orders import flip_bit
from puna.pretrain.faults.policy import INCIDENTS
from puna.pretrain.loader import Batch
from puna.pretrain.loop import Backward, LoopConfig, train, train_step
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining
from puna.pretrain.optim import Optimizer
from puna.pretrain.schedule import factor
from tests.pretrain.test_loop import VOCABULARY, Stopped, _config, _loader, _weights

NUM_STEPS = 12


def model_of(experts: bool = False) -> Llama:
    sizes: dict[str, Any] = {"num_experts": 3, "experts_per_token": 2, "router_bias": True} if experts else {}
    config = LlamaConfig(
        dim=16, layers=2, heads=2, kv_heads=1, ffn_dim=32, vocab_size=VOCABULARY, max_position=64, **sizes
    )
    return Llama(config, seed=0)


def learn(experts: bool = False) -> Backward[Batch]:
    return pretraining(2, LossConfig(), ExpertsConfig(bias_rate=0.01) if experts else ExpertsConfig())


class Injected:
    """A backward pass that errs in the calls of a step, as `broken(step, call)` says; calls count from 0 in a step."""

    def __init__(self, plain: Backward[Batch], broken: Callable[[int, int], float | None]) -> None:
        self.plain, self.broken, self.step, self.calls = plain, broken, -1, 0

    def batch_at(self, step: int) -> Batch:
        self.step, self.calls = step, 0
        return _loader().batch(step)

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        row = self.plain(model, batch)
        times = self.broken(self.step, self.calls)
        self.calls += 1
        if times is not None:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(times)
        return row


def faulty_run(out: StageOutput, model: Llama, broken: Callable[[int, int], float | None], **changes: Any) -> Injected:
    experts = model.config.num_experts > 1
    injected = Injected(learn(experts), broken)
    train(model, injected.batch_at, NUM_STEPS, _config(**changes), out, injected)
    return injected


def without(passed: set[int], model: Llama, config: LoopConfig) -> dict[str, torch.Tensor]:
    """The weights of a loop that leaves these steps out."""
    optimizer = Optimizer(model, config)
    for step in range(NUM_STEPS):
        if step not in passed:
            lr = config.lr * factor(config.schedule, step, NUM_STEPS)
            train_step(model, optimizer, _loader().batch(step), lr, config, learn(model.config.num_experts > 1))
    return _weights(model)


def incidents(out: StageOutput) -> list[tuple[int, str, str]]:
    return [(row["step"], row["cause"], row["action"]) for row in read_jsonl(out.path / INCIDENTS)]


def assert_same(model: Llama, expected: dict[str, torch.Tensor]) -> None:
    for name, tensor in _weights(model).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("experts", [False, True])
@pytest.mark.parametrize("times", [float("nan"), float("inf")])
def test_an_error_of_the_machine_leaves_no_trace(tmp_path: Path, experts: bool, times: float) -> None:
    model, out = model_of(experts), StageOutput(tmp_path)
    faulty_run(out, model, lambda step, call: times if step == 3 and call == 0 else None)
    assert_same(model, without(set(), model_of(experts), _config()))
    assert incidents(out) == [(3, "not a number", "computed again")]
    assert out.metrics["incidents"] == 1 and 0 < out.metrics["effective_time"] < 1


def test_a_batch_that_errs_every_time_is_passed_over(tmp_path: Path) -> None:
    model, out = model_of(), StageOutput(tmp_path)
    injected = Injected(learn(), lambda step, call: float("nan") if step in (3, 7, 8, 11) else None)
    log = train(model, injected.batch_at, NUM_STEPS, _config(), out, injected, validate=lambda model: 0.0)
    assert_same(model, without({3, 7, 8, 11}, model_of(), _config()))
    assert [row["step"] for row in log] == [1, 2, 3, 5, 6, 7, 10, 11] and "validation" in log[-1]
    assert incidents(out) == [(step, "not a number", "passed over") for step in (3, 7, 8, 11)]
    [panel] = out.panels
    assert panel["rows"][0][:3] == ["not a number", "passed over", 4] and panel["title"].startswith("Incidents")


@pytest.mark.parametrize("stop_at", [5, 9])
def test_killed_behind_a_passed_batch_it_is_passed_over_again(tmp_path: Path, stop_at: int) -> None:
    def broken(step: int, call: int) -> float | None:
        return float("nan") if step == 3 else None

    def stop(look: Progress) -> None:
        if look.done == stop_at:
            raise Stopped

    whole = model_of()
    faulty_run(StageOutput(tmp_path / "whole"), whole, broken)
    with pytest.raises(Stopped):
        faulty_run(StageOutput(tmp_path / "killed", watch=stop), model_of(), broken, checkpoint_interval_s=1e9)
    with open(tmp_path / "killed/state" / INCIDENTS, "a") as file:
        file.write('{"step": 4, "cau')  # a kill in the middle of a line
    resumed, out = model_of(), StageOutput(tmp_path / "killed")
    injected = faulty_run(out, resumed, lambda step, call: None)  # sound this time, and yet remembered
    assert_same(resumed, _weights(whole))
    assert injected.step == NUM_STEPS - 1
    assert incidents(out) == [(3, "not a number", "passed over"), (0, "interrupted", "resumed")]


def test_weights_that_went_wrong_are_gone_back_from(tmp_path: Path) -> None:
    """What no seal has seen makes every batch look bad; the checkpoints are of before."""
    model, out, flips = model_of(), StageOutput(tmp_path), [5]
    plain = learn()

    def batch_at(step: int) -> Batch:
        if flips and step == flips[0]:
            flips.pop()
            next(model.parameters()).data[0, 0] = float("nan")
        return _loader().batch(step)

    train(model, batch_at, NUM_STEPS, _config(faults={"skips": 2, "seal_every": 0}), out, plain)
    assert_same(model, without({5, 6, 7}, model_of(), _config()))
    passed = [(step, "not a number", "passed over") for step in (5, 6, 7)]
    assert incidents(out) == [*passed, (5, "not a number", "rolled back")]


def test_a_run_that_never_gets_better_ends(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step \d+: the loss is .*computed twice.*lower lr or look at the data"):
        faulty_run(
            StageOutput(tmp_path),
            model_of(),
            lambda step, call: float("nan") if step > 3 else None,
            faults={"skips": 1},
        )
    rows = list(read_jsonl(tmp_path / "state" / INCIDENTS))
    assert [row["step"] for row in rows if row["action"] == "rolled back"] == [4, 3]  # never one checkpoint twice
    assert [row["step"] for row in rows if row["action"] == "passed over"] == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("spike, passed", [(0.0, set()), (20.0, {30})])
def test_a_spike_counts_if_it_is_asked_for(tmp_path: Path, spike: float, passed: set[int]) -> None:
    model, out = model_of(), StageOutput(tmp_path)
    injected = Injected(learn(), lambda step, call: 1e4 if step in (10, 30) else None)  # at 10 nothing is usual yet
    log = train(model, injected.batch_at, 35, _config(faults={"spike": spike}), out, injected)
    assert set(range(35)) - {row["step"] - 1 for row in log} == passed


def test_asked_to_stop_it_saves_and_goes_on_later(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    whole, resumed, plain = model_of(), model_of(), learn()
    train(whole, _loader().batch, NUM_STEPS, _config(), StageOutput(tmp_path / "whole"), plain)

    def batch_at(step: int) -> Batch:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return _loader().batch(step)

    config = _config(checkpoint_interval_s=1e9)
    with pytest.raises(StoppedError, match="saved after step 5 of 12; the same command goes on") as stopped:
        train(model_of(), batch_at, NUM_STEPS, config, StageOutput(tmp_path / "run"), plain)
    assert stopped.value.exit_status == 143 and signal.getsignal(signal.SIGTERM) is before
    out = StageOutput(tmp_path / "run")
    seen: list[int] = []
    train(resumed, lambda step: (seen.append(step), _loader().batch(step))[1], NUM_STEPS, config, out, plain)
    assert seen[0] == 5 and incidents(out) == [(5, "preempted", "resumed")]
    assert_same(resumed, _weights(whole))


class Flipping:
    """A backward pass during which bits of the memory of weights or optimizer flip, each once, at these steps."""

    def __init__(self, *steps: int) -> None:
        self.left, self.step, self.seen = list(steps), -1, list[int]()

    def batch_at(self, step: int) -> Batch:
        self.step = step
        self.seen.append(step)
        return _loader().batch(step)

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        row = learn()(model, batch)
        if self.step in self.left:
            self.left.remove(self.step)
            flip_bit(next(model.parameters()).data, seed=self.step)
        return row


@pytest.mark.parametrize("steps", [(5,), (3, 3, 9), (11,)])
def test_a_bit_that_flips_in_the_weights_leaves_no_trace(tmp_path: Path, steps: tuple[int, ...]) -> None:
    model, out, flipping = model_of(), StageOutput(tmp_path), Flipping(*steps)
    train(model, flipping.batch_at, NUM_STEPS, _config(), out, flipping)
    assert_same(model, without(set(), model_of(), _config()))
    assert incidents(out) == [(step, "flipped bit", "restored") for step in steps]


@pytest.fixture
def flip_while_saving(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps before whose checkpoints, after the last look at the weights and before they are copied, a bit flips."""
    steps, save = list[int](), Checkpoints.save

    def saved(self: Checkpoints, step: int, state: dict[str, Any], kept: dict[str, Any]) -> None:
        if step in steps:
            steps.remove(step)
            flip_bit(next(iter(state["model"].values())).data, seed=3)
        save(self, step, state, kept)

    monkeypatch.setattr(Checkpoints, "save", saved)
    return steps


def test_a_bit_that_flips_while_a_checkpoint_is_written_spoils_that_alone(
    tmp_path: Path, flip_while_saving: list[int]
) -> None:
    """What is saved has other weights than were sealed: it is passed over when the run goes back."""
    model, out = model_of(), StageOutput(tmp_path)
    flip_while_saving.append(6)
    train(model, _loader().batch, NUM_STEPS, _config(), out, learn())
    assert_same(model, without(set(), model_of(), _config()))
    assert incidents(out) == [(6, "damaged checkpoint", "used the one before"), (5, "flipped bit", "restored")]


def test_a_bit_that_flips_while_the_only_checkpoint_is_written_is_begun_anew_after(
    tmp_path: Path, flip_while_saving: list[int]
) -> None:
    """Its weights were loaded already when they are found wrong: a run must not begin with them."""
    flip_while_saving.append(1)
    plain, batch_at = learn(), _loader().batch
    with pytest.raises(MachineError, match="the only checkpoint holds other weights than were learned"):
        train(model_of(), batch_at, NUM_STEPS, _config(), StageOutput(tmp_path), plain)
    model = model_of()
    train(model, batch_at, NUM_STEPS, _config(), StageOutput(tmp_path), plain)
    assert_same(model, without(set(), model_of(), _config()))


def test_a_bit_that_flips_after_the_last_step_ends_the_run_which_goes_on_from_the_last_checkpoint(
    tmp_path: Path,
) -> None:
    def validate(model: nn.Module) -> float:
        flip_bit(next(model.parameters()).data, seed=3)
        return 0.0

    with pytest.raises(MachineError, match="after the last step; the same command goes on"):
        train(
            model_of(),
            _loader().batch,
            NUM_STEPS,
            _config(),
            StageOutput(tmp_path),
            learn(),
            validate,
            num_validations=1,
        )
    model = model_of()
    train(model, _loader().batch, NUM_STEPS, _config(), StageOutput(tmp_path), learn())
    assert_same(model, without(set(), model_of(), _config()))


def test_a_bit_that_flips_before_there_is_a_checkpoint_asks_for_a_fresh_start(tmp_path: Path) -> None:
    flipping, config = Flipping(2), _config(checkpoint_interval_s=1e9)
    with pytest.raises(MachineError, match="step 2: weights or optimizer changed in memory"):
        train(model_of(), flipping.batch_at, NUM_STEPS, config, StageOutput(tmp_path), flipping)


def test_memory_that_errs_again_and_again_ends_the_run(tmp_path: Path) -> None:
    flipping = Flipping(4, 4, 4, 4, 4)
    with pytest.raises(RunError, match="memory changed 4 times after step 4; use another machine"):
        train(model_of(), flipping.batch_at, NUM_STEPS, _config(), StageOutput(tmp_path), flipping)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_checkpoint_that_does_not_fit_on_the_disk_is_tried_again(tmp_path: Path, share: float) -> None:
    """The kernel refuses the writes, from the first byte on or halfway through the largest file; the last one, which
    the model needs, may not fail."""
    model, out, seen = model_of(), StageOutput(tmp_path), list[set[int]]()

    def batch_at(step: int) -> Batch:
        largest = max((path.stat().st_size for path in (tmp_path / "state").glob("step-*/*")), default=0)
        limit = 1 + int(share * largest) if 3 <= step < 6 else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        seen.append({int(path.name.removeprefix("step-")) for path in (tmp_path / "state").glob("step-*")})
        return _loader().batch(step)

    try:
        config = _config(checkpoint_in_background=False)
        train(model, batch_at, NUM_STEPS, config, out, learn())
        assert seen[3:8] == [{2, 3}, {2, 3}, {2, 3}, {2, 3}, {3, 7}]
        assert incidents(out) == [(step, "full disk", "went on") for step in (4, 5, 6)]
        assert_same(model, without(set(), model_of(), _config()))
        other = StageOutput(tmp_path / "other")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        with pytest.raises(DiskFullError, match="is full: free some space"):
            train(model_of(), _loader().batch, NUM_STEPS, _config(), other, learn())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_incidents_that_found_no_room_are_written_when_the_run_dies(tmp_path: Path) -> None:
    def batch_at(step: int) -> Batch:
        limit = 1 if 3 <= step < 6 else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        if step == 6:
            raise Stopped
        return _loader().batch(step)

    config = _config(checkpoint_in_background=False)
    try:
        with pytest.raises(Stopped):
            train(model_of(), batch_at, NUM_STEPS, config, StageOutput(tmp_path), learn())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    rows = [json.loads(line) for line in (tmp_path / "state/incidents.jsonl").read_text().splitlines()]
    assert [(row["step"], row["cause"]) for row in rows] == [(step, "full disk") for step in (4, 5, 6)]


def test_a_damaged_checkpoint_is_an_incident(tmp_path: Path) -> None:
    def stop(look: Progress) -> None:
        if look.done == 7:
            raise Stopped

    with pytest.raises(Stopped):
        train(model_of(), _loader().batch, NUM_STEPS, _config(), StageOutput(tmp_path, watch=stop), learn())
    victim = max((tmp_path / "state/step-6").iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(victim, victim.stat().st_size // 2)
    model, out = model_of(), StageOutput(tmp_path)
    train(model, _loader().batch, NUM_STEPS, _config(), out, learn())
    found = incidents(out)
    assert found == [(6, "damaged checkpoint", "used the one before"), (5, "interrupted", "resumed")]
    assert_same(model, without(set(), model_of(), _config()))


def test_a_run_without_incidents_says_nothing(tmp_path: Path) -> None:
    out = StageOutput(tmp_path)
    faulty_run(out, model_of(), lambda step, call: None)
    assert not (out.path / INCIDENTS).exists() and not out.panels and "effective_time" not in out.metrics


@pytest.mark.parametrize("mesh", [Mesh(), Mesh(data=2)])
def test_no_checkpoint_is_made_of_weights_with_a_flipped_bit(tmp_path: Path, mesh: Mesh) -> None:
    """Of several processes a checkpoint keeps no hash that would tell; so none may be written."""
    model, out = model_of(), StageOutput(tmp_path, mesh=mesh)
    flips = [4]

    def validate(one: nn.Module) -> float:  # after the step is sealed, before it is saved
        flips[0] -= 1
        if flips[0] == 0:
            flip_bit(next(one.parameters()), 3)
        return 0.0

    train(model, _loader().batch, NUM_STEPS, _config(), out, learn(), validate=validate, num_validations=NUM_STEPS)
    assert incidents(out) == [(3, "flipped bit", "restored")]
    assert_same(model, without(set(), model_of(), _config()))

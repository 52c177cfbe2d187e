"""The training loop, one for every stage that trains: batches in, weights out, exact on resume.

    batch -> backward -> clip -> optimizer at the schedule's rate -> checkpoint

What is promised: killed at any moment and started again, the weights are the same to the last bit (same number of
threads), because a batch is a pure function of the step and everything else is in the checkpoint.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from puna.base.config import Hardware
from puna.base.errors import RunError, StoppedError
from puna.base.machine import prepare_machine, told_to_stop
from puna.base.output import StageOutput
from puna.parallel.heartbeat import Pulse
from puna.pretrain.average import Average
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.faults.orders import disturbed, flip_if_ordered
from puna.pretrain.faults.policy import FaultConfig, Faults, Held
from puna.pretrain.faults.recovery import Recovery
from puna.pretrain.faults.seal import Seal
from puna.pretrain.interval import Interval
from puna.pretrain.loader import Batch
from puna.pretrain.loss import cross_entropy_sum
from puna.pretrain.optim import Optimizer, OptimizerConfig
from puna.pretrain.panels import SCORE
from puna.pretrain.schedule import factor
from puna.pretrain.speed import Speed, Work
from puna.pretrain.trackers import Name, Trackers


class LoopConfig(OptimizerConfig):
    """How the loop runs. `micro_batch` rows go through the model at once; gradients do not depend on it (1e-6).

    average_share: of the steps, at the end, whose weights are averaged; the mean is what comes out (0: the last ones).
    checkpoint_interval_s: or "auto": what loses least, by the measured cost of a checkpoint and `faults.failure_s`.
    checkpoints_kept: so many of the newest stay; those after multiples of checkpoint_every_steps stay for good, also
    beside the finished artifact. checkpoint_in_background: written while training goes on, from a copy in memory.
    track: where else the log is written (trackers.py).
    """

    micro_batch: int = Field(default=8, ge=1)
    faults: FaultConfig = Field(default_factory=FaultConfig)
    average_share: float = Field(default=0.0, ge=0, le=1)
    checkpoint_interval_s: Annotated[Annotated[float, Field(ge=0)] | Literal["auto"], Hardware] = 30.0
    checkpoints_kept: Annotated[int, Hardware] = Field(default=2, ge=1)
    checkpoint_every_steps: Annotated[int, Hardware] = Field(default=0, ge=0)
    checkpoint_in_background: Annotated[bool, Hardware] = True
    track: Annotated[list[Name], Hardware] = Field(default_factory=list)


B = TypeVar("B")
Backward = Callable[[nn.Module, B], dict[str, float]]
"""Adds a batch's gradients to the model and returns what to log of it: `loss`, `targets` and what else is measured."""
PartLoss = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]]
"""What to minimise over a micro-batch, and what to log of it (`loss` and others), all as sums over its targets."""


def _clip(model: nn.Module, most: float) -> float:
    return nn.utils.clip_grad_norm_(model.parameters(), most).item()


@dataclass(frozen=True)
class Together:
    """What a loop asks the processes that train one model; as it stands, one process.

    clip: scales gradients to a norm of at most so much, returns their norm before. agree: true on every rank if it is
    true on one.
    """

    clip: Callable[[nn.Module, float], float] = _clip
    agree: Callable[[bool], bool] = bool


def train(
    model: nn.Module,
    batch_at: Callable[[int], B],
    num_steps: int,
    config: LoopConfig,
    out: StageOutput,
    backward: Backward[B],
    validate: Callable[[nn.Module], float] | None = None,
    num_validations: int = 10,
    boundary: int = 1,
    show: tuple[str, ...] = ("loss",),
    check: Callable[[list[dict[str, float]], int], None] | None = None,
    work: Work | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    num_evaluations: int = 0,
    together: Together = Together(),
) -> list[dict[str, float]]:
    """Train `model` in place for `num_steps` batches and return the log, one row a step.

    A row holds step, tokens (so far), what `backward` returned, lr, grad_norm and, now and then, validation (nats).
    Checkpoints are written after multiples of `boundary` steps only: where a batch is made by the model itself (PPO),
    a resumed run must begin with a fresh one. `show`: what of a row the live view shows. `check` is given the log and
    the number of steps after each validation, and may end the run by raising. With `average_share` the last validation
    is of the mean, those before it of the weights as they are. `work` is for measuring MFU. What `evaluate` gives,
    at `num_evaluations` steps, is in the rows of these, as score/NAME. A step that cannot be right is computed again,
    passed over or gone back before (faults/); it has no row. `together`: for a model that several
    processes train, all of which call this. Raises RunError if that does not help, and StoppedError after SIGTERM: the
    last checkpoint stands.
    """
    prepare_machine(out.threads)
    optimizer = Optimizer(model, config)
    state: dict[str, Any] = {"model": dict(model.named_parameters()), "optimizer": optimizer.tensors()}
    average, unaveraged = None, num_steps
    if config.average_share:
        average, unaveraged = Average(model), num_steps - max(1, round(config.average_share * num_steps))
        state["average"] = average.mean
    faults, pulse, seal = Faults(config.faults, out), Pulse.of_environment(), Seal(state, config.faults.seal_every)
    interval = Interval(config.checkpoint_interval_s, config.faults.failure_s, out.mesh.world_size)
    keeping = (config.checkpoints_kept, config.checkpoint_every_steps, config.checkpoint_in_background)
    checkpoints = Checkpoints(out.state, *keeping, written=pulse.saved)
    recovery = Recovery(out, state, faults, seal, pulse, interval, checkpoints, together.agree)
    stepper = _Stepper(model, optimizer, config, disturbed(backward, pulse), faults, seal, together)
    first = step = recovery.resumed(num_steps)
    bad, speed = 0, Speed(model, out, work, num_steps)
    validations, evaluations = _spread(num_validations, num_steps), _spread(num_evaluations, num_steps)
    with (
        faults,
        checkpoints,
        Trackers(config.track if out.writes else [], out, recovery.log) as trackers,
        told_to_stop() as stop,
    ):
        while step < num_steps:
            pulse.enter("step", step)
            row = None
            if step not in faults.passed:
                lr = config.lr * factor(config.schedule, step, num_steps)
                batch = batch_at(step)
                if step == 0:  # the first batch may set what the model begins with (the value head of PPO)
                    seal.take(0)
                row, is_flipped = stepper.step(step, batch, lr, recovery.log)
                bad = 0 if row else bad + 1
                if is_flipped or bad > config.faults.skips:
                    step, bad = (recovery.restored if is_flipped else recovery.rolled_back)(step), 0
                    continue
            step += 1
            if average and step > unaveraged:
                average.add(step - unaveraged)
                if step == num_steps:
                    average.put()
            seal.take(step)
            flip_if_ordered(model, pulse)
            log = recovery.log
            if row is not None:
                speed.add(step - 1, row["targets"])
                log.append({"step": step, "tokens": (log[-1]["tokens"] if log else 0) + row["targets"], **row})
            if validate and step in validations and log:
                pulse.enter("validation")
                log[-1]["validation"] = validate(model)
                if check:
                    check(log, num_steps)
            if evaluate and step in evaluations and log:
                pulse.enter("validation")
                log[-1] |= {f"{SCORE}{name}": value for name, value in evaluate(model).items()}
            if row is not None:
                trackers.add(log[-1])
            shown = {name: round(log[-1][name], 3) for name in show if log and name in log[-1]}
            out.progress(step, num_steps, "steps", **shown, **speed.now())
            is_stopped = together.agree(stop.is_set())
            is_kept = config.checkpoint_every_steps > 0 and step % config.checkpoint_every_steps == 0
            is_due = together.agree(interval.is_due()) or is_kept or is_stopped
            # While batches are passed over the weights may be what is wrong: no checkpoint is made of them.
            if is_due and row is not None and step % boundary == 0 and step < num_steps:
                is_saved = recovery.save(step, is_stopped)
                if is_stopped:
                    how = f"saved after step {step} of {num_steps}" if is_saved else "the last checkpoint stands"
                    raise StoppedError(f"asked to stop: {how}; the same command goes on")
        if not recovery.log:
            why = faults.incidents[-1].detail
            raise RunError(f"none of the {num_steps} steps could be learned from: {why}; lower lr or look at the data")
        speed.finish()
        if num_steps > first:
            recovery.check_end(num_steps)
            recovery.save(num_steps, is_last=True)
        checkpoints.hand_over(out.path / "checkpoints")
    pulse.enter("ending", num_steps)
    faults.finish()
    return recovery.log


def _spread(times: int, num_steps: int) -> set[int]:
    """So many steps, evenly over the run, the last one among them."""
    return {round((i + 1) * num_steps / times) for i in range(times)}


class _Stepper:
    """Optimizer steps of one run that are only taken if they can be right."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        config: LoopConfig,
        backward: Backward[Any],
        faults: Faults,
        seal: Seal,
        together: Together,
    ) -> None:
        self._model, self._optimizer, self._config, self._backward = model, optimizer, config, backward
        self._faults, self._seal, self._together = faults, seal, together

    def step(
        self, number: int, batch: Any, lr: float, log: list[dict[str, float]]
    ) -> tuple[dict[str, float] | None, bool]:
        """One step over a batch; None, and nothing learned, if twice its gradients cannot be right, or (True) if
        weights or optimizer are not what the last step left."""
        started, first, held = time.monotonic(), None, Held(self._model)
        while True:
            row = gradients(self._model, batch, self._config, self._backward, self._together)
            is_flipped = self._together.agree(self._seal.is_broken())
            cause = None if is_flipped else self._faults.cause(row, log)
            if not is_flipped and cause is None:
                if first:
                    self._faults.add(number, first, "computed again", time.monotonic() - started)
                self._optimizer.step(lr)
                return {**row, "lr": lr}, False
            self._model.zero_grad(set_to_none=True)
            held.put_back()
            if is_flipped:
                return None, True
            if first:
                assert cause is not None
                detail = f"the loss is {row['loss']}, the gradient norm {row['grad_norm']:.3g}"
                self._faults.add(number, cause, "passed over", time.monotonic() - started, detail)
                return None, False
            first = cause


def gradients(
    model: nn.Module, batch: B, config: LoopConfig, backward: Backward[B], together: Together = Together()
) -> dict[str, float]:
    """Add a batch's gradients to the model, clipped; what `backward` measured, with their norm before, grad_norm."""
    row = backward(model, batch)
    return {**row, "grad_norm": together.clip(model, config.clip)}


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    batch: B,
    lr: float,
    config: LoopConfig,
    backward: Backward[B],
) -> dict[str, float]:
    """One optimizer step over a batch; what `backward` measured, with lr and grad_norm."""
    row = gradients(model, batch, config, backward)
    optimizer.step(lr)
    return {**row, "lr": lr}


def language_modelling(micro_batch: int, part_loss: PartLoss | None = None) -> Backward[Batch]:
    """A mean over the targets of the whole batch, computed `micro_batch` rows at a time; cross-entropy by default."""
    losses = part_loss or plain_loss

    def backward(model: nn.Module, batch: Batch) -> dict[str, float]:
        targets, row = max(1, batch.num_targets), dict[str, float]()
        for part in batch.split(micro_batch):
            objective, sums = losses(model, part)
            (objective / targets).backward()
            for name, value in sums.items():
                row[name] = row.get(name, 0.0) + (value.detach() / targets).item()
        return {**row, "targets": targets}

    return backward


def plain_loss(model: nn.Module, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy alone."""
    logits = model(part.tokens, positions=part.positions, documents=part.documents)
    loss = cross_entropy_sum(logits, part.targets)
    return loss, {"loss": loss}


def mean_loss(model: nn.Module, batches: list[Batch], part_loss: PartLoss = plain_loss) -> float:
    """Mean nats a target over `batches`, without gradients."""
    total, targets = 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            total += part_loss(model, batch)[1]["loss"].item()
            targets += batch.num_targets
    return total / max(1, targets)

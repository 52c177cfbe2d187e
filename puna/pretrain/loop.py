"""The training loop, one for every stage that trains: batches in, weights out, exact on resume.

    batch -> backward -> clip -> optimizer at the schedule's rate -> checkpoint

What is promised: killed at any moment and started again, the weights are the same to the last bit (same number of
threads), because a batch is a pure function of the step and everything else is in the checkpoint.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from puna.base.config import Hardware
from puna.base.errors import RunError, StoppedError
from puna.base.machine import prepare_machine
from puna.base.output import StageOutput
from puna.pretrain.average import Average
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.faults import FaultConfig, Faults, Held, told_to_stop
from puna.pretrain.loader import Batch
from puna.pretrain.loss import cross_entropy_sum
from puna.pretrain.optim import Optimizer, OptimizerConfig
from puna.pretrain.schedule import factor
from puna.pretrain.speed import Speed, Work
from puna.pretrain.trackers import Name, Trackers


class LoopConfig(OptimizerConfig):
    """How the loop runs. `micro_batch` rows go through the model at once; gradients do not depend on it (1e-6).

    average_share: of the steps, at the end, whose weights are averaged; the mean is what comes out (0: the last ones).
    checkpoints_kept: so many of the newest stay; those after multiples of checkpoint_every_steps stay for good, also
    beside the finished artifact. checkpoint_in_background: written while training goes on, from a copy in memory.
    track: where else the log is written (trackers.py).
    """

    micro_batch: int = Field(default=8, ge=1)
    faults: FaultConfig = Field(default_factory=FaultConfig)
    average_share: float = Field(default=0.0, ge=0, le=1)
    checkpoint_interval_s: Annotated[float, Hardware] = Field(default=30.0, ge=0)
    checkpoints_kept: Annotated[int, Hardware] = Field(default=2, ge=1)
    checkpoint_every_steps: Annotated[int, Hardware] = Field(default=0, ge=0)
    checkpoint_in_background: Annotated[bool, Hardware] = True
    track: Annotated[list[Name], Hardware] = Field(default_factory=list)


SCORE = "score/"
"""What the names of scores begin with in a row."""
B = TypeVar("B")
Backward = Callable[[nn.Module, B], dict[str, float]]
"""Adds a batch's gradients to the model and returns what to log of it: `loss`, `targets` and what else is measured."""
PartLoss = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]]
"""What to minimise over a micro-batch, and what to log of it (`loss` and others), all as sums over its targets."""


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
) -> list[dict[str, float]]:
    """Train `model` in place for `num_steps` batches and return the log, one row a step.

    A row holds step, tokens (so far), what `backward` returned, lr, grad_norm and, now and then, validation (nats).
    Checkpoints are written after multiples of `boundary` steps only: where a batch is made by the model itself (PPO),
    a resumed run must begin with a fresh one. `show`: what of a row the live view shows. `check` is given the log and
    the number of steps after each validation, and may end the run by raising. With `average_share` the last validation
    is of the mean, those before it of the weights as they are. `work` is for measuring MFU. What `evaluate` gives,
    at `num_evaluations` steps, is in the rows of these, as score/NAME. A step that cannot be right is computed again,
    passed over or gone back before (`faults`, see faults.py); it has no row. Raises RunError if that does not help,
    and StoppedError after SIGTERM: the last checkpoint stands.
    """
    prepare_machine(out.threads)
    optimizer = Optimizer(model, config)
    state: dict[str, Any] = {"model": dict(model.named_parameters()), "optimizer": optimizer.tensors()}
    average, unaveraged = None, num_steps
    if config.average_share:
        average, unaveraged = Average(model), num_steps - max(1, round(config.average_share * num_steps))
        state["average"] = average.mean
    faults, before = Faults(config.faults, out), out.seconds
    settings = (config.checkpoints_kept, config.checkpoint_every_steps, config.checkpoint_in_background)
    checkpoints = Checkpoints(out.state, *settings)
    step, log = _resumed(checkpoints, out, state, faults, num_steps, before)
    first, saved, bad = step, time.monotonic(), 0
    speed = Speed(model, out, work, num_steps)
    validations, evaluations = _spread(num_validations, num_steps), _spread(num_evaluations, num_steps)
    with checkpoints, Trackers(config.track, out, log) as trackers, told_to_stop() as stop:
        while step < num_steps:
            row = None
            if step not in faults.passed:
                lr = config.lr * factor(config.schedule, step, num_steps)
                row = _sound_step(model, optimizer, batch_at(step), lr, config, backward, faults, step, log)
                bad = 0 if row else bad + 1
                if bad > config.faults.skips:
                    step, log = _rolled_back(checkpoints, out, state, faults, step)
                    bad = 0
                    continue
            step += 1
            if average and step > unaveraged:
                average.add(step - unaveraged)
                if step == num_steps:
                    average.put()
            if row is not None:
                speed.add(step - 1, row["targets"])
                log.append({"step": step, "tokens": (log[-1]["tokens"] if log else 0) + row["targets"], **row})
            if validate and step in validations and log:
                log[-1]["validation"] = validate(model)
                if check:
                    check(log, num_steps)
            if evaluate and step in evaluations and log:
                log[-1] |= {f"{SCORE}{name}": value for name, value in evaluate(model).items()}
            if row is not None:
                trackers.add(log[-1])
            shown = {name: round(log[-1][name], 3) for name in show if log and name in log[-1]}
            out.progress(step, num_steps, "steps", **shown, **speed.now())
            is_due = time.monotonic() - saved >= config.checkpoint_interval_s or stop.is_set()
            is_due = is_due or (config.checkpoint_every_steps > 0 and step % config.checkpoint_every_steps == 0)
            # While batches are passed over the weights may be what is wrong: no checkpoint is made of them.
            if is_due and row is not None and step % boundary == 0 and step < num_steps:
                checkpoints.save(step, state, {"log": log, "seconds": out.seconds})
                saved = time.monotonic()
                if stop.is_set():
                    checkpoints.wait()
                    raise StoppedError(
                        f"asked to stop: saved after step {step} of {num_steps}; the same command goes on"
                    )
        if not log:
            why = faults.incidents[-1].detail
            raise RunError(f"none of the {num_steps} steps could be learned from: {why}; lower lr or look at the data")
        speed.finish()
        if num_steps > first:
            checkpoints.save(num_steps, state, {"log": log, "seconds": out.seconds})
        checkpoints.hand_over(out.path / "checkpoints")
    faults.finish()
    return log


def _spread(times: int, num_steps: int) -> set[int]:
    """So many steps, evenly over the run, the last one among them."""
    return {round((i + 1) * num_steps / times) for i in range(times)}


def _resumed(
    checkpoints: Checkpoints, out: StageOutput, state: dict[str, Any], faults: Faults, num_steps: int, seconds: float
) -> tuple[int, list[dict[str, float]]]:
    """The step to go on from, and the log so far: those of the newest checkpoint."""
    found = checkpoints.load(state)
    step, kept = found or (0, {"log": []})
    if out.attempt > 1 and step < num_steps:
        faults.add(step, "interrupted", "resumed", max(0.0, seconds - kept.get("seconds", 0.0)))
    return step, kept["log"]


def _rolled_back(
    checkpoints: Checkpoints, out: StageOutput, state: dict[str, Any], faults: Faults, step: int
) -> tuple[int, list[dict[str, float]]]:
    """As `_resumed`, after steps that could not be learned from; a checkpoint that led here again is not used twice."""
    last = faults.incidents[-1]
    message = f"step {step}: {last.detail}, computed twice, and so were steps before it; lower lr or look at the data"
    if faults.rollbacks >= faults.config.rollbacks:
        raise RunError(message)
    used = [one.step for one in faults.incidents if one.action == "rolled back"]
    found = checkpoints.load(state, below=used[-1] if used else None)
    if found is None:
        raise RunError(message)
    lost = max(0.0, out.seconds - found[1].get("seconds", 0.0))
    faults.add(found[0], last.cause, "rolled back", lost, f"from step {step}")
    return found[0], found[1]["log"]


def _sound_step(
    model: nn.Module,
    optimizer: Optimizer,
    batch: B,
    lr: float,
    config: LoopConfig,
    backward: Backward[B],
    faults: Faults,
    step: int,
    log: list[dict[str, float]],
) -> dict[str, float] | None:
    """One optimizer step over a batch; None, and nothing learned, if twice its gradients cannot be right."""
    started, first, held = time.monotonic(), None, Held(model)
    while True:
        row = gradients(model, batch, config, backward)
        cause = faults.cause(row, log)
        if cause is None:
            if first:
                faults.add(step, first, "computed again", time.monotonic() - started)
            optimizer.step(lr)
            return {**row, "lr": lr}
        model.zero_grad(set_to_none=True)
        held.put_back()
        if first:
            detail = f"the loss is {row['loss']}, the gradient norm {row['grad_norm']:.3g}"
            faults.add(step, cause, "passed over", time.monotonic() - started, detail)
            return None
        first = cause


def gradients(model: nn.Module, batch: B, config: LoopConfig, backward: Backward[B]) -> dict[str, float]:
    """Add a batch's gradients to the model, clipped; what `backward` measured, with their norm before, grad_norm."""
    row = backward(model, batch)
    return {**row, "grad_norm": nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()}


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


def loss_panel(log: list[dict[str, float]], title: str) -> dict[str, Any]:
    """The loss curve for the report: training loss averaged over 1% of the steps, and validation."""
    width = max(1, len(log) // 100)
    chunks = [log[i : i + width] for i in range(0, len(log), width)]
    mean = [sum(row["loss"] for row in chunk) / len(chunk) for chunk in chunks]
    series = [{"name": "training", "x": [chunk[-1]["tokens"] for chunk in chunks], "y": mean}]
    checked = [row for row in log if "validation" in row]
    if checked:
        ys = [row["validation"] for row in checked]
        series.append({"name": "held-back documents", "x": [row["tokens"] for row in checked], "y": ys})
    return {
        "kind": "lines",
        "title": title,
        "x_label": "tokens learned",
        "y_label": "loss (nats a token)",
        "series": series,
    }


def score_panel(log: list[dict[str, float]], title: str) -> dict[str, Any] | None:
    """The scores that were measured on the way, for the report; None if there are none."""
    names = sorted({name for row in log for name in row if name.startswith(SCORE)})
    rows = {name: [row for row in log if name in row] for name in names}
    series = [
        {"name": name.removeprefix(SCORE), "x": [row["tokens"] for row in found], "y": [row[name] for row in found]}
        for name, found in rows.items()
    ]
    labels = {"x_label": "tokens learned", "y_label": "score"}
    return {"kind": "lines", "title": title, **labels, "series": series} if series else None

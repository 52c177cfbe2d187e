"""The training loop, one for every stage that trains: batches in, weights out, exact on resume.

    batch -> backward -> clip -> optimizer at the schedule's rate -> checkpoint

What is promised: killed at any moment and started again, the weights are the same to the last bit (same number of
threads), because a batch is a pure function of the step and everything else is in the checkpoint.
"""

import math
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from puna.base.config import Hardware
from puna.base.errors import RunError
from puna.base.machine import prepare_machine
from puna.base.output import StageOutput
from puna.pretrain import checkpoint
from puna.pretrain.average import Average
from puna.pretrain.loader import Batch
from puna.pretrain.loss import cross_entropy_sum
from puna.pretrain.optim import Optimizer, OptimizerConfig
from puna.pretrain.schedule import factor


class LoopConfig(OptimizerConfig):
    """How the loop runs. `micro_batch` rows go through the model at once; gradients do not depend on it (1e-6).

    average_share: of the steps, at the end, whose weights are averaged; the mean is what comes out (0: the last ones).
    """

    micro_batch: int = Field(default=8, ge=1)
    average_share: float = Field(default=0.0, ge=0, le=1)
    checkpoint_interval_s: Annotated[float, Hardware] = Field(default=30.0, ge=0)


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
) -> list[dict[str, float]]:
    """Train `model` in place for `num_steps` batches and return the log, one row a step.

    A row holds step, tokens (so far), what `backward` returned, lr, grad_norm and, now and then, validation (nats).
    Checkpoints are written after multiples of `boundary` steps only: where a batch is made by the model itself (PPO),
    a resumed run must begin with a fresh one. `show`: what of a row the live view shows. `check` is given the log and
    the number of steps after each validation, and may end the run by raising. Raises RunError if the loss is not a
    number: the last checkpoint stands. With `average_share` the last validation is of the mean, those before it of the
    weights as they are.
    """
    prepare_machine(out.threads)
    optimizer = Optimizer(model, config)
    state: dict[str, Any] = {"model": dict(model.named_parameters()), "optimizer": optimizer.tensors()}
    average, unaveraged = None, num_steps
    if config.average_share:
        average, unaveraged = Average(model), num_steps - max(1, round(config.average_share * num_steps))
        state["average"] = average.mean
    found = checkpoint.load(out.state, state)
    step, log = (found[0], found[1]["log"]) if found else (0, [])
    first, started = step, time.monotonic()
    saved, learned = started, 0
    validations = {round((i + 1) * num_steps / num_validations) for i in range(num_validations)}
    while step < num_steps:
        lr = config.lr * factor(config.schedule, step, num_steps)
        row = train_step(model, optimizer, batch_at(step), lr, config, backward)
        step += 1
        if not math.isfinite(row["loss"]) or not math.isfinite(row["grad_norm"]):
            raise RunError(f"the loss is {row['loss']} at step {step}: lower lr or look at the data")
        learned += int(row["targets"])
        if average and step > unaveraged:
            average.add(step - unaveraged)
            if step == num_steps:
                average.put()
        row = {"step": step, "tokens": (log[-1]["tokens"] if log else 0) + row["targets"], **row}
        if validate and step in validations:
            row["validation"] = validate(model)
        log.append(row)
        if check and "validation" in row:
            check(log, num_steps)
        rate = learned / (time.monotonic() - started)
        shown = {name: round(row[name], 3) for name in show if name in row}
        out.progress(step, num_steps, "steps", **shown, tokens_per_s=round(rate))
        due = step % boundary == 0 and time.monotonic() - saved >= config.checkpoint_interval_s
        if due and step < num_steps:
            checkpoint.save(out.state, step, state, {"log": log})
            saved = time.monotonic()
    if num_steps > first:
        out.metric(tokens_per_s=learned / (time.monotonic() - started))
        checkpoint.save(out.state, num_steps, state, {"log": log})
    return log


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    batch: B,
    lr: float,
    config: LoopConfig,
    backward: Backward[B],
) -> dict[str, float]:
    """One optimizer step over a batch; what `backward` measured, with lr and grad_norm."""
    row = backward(model, batch)
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()
    optimizer.step(lr)
    return {**row, "lr": lr, "grad_norm": norm}


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

"""The training loop, one for pretraining and fine-tuning: batches in, weights out, exact on resume.

    parameters -> AdamW (decay on matrices only) -> warm-up and decay -> clip -> step -> checkpoint

What is promised: killed at any moment and started again, the weights are the same to the last bit (same number of
threads), because a batch is a pure function of the step and everything else is in the checkpoint.
"""

import math
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from puna.base.config import Config, Hardware
from puna.base.errors import RunError
from puna.base.machine import prepare_machine
from puna.base.output import StageOutput
from puna.pretrain import checkpoint
from puna.pretrain.loader import Batch
from puna.pretrain.loss import cross_entropy_sum
from puna.pretrain.schedule import ScheduleConfig, factor


class OptimizerConfig(Config):
    """AdamW as Llama uses it (Touvron 2023, section 2.3): betas .9/.95, decay .1 on matrices, clip 1."""

    lr: float = Field(default=3e-3, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)


class LoopConfig(OptimizerConfig):
    """How the loop runs. `micro_batch` rows go through the model at once; gradients do not depend on it (1e-6)."""

    micro_batch: int = Field(default=8, ge=1)
    checkpoint_interval_s: Annotated[float, Hardware] = Field(default=30.0, ge=0)


def train(
    model: nn.Module,
    batch_at: Callable[[int], Batch],
    num_steps: int,
    config: LoopConfig,
    out: StageOutput,
    validate: Callable[[nn.Module], float] | None = None,
    num_validations: int = 10,
) -> list[dict[str, float]]:
    """Train `model` in place for `num_steps` batches and return the log, one row a step.

    A row holds step, tokens (so far), loss (nats a target), lr, grad_norm and, now and then, validation (nats).
    Raises RunError if the loss is not a number: the last checkpoint stands.
    """
    prepare_machine(out.threads)
    optimizer, names = make_optimizer(model, config)
    state = {"model": dict(model.named_parameters()), "optimizer": checkpoint.optimizer_tensors(optimizer, names)}
    found = checkpoint.load(out.state, state)
    step, log = (found[0], found[1]["log"]) if found else (0, [])
    first, started = step, time.monotonic()
    saved, learned = started, 0
    validations = {round((i + 1) * num_steps / num_validations) for i in range(num_validations)}
    while step < num_steps:
        lr = config.lr * factor(config.schedule, step, num_steps)
        row = train_step(model, optimizer, batch_at(step), lr, config)
        step += 1
        if not math.isfinite(row["loss"]) or not math.isfinite(row["grad_norm"]):
            raise RunError(f"the loss is {row['loss']} at step {step}: lower lr or look at the data")
        learned += int(row["targets"])
        row = {"step": step, "tokens": (log[-1]["tokens"] if log else 0) + row["targets"], **row}
        if validate and step in validations:
            row["validation"] = validate(model)
        log.append(row)
        rate = learned / (time.monotonic() - started)
        out.progress(step, num_steps, "steps", loss=round(row["loss"], 3), tokens_per_s=round(rate))
        if time.monotonic() - saved >= config.checkpoint_interval_s and step < num_steps:
            checkpoint.save(out.state, step, state, {"log": log})
            saved = time.monotonic()
    if num_steps > first:
        out.metric(tokens_per_s=learned / (time.monotonic() - started))
        checkpoint.save(out.state, num_steps, state, {"log": log})
    return log


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, lr: float, config: LoopConfig
) -> dict[str, float]:
    """One optimizer step over a batch, in micro-batches; the loss is the mean over the targets of the whole batch."""
    targets = max(1, batch.num_targets)
    total = 0.0
    for part in batch.split(config.micro_batch):
        logits = model(part.tokens, positions=part.positions, documents=part.documents)
        loss = cross_entropy_sum(logits, part.targets) / targets
        loss.backward()
        total += loss.item()
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"loss": total, "lr": lr, "grad_norm": norm, "targets": targets}


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> tuple[torch.optim.AdamW, list[str]]:
    """AdamW over the model's parameters and their names in the optimizer's order; vectors are not decayed."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [pair for pair in named if pair[1].dim() >= 2]
    vectors = [pair for pair in named if pair[1].dim() < 2]
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in matrices], "weight_decay": config.weight_decay},
        {"params": [p for _, p in vectors], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=1e-8, fused=True)
    return optimizer, [name for name, _ in matrices + vectors]


def mean_loss(model: nn.Module, batches: list[Batch]) -> float:
    """Mean nats a target over `batches`, without gradients."""
    total, targets = 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            logits = model(batch.tokens, positions=batch.positions, documents=batch.documents)
            total += cross_entropy_sum(logits, batch.targets).item()
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

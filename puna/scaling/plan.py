"""A budget or a wanted loss -> a whole plan: shape, tokens, batch, layout, memory, time, price and predicted loss.

    budget -> FLOPs -> parameters and tokens (optimum) -> shape -> layout -> MFU -> FLOPs again, until it stands

N: parameters, D: tokens learned, S: tokens served later, C: FLOPs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from puna.base.errors import ConfigError
from puna.model.config import LlamaConfig
from puna.model.flops import forward_flops, training_flops
from puna.scaling.count import checkpoint_bytes, kv_cache_bytes
from puna.scaling.devices import DEVICES, Device
from puna.scaling.law import CHINCHILLA, FLOPS_PER_WEIGHT, LossLaw
from puna.scaling.layout import Layout, best_layout, fewest_gpus
from puna.scaling.numbers import positive, short
from puna.scaling.optimum import (
    Demand,
    best_for_flops,
    best_for_loss,
    loss_of,
    missing_parameters,
    missing_text,
    tokens_for,
)
from puna.scaling.shape import MAX_PARAMETERS, MIN_PARAMETERS, llama_shape
from puna.scaling.suboptimal import Road, larger_models, smaller_models

TOKENS_PER_PARAMETER = 20.0
"""The rule of thumb after Hoffmann 2022, to stand beside what a law says."""
_BATCH_FACTOR, _BATCH_POWER = 0.2920, 0.3271
_LR_FACTOR, _LR_POWER = 0.3118, -0.1250
_FIRST_MFU, _ROUNDS = 0.4, 8
_SECONDS_PER_HOUR = 3600.0
_KINDS = ("gpu_hours", "dollars", "days", "flops", "loss")


@dataclass(frozen=True)
class Budget:
    """What may be spent (one of gpu_hours, dollars, days and flops) or must be reached (loss), and on what devices.

    Without `gpus`, the fewest that hold the training; without `mfu`, the layout's estimate; without `price`, dollars an
    hour of the device's table. Raises ConfigError for more than one kind, and for numbers that are not above 0.
    """

    gpu_hours: float | None = None
    dollars: float | None = None
    days: float | None = None
    flops: float | None = None
    loss: float | None = None
    gpus: int | None = None
    device: Device = DEVICES["H100-SXM"]
    mfu: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"budget: expected one of {', '.join(_KINDS)}, came {' and '.join(given)}")
        for name in (*given, *(name for name in ("gpus", "mfu") if getattr(self, name) is not None)):
            positive(name, getattr(self, name))
        if self.gpus is not None and self.gpus != int(self.gpus):
            raise ConfigError(f"gpus: expected a whole number, came {self.gpus}")
        if self.mfu is not None and self.mfu > 1:
            raise ConfigError(f"mfu: expected a share of the peak, at most 1, came {self.mfu}")
        if self.price is not None and not (self.price >= 0 and math.isfinite(self.price)):
            raise ConfigError(f"price: expected 0 or more dollars an hour, came {self.price}")
        if self.days is not None and self.gpus is None:
            raise ConfigError("days: expected gpus as well, came none; how many work all these days?")
        if self.dollars is not None and self.hour_price == 0:
            raise ConfigError(f"dollars: expected a price above 0 an hour, came 0 for {self.device.name}; give a price")

    @property
    def kind(self) -> str | None:
        """The name of what is given."""
        return next((name for name in _KINDS if getattr(self, name) is not None), None)

    @property
    def hour_price(self) -> float:
        """Dollars for an hour of one device."""
        return self.device.dollars_per_hour if self.price is None else self.price

    def total_flops(self, mfu: float) -> float | None:
        """FLOPs that the budget pays for; None if it is a loss, or nothing."""
        if self.flops is not None:
            return self.flops
        hours = self.gpu_hours
        if self.dollars is not None:
            hours = self.dollars / self.hour_price
        elif self.days is not None:
            hours = self.days * 24 * (self.gpus or 1)
        return None if hours is None else hours * _SECONDS_PER_HOUR * self.flops_per_second(mfu)

    def flops_per_second(self, mfu: float) -> float:
        """Of one device."""
        return self.device.peak(self.device.training_dtype) * mfu


@dataclass(frozen=True)
class Workload:
    """What is trained and how; whatever is None is chosen.

    parameters, tokens: held at these. count: how FLOPs are counted (`COUNTS`). lr, batch_tokens: otherwise by the law
    of DeepSeek (arXiv 2401.02954, section 3.1) for AdamW: lr 0.3118 C^-0.1250, batch 0.2920 C^0.3271 tokens.
    """

    parameters: float | None = None
    tokens: float | None = None
    demand: Demand = field(default_factory=Demand)
    sequence: int = 8192
    vocab_size: int | None = None
    count: str = "6nd"
    optimizer: str = "adamw"
    lr: float | None = None
    batch_tokens: float | None = None

    def __post_init__(self) -> None:
        for name in ("parameters", "tokens", "sequence", "vocab_size", "lr", "batch_tokens"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))


@dataclass(frozen=True)
class Plan:
    """What to train, what it costs and what it should reach.

    flops, gpu_hours, seconds and dollars are of training; serving is beside them, at the same MFU. mfu and flops are by
    `count`. predicted_interval: 95% over the bootstrap laws, if there were any. optimal_*: what the same 6 N D is best
    spent on, serving and lack of text aside; overhead: 6 N D beyond the least for the same loss, as a share.
    loss_with_ten_times: predicted for the same model with ten times the text ("text"), and for the best model of ten
    times 6 N D ("compute"). smaller_models, larger_models: other ways to the same loss.
    """

    config: LlamaConfig
    num_parameters: int
    num_tokens: int
    epochs: float
    flops: float
    count: str
    gpus: int
    device: str
    mfu: float
    gpu_hours: float
    seconds: float
    dollars: float
    serve_flops: float
    serve_gpu_hours: float
    serve_dollars: float
    lr: float
    batch_tokens: int
    num_steps: int
    layout: Layout
    memory_per_device_bytes: float
    checkpoint_bytes: int
    kv_cache_bytes: int
    predicted_loss: float
    predicted_interval: tuple[float, float] | None
    optimal_parameters: float
    optimal_tokens: float
    optimal_loss: float
    overhead: float
    smaller_models: list[Road]
    larger_models: list[Road]
    loss_with_ten_times: dict[str, float]

    @property
    def tokens_per_parameter(self) -> float:
        """D / N: about 20 where training compute is spent best by Hoffmann 2022, about 1,900 for Llama 3 8B."""
        return self.num_tokens / self.num_parameters


def make_plan(
    budget: Budget,
    law: LossLaw = CHINCHILLA,
    work: Workload = Workload(),
    bootstrap: Sequence[LossLaw] = (),
) -> Plan:
    """The plan with the least predicted loss for the budget, or the least FLOPs for a loss.

    A budget pays for training and serving. `bootstrap`: laws of the same fit on resampled runs, for the interval.
    Raises ConfigError, in one line that says what is missing, for what cannot be reached.
    """
    _check_given(budget, work)
    mfu = budget.mfu or _FIRST_MFU
    draft = _drafted(budget, law, work, mfu)
    # Hours buy FLOPs at an MFU, which depends on the layout, which depends on the model that the FLOPs are for.
    for _ in range(0 if budget.mfu else _ROUNDS):
        estimate = draft.layout.mfu(draft.config, budget.device, work.sequence, work.count)
        if abs(estimate / mfu - 1) < 1e-3:
            break
        mfu = estimate
        draft = _drafted(budget, law, work, mfu)
    return _written(budget, law, work, bootstrap, draft, mfu)


@dataclass(frozen=True)
class _Draft:
    config: LlamaConfig
    tokens: float
    lr: float
    layout: Layout


def _drafted(budget: Budget, law: LossLaw, work: Workload, mfu: float) -> _Draft:
    config, tokens = _model(budget, law, work, mfu)
    flops = tokens * training_flops(config, work.sequence, work.count)
    batch = work.batch_tokens or _BATCH_FACTOR * flops**_BATCH_POWER
    rows = max(1, round(min(batch, tokens) / work.sequence))
    setting = (work.sequence, rows, work.optimizer)
    gpus = budget.gpus or fewest_gpus(config, budget.device, *setting) or 1
    layout = best_layout(config, budget.device, int(gpus), *setting)
    return _Draft(config, tokens, work.lr or _LR_FACTOR * flops**_LR_POWER, layout)


def _model(budget: Budget, law: LossLaw, work: Workload, mfu: float) -> tuple[LlamaConfig, float]:
    """The shape, and the tokens that spend the budget or reach the loss exactly with its real number of parameters."""
    total, limit = budget.total_flops(mfu), work.demand.max_tokens * (1 + 1e-9)
    # A shape has 1% more or less than was asked for; where it has too few, a slightly larger one is asked for.
    for enlarged in (1.0, 1.02, 1.04, 1.08):
        config = _shape(budget, law, work, total, enlarged)
        tokens = _tokens(budget, law, work, total, config)
        enough_text = tokens <= limit and math.isfinite(tokens)
        if enough_text or work.parameters:
            break
    size, most = config.num_parameters(), work.demand.max_tokens
    if enough_text and tokens > 0:
        return config, tokens
    if budget.loss is not None:
        raise ConfigError(missing_parameters(law, budget.loss, size, work.demand))
    if tokens <= 0:
        raise ConfigError(
            f"serve_tokens: serving {short(work.demand.serve_tokens)} tokens with {short(size)} parameters takes all "
            "of the budget; spend more, or serve fewer"
        )
    raise ConfigError(
        f"unique_tokens: the plan is for {short(tokens)} tokens with {short(size)} parameters, more than "
        f"{work.demand.max_epochs:g} times {short(work.demand.unique_tokens)}, {short(most)}; give more text, more "
        "max_epochs, or more parameters"
    )


def _shape(budget: Budget, law: LossLaw, work: Workload, total: float | None, enlarged: float) -> LlamaConfig:
    ratio = 1.0  # of the FLOPs by `count` to 6 N
    for _ in range(1 if work.count == "6nd" else 6):
        wanted = enlarged * _parameters(budget, law, work, None if total is None else total / ratio)
        if work.parameters is None and not MIN_PARAMETERS <= wanted <= MAX_PARAMETERS:
            raise ConfigError(
                f"{budget.kind}: expected what is best spent on 1M to 1T parameters, came what is for {short(wanted)}; "
                "change it, or hold parameters"
            )
        config = llama_shape(wanted, work.vocab_size, work.sequence)
        ratio = training_flops(config, work.sequence, work.count) / training_flops(config, work.sequence)
    return config


def _parameters(budget: Budget, law: LossLaw, work: Workload, total: float | None) -> float:
    """How many parameters there should be; `total` in FLOPs of 6 N a token."""
    demand = work.demand
    if work.parameters is not None:
        return work.parameters
    if budget.loss is not None:
        if work.tokens is None:
            return best_for_loss(law, budget.loss, demand)[0]
        found = law.parameters_for(budget.loss, demand.effective(work.tokens))
        if math.isinf(found):
            unique = min(work.tokens, demand.unique_tokens)
            raise ConfigError(missing_text(law, budget.loss, Demand(0.0, unique, work.tokens / unique)))
        return found
    assert total is not None
    if work.tokens is None:
        return best_for_flops(law, total, demand)[0]
    return total / (6 * work.tokens + 2 * demand.serve_tokens)


def _tokens(budget: Budget, law: LossLaw, work: Workload, total: float | None, config: LlamaConfig) -> float:
    if budget.loss is not None:
        return tokens_for(law, budget.loss, config.num_parameters(), work.demand)
    if total is None:
        assert work.tokens is not None
        return work.tokens
    served = work.demand.serve_tokens * forward_flops(config, work.sequence, work.count)
    return (total - served) / training_flops(config, work.sequence, work.count)


def _check_given(budget: Budget, work: Workload) -> None:
    held = [name for name in ("parameters", "tokens") if getattr(work, name) is not None]
    if budget.kind is None and len(held) < 2:
        came = f"came {held[0]} alone" if held else "came none"
        raise ConfigError(f"budget: expected one of {', '.join(_KINDS)}, or both parameters and tokens, {came}")
    if budget.kind is not None and len(held) == 2:
        raise ConfigError(
            f"budget: expected two of {budget.kind}, parameters and tokens at the most, came all: leave one"
        )


def _written(
    budget: Budget, law: LossLaw, work: Workload, bootstrap: Sequence[LossLaw], draft: _Draft, mfu: float
) -> Plan:
    config, tokens, demand, layout = draft.config, round(draft.tokens), work.demand, draft.layout
    size, gpus = config.num_parameters(), layout.split.gpus
    flops = tokens * training_flops(config, work.sequence, work.count)
    serve_flops = demand.serve_tokens * forward_flops(config, work.sequence, work.count)
    hours, serve_hours = (c / budget.flops_per_second(mfu) / _SECONDS_PER_HOUR for c in (flops, serve_flops))
    loss = loss_of(law, size, tokens, demand)
    by_law = FLOPS_PER_WEIGHT * size * tokens
    best = law.optimal(by_law)
    least = law.optimal_for(loss)
    batch = layout.batch_rows * work.sequence
    tenfold = replace(demand, unique_tokens=10 * demand.unique_tokens)
    return Plan(
        config=config,
        num_parameters=size,
        num_tokens=tokens,
        epochs=max(1.0, tokens / demand.unique_tokens),
        flops=flops,
        count=work.count,
        gpus=gpus,
        device=budget.device.name,
        mfu=mfu,
        gpu_hours=hours,
        seconds=hours / gpus * _SECONDS_PER_HOUR,
        dollars=hours * budget.hour_price,
        serve_flops=serve_flops,
        serve_gpu_hours=serve_hours,
        serve_dollars=serve_hours * budget.hour_price,
        lr=draft.lr,
        batch_tokens=batch,
        num_steps=math.ceil(tokens / batch),
        layout=layout,
        memory_per_device_bytes=layout.memory.resident,
        checkpoint_bytes=checkpoint_bytes(config, work.optimizer),
        kv_cache_bytes=kv_cache_bytes(config),
        predicted_loss=loss,
        predicted_interval=_interval([loss_of(one, size, tokens, demand) for one in bootstrap]),
        optimal_parameters=best[0],
        optimal_tokens=best[1],
        optimal_loss=law.loss(*best),
        overhead=size * tokens / (least[0] * least[1]) - 1,
        smaller_models=smaller_models(law, loss),
        larger_models=larger_models(law, loss),
        loss_with_ten_times={
            "text": loss_of(law, size, 10 * tokens, tenfold),
            "compute": law.loss(*law.optimal(10 * by_law)),
        },
    )


def _interval(losses: list[float]) -> tuple[float, float] | None:
    if not losses:
        return None
    low, high = np.quantile(losses, [0.025, 0.975])
    return float(low), float(high)

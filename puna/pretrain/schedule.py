"""Learning-rate schedules as factors of the peak rate, by step."""

import math
from typing import Literal

from pydantic import Field

from puna.base.config import Config


class ScheduleConfig(Config):
    """`wsd`: warm-up, stable, then linear decay over the last `decay` share; `cosine`: Llama 3's (8B: 3e-4 to 3e-6)."""

    kind: Literal["wsd", "cosine"] = "wsd"
    warmup_steps: int = Field(default=30, ge=0)
    decay: float = Field(default=0.4, ge=0.0, le=1.0)
    final: float = Field(default=0.0, ge=0.0, le=1.0)


def factor(config: ScheduleConfig, step: int, num_steps: int) -> float:
    """The learning rate of `step` (0-based) as a share of the peak, in [0, 1]; the last step is just above `final`."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    return _SCHEDULES[config.kind](config, step, num_steps)


def _wsd(config: ScheduleConfig, step: int, num_steps: int) -> float:
    decay_steps = config.decay * num_steps
    left = num_steps - step
    if left >= decay_steps:
        return 1.0
    return config.final + (1.0 - config.final) * left / decay_steps


def _cosine(config: ScheduleConfig, step: int, num_steps: int) -> float:
    share = (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps)
    return config.final + (1.0 - config.final) * 0.5 * (1.0 + math.cos(math.pi * share))


_SCHEDULES = {"wsd": _wsd, "cosine": _cosine}

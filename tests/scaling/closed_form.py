"""A witness by the derivative: the cheapest model over training and D_inf tokens of use (Sardana 2023, 2401.00448).

Minimised is 6 N D + 2 N D_inf over the sizes and tokens that reach one loss. With p = A / N^alpha, the part of the loss
above the floor that the size leaves, the derivative is 0 where

    D (alpha p / (beta (L - E - p)) - 1) = D_inf / 3,        D = (B / (L - E - p))^(1 / beta)

The left side grows with p from 0 at Chinchilla's optimum without end: so there is one answer, and the more a model is
used, the smaller it should be and the longer it should be trained.
"""

import math
from dataclasses import dataclass

from puna.base.errors import ConfigError
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw

USE_FLOPS_PER_WEIGHT = 2.0
"""A multiplication and an addition for each parameter and token read or written."""


@dataclass(frozen=True)
class InferenceOptimum:
    """Parameters and tokens of training; FLOPs of training and of use."""

    parameters: float
    tokens: float
    training_flops: float
    use_flops: float

    @property
    def flops(self) -> float:
        """Of the whole life."""
        return self.training_flops + self.use_flops


def inference_optimum(law: LossLaw, loss: float, used_tokens: float) -> InferenceOptimum:
    """The least FLOPs that reach `loss` and then read or write `used_tokens`; as `law.optimal_for` for 0.

    Raises ConfigError if no size reaches the loss, or used_tokens is below 0.
    """
    if not (used_tokens >= 0 and math.isfinite(used_tokens)):
        raise ConfigError(f"used_tokens: expected 0 or more, came {used_tokens}")
    parameters, tokens = law.optimal_for(loss)
    above = loss - law.floor
    if used_tokens:
        left = above / (1 + math.exp(-_balance(law, above, used_tokens)))
        parameters, tokens = (law.a / (above - left)) ** (1 / law.alpha), (law.b / left) ** (1 / law.beta)
    return InferenceOptimum(
        parameters, tokens, FLOPS_PER_WEIGHT * parameters * tokens, USE_FLOPS_PER_WEIGHT * parameters * used_tokens
    )


def _balance(law: LossLaw, above: float, used_tokens: float) -> float:
    """log((L - E - p) / p) at the optimum, by bisection; both sides of the equation in logarithms."""
    wanted = math.log(USE_FLOPS_PER_WEIGHT / FLOPS_PER_WEIGHT * used_tokens)

    def side(balance: float) -> float:
        log_tokens = (math.log(law.b / above) + math.log1p(math.exp(-balance))) / law.beta
        return log_tokens + math.log(math.expm1(math.log(law.alpha / law.beta) - balance))

    high = math.log(law.alpha / law.beta)  # Chinchilla's optimum, where the left side is 0
    low = high - 1
    while side(low) < wanted:
        low -= high - low
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return low
        low, high = (middle, high) if side(middle) > wanted else (low, middle)

"""Roads beside Chinchilla's optimum: a smaller or larger model that reaches the same loss, and what it costs more.

With k_N times the best parameters the same loss wants k_D times the best tokens; training then costs k_N k_D - 1 more.
Below (A / (L - E))^(1 / alpha) parameters, or (B / (L - E))^(1 / beta) tokens, nothing reaches it.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from puna.base.errors import ConfigError
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw

FACTORS = (0.75, 0.5, 0.25)


@dataclass(frozen=True)
class Road:
    """Parameters and tokens that reach the optimum's loss, as factors of the best ones, and the share of FLOPs more."""

    parameters: float
    tokens: float
    parameters_factor: float
    tokens_factor: float
    overhead: float


def hold_parameters(law: LossLaw, flops: float, factor: float) -> Road:
    """`factor` times the best parameters for so many FLOPs, and the tokens that bring them to the optimum's loss.

    Raises ConfigError if no number of tokens does.
    """
    best, tokens = _optimum(law, flops, factor)
    loss = law.loss(best, tokens)
    parameters = factor * best
    needed = law.tokens_for(loss, parameters)
    if not math.isfinite(needed):
        least = least_parameters(law, loss)
        raise ConfigError(
            f"factor: expected above {least / best:.4f}, since no number of tokens brings fewer than {least:.4g} "
            f"parameters to {loss:.4f}, came {factor}"
        )
    return _road(parameters, needed, factor, needed / tokens)


def hold_tokens(law: LossLaw, flops: float, factor: float) -> Road:
    """`factor` times the best tokens for so many FLOPs, and the parameters that reach the optimum's loss with them.

    Raises ConfigError if no number of parameters does.
    """
    parameters, best = _optimum(law, flops, factor)
    loss = law.loss(parameters, best)
    tokens = factor * best
    needed = law.parameters_for(loss, tokens)
    if not math.isfinite(needed):
        least = least_tokens(law, loss)
        raise ConfigError(
            f"factor: expected above {least / best:.4f}, since no number of parameters reaches {loss:.4f} on fewer "
            f"than {least:.4g} tokens, came {factor}"
        )
    return _road(needed, tokens, needed / parameters, factor)


def smaller_models(law: LossLaw, loss: float, factors: Sequence[float] = FACTORS) -> list[Road]:
    """Hold the model at parts of the best size, and add data until it reaches `loss`; where that is possible."""
    return _possible(hold_parameters, law, loss, factors)


def larger_models(law: LossLaw, loss: float, factors: Sequence[float] = FACTORS) -> list[Road]:
    """Hold the data at parts of the best tokens, and add parameters until they reach `loss`; where that is possible."""
    return _possible(hold_tokens, law, loss, factors)


def least_parameters(law: LossLaw, loss: float) -> float:
    """The size below which no number of tokens reaches the loss. Raises ConfigError if no size does."""
    return (law.a / law.above_floor(loss)) ** (1 / law.alpha)


def least_tokens(law: LossLaw, loss: float) -> float:
    """The tokens below which no size reaches the loss. Raises ConfigError if no number of tokens does."""
    return (law.b / law.above_floor(loss)) ** (1 / law.beta)


def _possible(
    hold: Callable[[LossLaw, float, float], Road], law: LossLaw, loss: float, factors: Sequence[float]
) -> list[Road]:
    parameters, tokens = law.optimal_for(loss)
    roads = []
    for factor in factors:
        with contextlib.suppress(ConfigError):  # too small for any amount of the other
            roads.append(hold(law, FLOPS_PER_WEIGHT * parameters * tokens, factor))
    return roads


def _optimum(law: LossLaw, flops: float, factor: float) -> tuple[float, float]:
    if not (factor > 0 and math.isfinite(factor)):
        raise ConfigError(f"factor: expected a number above 0, came {factor}")
    return law.optimal(flops)


def _road(parameters: float, tokens: float, parameters_factor: float, tokens_factor: float) -> Road:
    return Road(parameters, tokens, parameters_factor, tokens_factor, parameters_factor * tokens_factor - 1)

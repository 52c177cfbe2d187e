"""Data-constrained training: what tokens read again, and parameters beyond what the text can fill, are worth.

Muennighoff 2023 (arXiv 2305.16264, section 3): of U unique tokens read 1 + R times, D' = U + U r (1 - exp(-R / r))
count as fresh ones, r = R*_D; so repeating is worth nearly as much as new text up to about four epochs, and never more
than (1 + r) U tokens. The same for parameters beyond U_N, those for which U tokens are optimal, with R*_N.

P points, R resamples.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.bootstrap import Interval, interval, resample
from puna.scaling.fit.huber import DELTA, descend
from puna.scaling.fit.points import Float64, positive
from puna.scaling.law import LossLaw


@dataclass(frozen=True)
class RepeatedLaw:
    """A law of fresh text, with R*_D (`tokens_reach`) and R*_N (`parameters_reach`): repetitions worth having."""

    base: LossLaw
    tokens_reach: float
    parameters_reach: float

    def __post_init__(self) -> None:
        for name in ("tokens_reach", "parameters_reach"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name}: expected a number above 0, came {value}")

    def effective_tokens(self, tokens: float, unique: float) -> float:
        """Fresh tokens that `tokens` of `unique` ones are worth."""
        return float(_worth(np.array(min(unique, tokens)), np.array(tokens), self.tokens_reach))

    def effective_parameters(self, parameters: float, unique: float) -> float:
        """Parameters that so many are worth on `unique` tokens."""
        filled = min(parameters, fitting_parameters(self.base, unique))
        return float(_worth(np.array(filled), np.array(parameters), self.parameters_reach))

    def loss(self, parameters: float, tokens: float, unique: float) -> float:
        """Nats a token of a run over `tokens`, of which `unique` are different. Raises ConfigError unless above 0."""
        if not unique > 0:
            raise ConfigError(f"unique: expected a number above 0, came {unique}")
        self.base.loss(parameters, tokens)  # refuses what is not above 0
        return self.base.loss(
            self.effective_parameters(parameters, min(unique, tokens)), self.effective_tokens(tokens, unique)
        )


MUENNIGHOFF = RepeatedLaw(
    LossLaw(floor=math.exp(0.6254804), a=math.exp(6.255414), alpha=0.3526596, b=math.exp(7.3049974), beta=0.3526596),
    tokens_reach=15.387756,
    parameters_reach=5.309743,
)
"""C4, as published (appendix A): 1.87 + 521 / N'^0.353 + 1488 / D'^0.353."""


@dataclass(frozen=True, eq=False)
class RepeatedFit:
    """The law of the least loss, and the other local minima: with few repetitions the valley is long and flat.

    residuals: log measured - log predicted loss [P]; objective: the sum of their Huber losses, as published; minima:
    (R*_D, R*_N, objective) of each, the least first; samples: R*_D and R*_N of each resample [R, 2].
    """

    law: RepeatedLaw
    residuals: Float64
    objective: float
    minima: tuple[tuple[float, float, float], ...]
    samples: Float64

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Of tokens_reach or parameters_reach."""
        names = ("tokens_reach", "parameters_reach")
        if name not in names:
            raise ConfigError(f"name: expected one of {', '.join(names)}, came {name!r}")
        return interval(self.samples[:, names.index(name)], level)


def fitting_parameters(law: LossLaw, tokens: float) -> float:
    """U_N: the parameters for which so many tokens are optimal, where alpha A / N^alpha = beta B / D^beta."""
    return float((law.alpha * law.a / (law.beta * law.b)) ** (1 / law.alpha) * tokens ** (law.beta / law.alpha))


def fit_repeated(
    parameters: npt.ArrayLike,
    tokens: npt.ArrayLike,
    unique: npt.ArrayLike,
    losses: npt.ArrayLike,
    base: LossLaw,
    *,
    delta: float = DELTA,
    resamples: int = 0,
    seed: int = 0,
) -> RepeatedFit:
    """R*_D and R*_N of the least Huber loss of log losses, the base law kept, as Muennighoff 2023 does.

    Both are sought between 0.001 and a million, beyond which nothing changes. Points whose loss rises with more epochs
    or parameters should be left out before: the law only flattens. Raises DataError for fewer than 4 points, values not
    above 0, more unique tokens than tokens, or no repetition at all.
    """
    n, d, u, y = positive(4, parameters=parameters, tokens=tokens, unique=unique, losses=losses)
    if (u > d).any():
        place = int(np.argmax(u > d))
        raise DataError(f"unique: expected at most tokens = {d[place]:g}, came {u[place]:g} at place {place}")
    filled = np.minimum(n, [fitting_parameters(base, value) for value in u])
    if not (d > u).any() or not (n > filled).any():
        raise DataError(
            "tokens: expected some read more than once, and some parameters beyond U_N, came none; add such"
        )
    target = np.log(y)

    def model(theta: Float64) -> tuple[Float64, Float64]:
        reach_d, reach_n = np.exp(theta[:, :1]), np.exp(theta[:, 1:])
        fresh, big = _worth(u, d, reach_d), _worth(filled, n, reach_n)
        of_tokens, of_parameters = base.b * fresh**-base.beta, base.a * big**-base.alpha
        value = base.floor + of_tokens + of_parameters
        slope_d = -base.beta * of_tokens / fresh * _worth_slope(u, d, reach_d)
        slope_n = -base.alpha * of_parameters / big * _worth_slope(filled, n, reach_n)
        return np.log(value), np.stack([slope_d / value, slope_n / value], -1)

    grid = np.log(np.geomspace(0.5, 200, 7))
    starts = np.stack([axis.ravel() for axis in np.meshgrid(grid, grid)], -1)
    theta, objectives = descend(model, starts, target, np.ones((1, len(y))), delta)
    order = np.argsort(objectives, kind="stable")
    theta, objectives = theta[order], objectives[order]
    reaches = _within(theta)
    distinct = _distinct(reaches)
    # Along the valley another minimum may be the least of a resample, so each starts from the five best.
    few = theta[distinct[:5]]
    weights = np.repeat(resample(len(y), resamples, seed), len(few), 0)
    others, heights = descend(model, np.tile(few, (resamples, 1)), target, weights, delta)
    least = heights.reshape(resamples, len(few)).argmin(-1)
    return RepeatedFit(
        law=RepeatedLaw(base, *(float(value) for value in reaches[0])),
        residuals=target - model(theta[:1])[0][0],
        objective=float(objectives[0]),
        minima=tuple((float(reaches[one, 0]), float(reaches[one, 1]), float(objectives[one])) for one in distinct),
        samples=_within(others.reshape(resamples, len(few), 2)[np.arange(resamples), least]),
    )


def _within(theta: Float64) -> Float64:
    return np.exp(np.clip(theta, math.log(1e-3), math.log(1e6)))


def _distinct(reaches: Float64) -> list[int]:
    """Which minima differ from those before them by more than a percent."""
    kept: list[int] = []
    logs = np.log(reaches)
    for place in range(len(logs)):
        if all(np.abs(logs[place] - logs[other]).max() > 0.01 for other in kept):
            kept.append(place)
    return kept


def _worth(once: Float64, used: Float64, reach: Float64 | float) -> Float64:
    worth: Float64 = once * (1 + reach * -np.expm1(-(used / once - 1) / reach))
    return worth


def _worth_slope(once: Float64, used: Float64, reach: Float64) -> Float64:
    """Of `_worth` by log reach."""
    turns = (used / once - 1) / reach
    slope: Float64 = once * reach * (-np.expm1(-turns) - turns * np.exp(-turns))
    return slope

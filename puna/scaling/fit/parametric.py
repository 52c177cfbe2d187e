"""Approach 3: E + A / N^alpha + B / D^beta fitted to runs of any sizes and lengths (Hoffmann 2022, section 3.3).

Minimised is Huber's loss (delta 0.001) of log measured - log predicted loss. Hoffmann's own minimiser stopped too
early, which made their printed law disagree with their approaches 1 and 2 (Besiroglu 2024, arXiv 2404.10102); here a
grid of exponents with projected coefficients finds where to start, and the descent goes on until nothing is gained.
Besiroglu's refit drops the five greatest losses of 245, runs hardly begun; `without_greatest` does so.

P points, R resamples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError
from puna.scaling.fit.bootstrap import Interval, interval, resample
from puna.scaling.fit.huber import DELTA, descend
from puna.scaling.fit.points import Float64, positive, varied
from puna.scaling.fit.surface import Surface
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw

_COLUMNS = ("floor", "a", "alpha", "b", "beta")


@dataclass(frozen=True, eq=False)
class ParametricFit:
    """A law, what it leaves, and how far it would move.

    residuals: log measured - log predicted loss [P]; objective: their mean Huber loss; samples: floor, a, alpha, b and
    beta of each resample [R, 5].
    """

    law: LossLaw
    residuals: Float64
    objective: float
    samples: Float64

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Of floor, a, alpha, b, beta, or `share`: the exponent of N*(C), beta / (alpha + beta)."""
        floor, a, alpha, b, beta = self.samples.T
        if name not in (*_COLUMNS, "share"):
            raise ConfigError(f"name: expected one of {', '.join(_COLUMNS)}, share, came {name!r}")
        values = dict(zip((*_COLUMNS, "share"), (floor, a, alpha, b, beta, beta / (alpha + beta)), strict=True))
        return interval(values[name], level)

    def loss_interval(self, parameters: float, tokens: float, level: float = 0.95) -> Interval:
        """Of the law's loss there, in nats a token; a single run scatters more, by its own noise."""
        self.law.loss(parameters, tokens)  # refuses what is not above 0
        floor, a, alpha, b, beta = self.samples.T
        return interval(floor + a * parameters**-alpha + b * tokens**-beta, level)

    def optimal_interval(self, flops: float, level: float = 0.95) -> tuple[Interval, Interval]:
        """Of the best parameters and the best tokens for so many FLOPs."""
        self.law.optimal(flops)
        _, a, alpha, b, beta = self.samples.T
        product = flops / FLOPS_PER_WEIGHT
        best = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * product ** (beta / (alpha + beta))
        return interval(best, level), interval(product / best, level)


def fit_parametric(
    parameters: npt.ArrayLike,
    tokens: npt.ArrayLike,
    losses: npt.ArrayLike,
    *,
    delta: float = DELTA,
    tied: bool = False,
    resamples: int = 0,
    seed: int = 0,
) -> ParametricFit:
    """Fit the law to P points; tied: with alpha = beta, as Muennighoff 2023 does.

    Resamples start at the fit itself. Raises DataError for fewer than 6 points, values not above 0, and parameters,
    tokens or losses that do not vary; ConfigError if the best law has an exponent that is not above 0.
    """
    columns = positive(6, parameters=parameters, tokens=tokens, losses=losses)
    varied(parameters=columns[0], tokens=columns[1], losses=columns[2])
    if not delta > 0:
        raise ConfigError(f"delta: expected a number above 0, came {delta}")
    surface, target = Surface(columns[0], columns[1], tied), np.log(columns[2])
    theta, objectives = descend(surface, surface.starts(columns[2], delta), target, np.ones((1, len(target))), delta)
    best = theta[np.argmin(objectives)][None]
    weights = resample(len(target), resamples, seed)
    others, _ = descend(surface, np.repeat(best, resamples, 0), target, weights, delta)
    return ParametricFit(
        law=LossLaw(*(float(value) for value in surface.coefficients(best)[0])),
        residuals=target - surface(best)[0][0],
        objective=float(objectives.min()) / len(target),
        samples=surface.coefficients(others),
    )


def without_greatest(losses: npt.ArrayLike, count: int) -> npt.NDArray[np.bool_]:
    """Which points [P] stay when those with the `count` greatest losses go (of equal ones all)."""
    (column,) = positive(count + 1, losses=losses)
    return column < np.sort(column)[len(column) - count] if count else np.ones(len(column), bool)

"""What experts are worth: the bilinear law of routed models (Clark 2022, arXiv 2202.01169, equations 1 and 11).

    log L = a log N + b log E' + c log N log E' + d,     1 / E' = 1 / (E - 1 + 1 / (1/s - 1/m)) + 1 / m

N: parameters that one token uses without its choice of experts, as a dense model has; E: experts, 1 for a dense model;
s and m: where E' begins and ends (`start`, `most`). Logarithms to base 10, all models trained on the same tokens. With
c above 0 experts are worth less the larger the model is, and nothing from `cutoff` on.

P points, R resamples.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.bootstrap import Interval, interval, resample
from puna.scaling.fit.huber import descend
from puna.scaling.fit.points import Float64, positive, varied


@dataclass(frozen=True)
class ExpertLaw:
    """`start` is above 0 and `most` above it. Raises ConfigError otherwise."""

    a: float
    b: float
    c: float
    d: float
    start: float
    most: float

    def __post_init__(self) -> None:
        if not 0 < self.start < self.most < math.inf:
            raise ConfigError(f"start, most: expected 0 < start < most, came {self.start} and {self.most}")

    def loss(self, parameters: float, experts: float) -> float:
        """Nats a token."""
        log_n, log_e = self._logs(parameters, experts)
        return float(10 ** (self.a * log_n + self.b * log_e + self.c * log_n * log_e + self.d))

    def effective_parameters(self, parameters: float, experts: float) -> float:
        """Of the dense model that has the same loss."""
        log_n, log_e = self._logs(parameters, experts)
        log_start = math.log10(self.start)
        slope = self.a + self.c * log_start
        return float(10 ** (((self.a + self.c * log_e) * log_n + self.b * (log_e - log_start)) / slope))

    def experts_for(self, parameters: float, effective: float) -> float:
        """Experts that make so many parameters worth `effective` ones. Raises ConfigError if no number does."""
        log_n, log_start = self._logs(parameters, 1)
        (log_wanted, _) = self._logs(effective, 1)
        slope = self.a + self.c * log_start
        log_e = (slope * log_wanted - self.a * log_n + self.b * log_start) / (self.b + self.c * log_n)
        if not log_start - 1e-9 <= log_e < math.log10(self.most):
            worth = self.effective_parameters(parameters, 1e12)
            raise ConfigError(
                f"effective: expected between {min(parameters, worth):.4g} and {max(parameters, worth):.4g}, which is "
                f"what experts can make of {parameters:.4g} parameters, came {effective:.4g}"
            )
        saturating = 1 / (1 / 10**log_e - 1 / self.most)
        return max(1.0, float(saturating + 1 - 1 / (1 / self.start - 1 / self.most)))

    @property
    def cutoff(self) -> float:
        """Parameters from which on experts do not help; infinite if there is no such size."""
        return float(10 ** (-self.b / self.c)) if self.c > 0 else math.inf

    def _logs(self, parameters: float, experts: float) -> tuple[float, float]:
        if not (parameters > 0 and math.isfinite(parameters)):
            raise ConfigError(f"parameters: expected a number above 0, came {parameters}")
        if not (experts >= 1 and math.isfinite(experts)):
            raise ConfigError(f"experts: expected 1 or more, came {experts}")
        return math.log10(parameters), float(_log_saturated(np.array(experts), self.start, self.most))


S_BASE = ExpertLaw(a=-0.082, b=-0.108, c=0.009, d=1.104, start=1.847, most=314.478)
RL_R = ExpertLaw(a=-0.083, b=-0.126, c=0.012, d=1.111, start=1.880, most=469.982)
HASH = ExpertLaw(a=-0.087, b=-0.136, c=0.012, d=1.157, start=4.175, most=477.741)
"""Three ways of routing, as Clark 2022 prints them (table 3), rounded: the cutoffs want more digits."""


@dataclass(frozen=True, eq=False)
class ExpertFit:
    """residuals: log10 measured - log10 predicted loss [P]; samples: a, b, c, d, start and most of resamples [R, 6]."""

    law: ExpertLaw
    residuals: Float64
    samples: Float64

    def effective_interval(self, parameters: float, experts: float, level: float = 0.95) -> Interval:
        """Of the dense model's parameters; a, b and c themselves go together and scatter far more."""
        self.law.loss(parameters, experts)  # refuses what cannot be
        a, b, c, _, start, most = self.samples.T
        log_start, log_e = np.log10(start), _log_saturated(np.array(experts), start, most)
        logs = ((a + c * log_e) * math.log10(parameters) + b * (log_e - log_start)) / (a + c * log_start)
        return interval(10**logs, level)


def fit_experts(
    parameters: npt.ArrayLike, experts: npt.ArrayLike, losses: npt.ArrayLike, *, resamples: int = 0, seed: int = 0
) -> ExpertFit:
    """Least squares in log losses, from the best of many (start, most), for each of which a, b, c and d are linear.

    Raises DataError for fewer than 8 points, values not above 0, fewer than 1 expert, fewer than 4 different numbers of
    experts, or parameters that do not vary.
    """
    n, e, y = positive(8, parameters=parameters, experts=experts, losses=losses)
    varied(parameters=n)
    if e.min() < 1:
        raise DataError(f"experts: expected 1 or more, came {e.min():g}; a dense model has 1")
    if len(np.unique(e)) < 4:
        raise DataError(
            f"experts: expected at least 4 different numbers, came {len(np.unique(e))}; start and most need them"
        )
    centre, target = float(np.log10(n).mean()), np.log10(y)
    log_n = np.log10(n) - centre
    best = _best_of_ends(log_n, e, target)[None]

    def model(theta: Float64) -> tuple[Float64, Float64]:
        """Of a, b + c centre, c, d + a centre, log start, log (most / start)."""
        a, b, c, d = (theta[:, place : place + 1] for place in range(4))
        start = np.exp(theta[:, 4:5])
        most = start * np.exp(theta[:, 5:])
        log_e = _log_saturated(e, start, most)
        offset = 1 / (1 / start - 1 / most)
        beyond = e - 1 + offset
        # Of 1 / E' by log start and by log (most / start), and so of log10 E'.
        by_start, by_ratio = -offset / beyond**2 - 1 / most, offset**2 / (most * beyond**2) - 1 / most
        pull = -(b + c * log_n) * 10**log_e / math.log(10)
        ones = np.ones_like(log_e)
        slopes = [log_n * ones, log_e, log_n * log_e, ones, pull * by_start, pull * by_ratio]
        return a * log_n + b * log_e + c * log_n * log_e + d, np.stack(slopes, -1)

    best, _ = descend(model, best, target, np.ones((1, len(y))), math.inf)
    weights = resample(len(y), resamples, seed)
    others, _ = descend(model, np.repeat(best, resamples, 0), target, weights, math.inf)
    a, b, c, d, log_start, log_ratio = np.concatenate([best, others]).T
    start = np.exp(log_start)
    numbers = np.stack([a, b - c * centre, c, d - a * centre, start, start * np.exp(log_ratio)], -1)
    law = ExpertLaw(*(float(value) for value in numbers[0]))
    return ExpertFit(law, target - model(best)[0][0], numbers[1:])


def _best_of_ends(log_n: Float64, experts: Float64, target: Float64) -> Float64:
    """a, b, c, d, log start and log (most / start) [6] of the best of a grid of the last two."""
    grid = np.meshgrid(np.log(np.geomspace(0.5, 20, 25)), np.log(np.geomspace(4, 1e5, 40)))
    log_start, log_ratio = (axis.ravel() for axis in grid)
    start = np.exp(log_start)[:, None]
    log_e = _log_saturated(experts, start, start * np.exp(log_ratio)[:, None])
    wide = np.broadcast_to(log_n, log_e.shape)
    q, r = np.linalg.qr(np.stack([wide, log_e, wide * log_e, np.ones_like(log_e)], -1))
    inside = np.einsum("gpk,p->gk", q, target)
    residual = target - np.einsum("gpk,gk->gp", q, inside)
    best = int(np.argmin((residual**2).sum(-1)))
    return np.array([*np.linalg.solve(r[best], inside[best]), log_start[best], log_ratio[best]])


def _log_saturated(experts: Float64, start: Float64 | float, most: Float64 | float) -> Float64:
    offset = 1 / (1 / start - 1 / most)
    log_e: Float64 = -np.log10(1 / (experts - 1 + offset) + 1 / most)
    return log_e

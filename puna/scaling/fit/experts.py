"""What experts are worth: the bilinear law of routed models (Clark 2022, arXiv 2202.01169, equations 1 and 11).

    log L = a log N + b log E' + c log N log E' + d,     1 / E' = 1 / (E - 1 + 1 / (1/s - 1/m)) + 1 / m

N: parameters that one token uses without its choice of experts, as a dense model has; E: experts, 1 for a dense model;
s and m: where E' begins and ends (`start`, `most`). Logarithms to base 10, all models trained on the same tokens. With
c above 0 experts are worth less the larger the model is, and nothing from `cutoff` on.

P points.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
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
    """residuals: log10 measured - log10 predicted loss [P]."""

    law: ExpertLaw
    residuals: Float64


def fit_experts(parameters: npt.ArrayLike, experts: npt.ArrayLike, losses: npt.ArrayLike) -> ExpertFit:
    """Least squares in log losses: linear in a, b, c and d for each (start, most), which are searched.

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
    log_n, target = np.log10(n), np.log10(y)

    def projected(log_start: Float64, log_ratio: Float64) -> tuple[Float64, Float64]:
        """(a, b, c, d) [G, 4] and squared errors [G] for log start and log (most / start)."""
        start = np.exp(log_start)[:, None]
        log_e = _log_saturated(e, start, start * np.exp(log_ratio)[:, None])
        wide = np.broadcast_to(log_n, log_e.shape)
        # Centred and scaled by QR, since log N, log E' and their product go together.
        basis = np.stack([wide, log_e, wide * log_e, np.ones_like(log_e)], -1)
        q, r = np.linalg.qr(basis)
        inside = np.einsum("gpk,p->gk", q, target)
        residual = target - np.einsum("gpk,gk->gp", q, inside)
        return np.linalg.solve(r, inside[:, :, None])[:, :, 0], (residual**2).sum(-1)

    starts, ratios = np.log(np.geomspace(0.5, 20, 25)), np.log(np.geomspace(4, 1e5, 40))
    for _ in range(12):
        log_start, log_ratio = (axis.ravel() for axis in np.meshgrid(starts, ratios))
        coefficients, squares = projected(log_start, log_ratio)
        best = int(np.argmin(squares))
        starts = _around(starts, log_start[best])
        ratios = np.maximum(_around(ratios, log_ratio[best]), math.log(1.1))  # most stays above start
    a, b, c, d = (float(value) for value in coefficients[best])
    start = math.exp(log_start[best])
    law = ExpertLaw(a, b, c, d, start, start * math.exp(log_ratio[best]))
    predicted = [law.loss(*point) for point in zip(n.tolist(), e.tolist(), strict=True)]
    return ExpertFit(law, target - np.log10(predicted))


def _around(grid: Float64, best: float) -> Float64:
    """A grid of half the width, around the best place of the last one."""
    reach = (grid[-1] - grid[0]) / 4
    return np.linspace(best - reach, best + reach, len(grid))


def _log_saturated(experts: Float64, start: Float64 | float, most: Float64 | float) -> Float64:
    offset = 1 / (1 / start - 1 / most)
    log_e: Float64 = -np.log10(1 / (experts - 1 + offset) + 1 / most)
    return log_e

"""Score = low + (high - low) / (1 + exp(-(bias + weights . x))): how a benchmark answers to what drives it.

P points, K drivers, R starts or resamples.
"""

import math
from dataclasses import dataclass

import numpy as np

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.huber import descend
from puna.scaling.fit.points import Float64


@dataclass(frozen=True, eq=False)
class Sigmoid:
    """From the score of guessing (low) to the best there is (high)."""

    weights: Float64
    bias: float
    low: float
    high: float

    def at(self, drivers: Float64) -> Float64:
        """Scores [...] of drivers [..., K]."""
        logits = drivers @ self.weights + self.bias
        scores: Float64 = self.low + (self.high - self.low) * (1 + np.tanh(logits / 2)) / 2
        return scores


def fit_sigmoid(
    drivers: Float64, scores: Float64, low: float = 0.0, high: float = 1.0, weights: Float64 | None = None
) -> list[Sigmoid]:
    """Least squares in the scores, once for each row of point weights [R, P] (none: once, all alike).

    drivers [P, K], scores [P]. Raises DataError for fewer points than K + 2 and drivers that do not vary; ConfigError
    unless low < high.
    """
    if not low < high:
        raise ConfigError(f"low, high: expected low below high, came {low} and {high}")
    count, size = drivers.shape
    if count < size + 2:
        raise DataError(f"scores: expected at least {size + 2} points for {size} drivers, came {count}; measure more")
    centre, scale = drivers.mean(0), drivers.std(0)
    if not (scale > 1e-12 * np.abs(drivers).max()).all():
        raise DataError("drivers: expected values that vary, came a constant; measure other models")
    design = np.column_stack([np.ones(count), (drivers - centre) / scale])

    def model(theta: Float64) -> tuple[Float64, Float64]:
        share = (1 + np.tanh(theta @ design.T / 2)) / 2
        slope = (high - low) * share * (1 - share)
        return low + (high - low) * share, slope[:, :, None] * design

    # From the line through clipped logits, and flatter ones, since a clipped start may be too steep to move.
    shares = np.clip((scores - low) / (high - low), 0.02, 0.98)
    line = np.linalg.lstsq(design, np.log(shares / (1 - shares)), rcond=None)[0]
    starts = np.stack([line * factor for factor in (1.0, 0.5, 2.0, 0.1)])
    theta, errors = descend(model, starts, scores, np.ones((1, count)), math.inf)
    best = theta[np.argmin(errors)][None]
    if weights is not None:
        best, _ = descend(model, np.repeat(best, len(weights), 0), scores, weights, math.inf)
    slopes = best[:, 1:] / scale
    return [Sigmoid(slope, float(row[0] - slope @ centre), low, high) for row, slope in zip(best, slopes, strict=True)]

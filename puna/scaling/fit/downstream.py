"""A benchmark's score forecast from small runs in two steps (Llama 3, arXiv 2407.21783, section 3.2.1).

First the normalised negative log-likelihood of the right answer over log FLOPs, by a line through the small runs; then
accuracy over it, by a sigmoid through small runs and finished larger models alike. The first goes smoothly where
accuracy still looks like guessing. It is a line over the range of one's runs at best: the loss of text itself bends,
and is better foretold by a law (`overtrained`, `parametric`), whose losses go into `Forecast.sigmoid`.

S small runs, M models, R resamples.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.bootstrap import Interval, interval, resample
from puna.scaling.fit.line import LineFit, fit_line
from puna.scaling.fit.points import Float64, finite, positive, varied
from puna.scaling.fit.sigmoid import Sigmoid, fit_sigmoid


@dataclass(frozen=True, eq=False)
class Forecast:
    """line: likelihood over log10 FLOPs; sigmoid: accuracy over likelihood.

    samples: intercept and slope of the line, weight and bias of the sigmoid of each resample [R, 4].
    """

    line: LineFit
    sigmoid: Sigmoid
    samples: Float64

    def likelihood(self, flops: float) -> float:
        """Negative log-likelihood of the right answer expected after so many FLOPs, in the units it was given in."""
        return self.line.at(_log10(flops))

    def accuracy(self, flops: float) -> float:
        """Expected after so many FLOPs."""
        return float(self.sigmoid.at(np.array([self.likelihood(flops)])))

    def interval(self, flops: float, level: float = 0.95) -> Interval:
        """Of the accuracy, from both steps' points."""
        intercept, slope, weight, bias = self.samples.T
        logits = weight * (intercept + slope * _log10(flops)) + bias
        low, high = self.sigmoid.low, self.sigmoid.high
        return interval(low + (high - low) * (1 + np.tanh(logits / 2)) / 2, level)


def fit_forecast(
    flops: npt.ArrayLike,
    likelihoods: npt.ArrayLike,
    seen_likelihoods: npt.ArrayLike,
    seen_accuracies: npt.ArrayLike,
    *,
    chance: float = 0.0,
    best: float = 1.0,
    resamples: int = 0,
    seed: int = 0,
) -> Forecast:
    """The two steps: S small runs' FLOPs and likelihoods, M models' likelihoods and accuracies.

    chance: the accuracy of guessing; best: the greatest there is. Raises DataError for fewer than 3 runs or models,
    numbers that are not finite, and FLOPs or likelihoods that do not vary; ConfigError unless 0 <= chance < best <= 1.
    """
    if not 0 <= chance < best <= 1:
        raise ConfigError(f"chance, best: expected 0 <= chance < best <= 1, came {chance} and {best}")
    (c,) = positive(3, flops=flops)
    _, nll = finite(3, flops=c, likelihoods=likelihoods)
    seen, accuracy = finite(3, seen_likelihoods=seen_likelihoods, seen_accuracies=seen_accuracies)
    varied(flops=c, seen_likelihoods=seen)
    if accuracy.min() < 0 or accuracy.max() > 1:
        raise DataError(f"seen_accuracies: expected shares, came {accuracy.min():g} to {accuracy.max():g}")
    x = np.log10(c)
    line = fit_line(x, nll)
    (sigmoid,) = fit_sigmoid(seen[:, None], accuracy, chance, best)
    lines = _lines(x, nll, resample(len(c), resamples, seed))
    others = fit_sigmoid(seen[:, None], accuracy, chance, best, resample(len(seen), resamples, seed + 1))
    curves = np.array([[other.weights[0], other.bias] for other in others]).reshape(-1, 2)
    return Forecast(line, sigmoid, np.concatenate([lines, curves], 1))


def _lines(x: Float64, y: Float64, weights: Float64) -> Float64:
    """Intercept and slope of the line of each weighting [R, 2]."""
    mean_x, mean_y = weights @ x / len(x), weights @ y / len(x)
    across = x - mean_x[:, None]
    slope = (weights * across * (y - mean_y[:, None])).sum(-1) / (weights * across**2).sum(-1)
    return np.stack([mean_y - slope * mean_x, slope], -1)


def _log10(flops: float) -> float:
    if not (flops > 0 and math.isfinite(flops)):
        raise ConfigError(f"flops: expected a number above 0, came {flops}")
    return math.log10(flops)

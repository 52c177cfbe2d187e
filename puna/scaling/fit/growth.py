"""Growth in the logarithm of tokens: a score or a loss that gains the same with every doubling.

Over the range of one recipe such a line often fits as well as a power law with a floor, and it says what it costs: a
gain of the same size needs tokens times the same factor, so linear gains want exponential data (Llama 3 saw its 8B
and 70B models improve so beyond 15T tokens).

P points.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError
from puna.scaling.fit.bootstrap import Interval
from puna.scaling.fit.line import LineFit, fit_line
from puna.scaling.fit.points import finite, positive, varied


@dataclass(frozen=True, eq=False)
class GrowthFit:
    """value = intercept + per_doubling log2(tokens); intervals are 95%.

    per_doubling_interval: of Student's t.
    """

    per_doubling: float
    per_doubling_interval: Interval
    line: LineFit

    def at(self, tokens: float) -> float:
        """The value expected after so many tokens."""
        return self.line.at(_log2(tokens))

    def interval(self, tokens: float) -> Interval:
        """Of that, for a new run (a prediction interval)."""
        return self.line.prediction_interval(_log2(tokens))

    def tokens_for(self, value: float) -> float:
        """Tokens after which the value is expected. Raises ConfigError if it does not change at all."""
        return float(2 ** ((value - self.line.intercept) / self._slope()))

    def factor_for(self, gain: float) -> float:
        """Times as many tokens for a change by `gain`: 2 for that of a doubling."""
        return float(2 ** (gain / self._slope()))

    def factor_interval(self, gain: float) -> Interval:
        """95% interval of the factor; infinite where the slope's own interval reaches 0."""
        ends = [gain / slope if slope * self.per_doubling > 0 else math.inf for slope in self.per_doubling_interval]
        if gain / self._slope() < 0:
            ends = [-math.inf if math.isinf(end) else end for end in ends]
        low, high = sorted(ends)
        return _two_to(low), _two_to(high)

    def _slope(self) -> float:
        if self.per_doubling == 0:
            raise ConfigError("growth: expected a value that changes with tokens, came one that does not; add points")
        return self.per_doubling


def fit_growth(tokens: npt.ArrayLike, values: npt.ArrayLike) -> GrowthFit:
    """Least squares over log2 tokens.

    Raises DataError for fewer than 3 points, tokens that are not above 0 or do not vary, or values not finite.
    """
    (d,) = positive(3, tokens=tokens)
    (y,) = finite(3, values=values)
    varied(tokens=d)
    line = fit_line(np.log2(d), y)
    return GrowthFit(line.slope, line.slope_interval, line)


def _log2(tokens: float) -> float:
    if not (tokens > 0 and math.isfinite(tokens)):
        raise ConfigError(f"tokens: expected a number above 0, came {tokens}")
    return math.log2(tokens)


def _two_to(power: float) -> float:
    return 2.0**power if power < 1023 else math.inf

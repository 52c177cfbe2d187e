"""A straight line with its t-intervals: what growth in log tokens, and power laws in logarithms, are made of.

P points.
"""

import math
from dataclasses import dataclass

import numpy.typing as npt

from puna.lineage.report.compare import t_quantile
from puna.scaling.fit.bootstrap import Interval
from puna.scaling.fit.points import Float64, finite, varied


@dataclass(frozen=True, eq=False)
class LineFit:
    """y = intercept + slope x by least squares.

    deviation: of a point from the line, with P - 2 degrees of freedom; intervals: 95%, of Student's t.
    """

    intercept: float
    slope: float
    slope_interval: Interval
    deviation: float
    residuals: Float64
    centre: float
    spread: float

    def at(self, x: float) -> float:
        """The line there."""
        return self.intercept + self.slope * x

    def interval(self, x: float) -> Interval:
        """95% interval of the line at x."""
        return self._around(x, 0.0)

    def prediction_interval(self, x: float) -> Interval:
        """95% interval of a new point at x."""
        return self._around(x, 1.0)

    def _around(self, x: float, own: float) -> Interval:
        count = len(self.residuals)
        error = self.deviation * math.sqrt(own + 1 / count + (x - self.centre) ** 2 / self.spread)
        half = t_quantile(count - 2) * error
        return self.at(x) - half, self.at(x) + half


def fit_line(x: npt.ArrayLike, y: npt.ArrayLike) -> LineFit:
    """Raises DataError for fewer than 3 points, numbers that are not finite, or an x that does not vary."""
    columns = finite(3, x=x, y=y)
    varied(x=columns[0])
    across, up = columns
    centre, spread = float(across.mean()), float(((across - across.mean()) ** 2).sum())
    slope = float((across - centre) @ (up - up.mean())) / spread
    intercept = float(up.mean()) - slope * centre
    residuals = up - intercept - slope * across
    deviation = math.sqrt(float(residuals @ residuals) / (len(up) - 2))
    half = t_quantile(len(up) - 2) * deviation / math.sqrt(spread)
    return LineFit(intercept, slope, (slope - half, slope + half), deviation, residuals, centre, spread)

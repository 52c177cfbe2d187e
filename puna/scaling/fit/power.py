"""y = factor x^exponent: what the best size and the best tokens are of compute.

P points.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError
from puna.scaling.fit.bootstrap import Interval
from puna.scaling.fit.line import LineFit, fit_line
from puna.scaling.fit.points import positive, varied


@dataclass(frozen=True)
class PowerLaw:
    """factor x^exponent, factor above 0. Raises ConfigError otherwise."""

    factor: float
    exponent: float

    def __post_init__(self) -> None:
        if not (self.factor > 0 and math.isfinite(self.factor) and math.isfinite(self.exponent)):
            raise ConfigError(
                f"power law: expected a factor above 0 and a finite exponent, came {self.factor} and {self.exponent}"
            )

    def at(self, x: float) -> float:
        """y there, x above 0; raises ConfigError otherwise."""
        if not (x > 0 and math.isfinite(x)):
            raise ConfigError(f"power law: expected a number above 0, came {x}")
        return self.factor * x**self.exponent


@dataclass(frozen=True, eq=False)
class PowerFit:
    """Least squares in logarithms; intervals: 95%, of Student's t."""

    law: PowerLaw
    exponent_interval: Interval
    line: LineFit

    def interval(self, x: float) -> Interval:
        """Of the law at x."""
        self.law.at(x)  # refuses what is not above 0
        low, high = self.line.interval(math.log(x))
        return math.exp(low), math.exp(high)


def fit_power(x: npt.ArrayLike, y: npt.ArrayLike) -> PowerFit:
    """Raises DataError for fewer than 3 points, values not above 0, or an x that does not vary."""
    across, up = positive(3, x=x, y=y)
    varied(x=across)
    line = fit_line(np.log(across), np.log(up))
    return PowerFit(PowerLaw(math.exp(line.intercept), line.slope), line.slope_interval, line)

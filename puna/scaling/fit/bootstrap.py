"""How far a fit would move with other points: the Bayesian bootstrap (Rubin 1981).

A resample gives every point a weight, Dirichlet distributed, instead of a count. No point is ever wholly missing, so
every resample of points that can be fitted can be fitted; for many points the spread is that of the usual bootstrap.

R resamples, P points.
"""

import numpy as np

from puna.base.errors import ConfigError
from puna.base.rng import generator
from puna.scaling.fit.points import Float64

Interval = tuple[float, float]


def resample(num_points: int, resamples: int, seed: int) -> Float64:
    """Weights [R, P] of mean 1, the same for the same seed. Raises ConfigError if `resamples` is below 0."""
    if resamples < 0:
        raise ConfigError(f"resamples: expected 0 or more, came {resamples}")
    draws: Float64 = generator(seed, "bootstrap", num_points).standard_exponential((resamples, num_points))
    return draws / draws.mean(-1, keepdims=True)


def interval(samples: Float64, level: float = 0.95) -> Interval:
    """The middle share `level` of samples [R]. Raises ConfigError without samples: fit with `resamples` above 0."""
    if not 0 < level < 1:
        raise ConfigError(f"level: expected a share between 0 and 1, came {level}")
    if not len(samples):
        raise ConfigError("resamples: expected some for an interval, came 0; fit with resamples=400")
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

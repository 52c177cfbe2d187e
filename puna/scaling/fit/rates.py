"""Learning rates and batch sizes of large runs from sweeps of small ones: value = factor N^x D^y.

A sweep trains one size on so many tokens with several values; its best one is the minimum of a parabola over the
logarithm, which is where losses are near to symmetric (Hoffmann's approach 2, for another quantity). Laws of compute
have x = y, laws of tokens alone x = 0.

P points, S sweeps, R resamples.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.bootstrap import Interval, interval, resample
from puna.scaling.fit.isoflop import vertices
from puna.scaling.fit.points import Float64, positive
from puna.scaling.law import FLOPS_PER_WEIGHT

On = Literal["both", "parameters", "tokens", "flops"]


@dataclass(frozen=True)
class RateLaw:
    """factor N^of_parameters D^of_tokens."""

    factor: float
    of_parameters: float = 0.0
    of_tokens: float = 0.0

    def at(self, parameters: float, tokens: float) -> float:
        """The best value for a size and its tokens, both above 0; raises ConfigError otherwise."""
        for name, value in (("parameters", parameters), ("tokens", tokens)):
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name}: expected a number above 0, came {value}")
        return float(self.factor * parameters**self.of_parameters * tokens**self.of_tokens)


def of_flops(factor: float, exponent: float) -> RateLaw:
    """factor C^exponent with C = 6 N D."""
    return RateLaw(factor * FLOPS_PER_WEIGHT**exponent, exponent, exponent)


STEP_LR, STEP_BATCH = RateLaw(1.79, -0.713, 0.307), RateLaw(0.58, 0.0, 0.571)
"""Peak learning rate, and tokens of a batch (Step law, Li 2025, arXiv 2503.04715)."""
DEEPSEEK_LR, DEEPSEEK_BATCH = of_flops(0.3118, -0.1250), of_flops(0.2920, 0.3271)
"""Peak learning rate, and tokens of a batch (DeepSeek 2024, arXiv 2401.02954, equation 1), over compute."""
LLAMA3_PEAKS = ((8.03e9, 3e-4), (70.6e9, 1.5e-4), (405.9e9, 8e-5))
"""Parameters and peak learning rate of the Llama 3 models, all on 15T tokens (arXiv 2407.21783, table 3)."""


@dataclass(frozen=True, eq=False)
class RateFit:
    """The best parameters, tokens and value of each sweep that has a minimum [S, 3], and the law through them.

    left_out: (parameters, tokens) of sweeps without a minimum within; samples: log factor and the two exponents of each
    resample [R, 3].
    """

    law: RateLaw
    best: Float64
    residuals: Float64
    left_out: tuple[tuple[float, float], ...]
    samples: Float64

    def interval(self, parameters: float, tokens: float, level: float = 0.95) -> Interval:
        """Of the law's value there."""
        self.law.at(parameters, tokens)
        logs = self.samples @ np.array([1.0, math.log(parameters), math.log(tokens)])
        return interval(np.exp(logs), level)

    def exponent_interval(self, name: Literal["parameters", "tokens"], level: float = 0.95) -> Interval:
        """Of the exponent of parameters or tokens."""
        if name not in ("parameters", "tokens"):
            raise ConfigError(f"name: expected parameters or tokens, came {name!r}")
        return interval(self.samples[:, 1 if name == "parameters" else 2], level)


def fit_rates(
    parameters: npt.ArrayLike,
    tokens: npt.ArrayLike,
    values: npt.ArrayLike,
    losses: npt.ArrayLike,
    *,
    on: On = "both",
    resamples: int = 0,
    seed: int = 0,
) -> RateFit:
    """Fit a law to the best `values` (learning rates, or batch sizes) of sweeps; points of equal (N, D) are one sweep.

    on: what the law depends on. Raises DataError for values not above 0, too few sweeps with a minimum within (one more
    than the law has numbers to fit), and sweeps whose sizes and tokens go together, so that `both` cannot be told from
    one of them.
    """
    n, d, v, y = positive(3, parameters=parameters, tokens=tokens, values=values, losses=losses)
    weights = np.concatenate([np.ones((1, len(n))), resample(len(n), resamples, seed)])
    places, minima, left_out = [], [], []
    for size, length in sorted(set(zip(n.tolist(), d.tolist(), strict=True))):
        rows = np.flatnonzero((n == size) & (d == length))
        vertex, _ = vertices(np.log(v[rows]), y[rows], weights[:, rows])
        if np.isnan(vertex[0]):
            left_out.append((size, length))
        else:
            places.append((size, length))
            minima.append(vertex)
    directions = {"both": np.eye(2), "parameters": np.eye(2)[:1], "tokens": np.eye(2)[1:], "flops": np.ones((1, 2))}
    if on not in directions:
        raise ConfigError(f"on: expected one of {', '.join(directions)}, came {on!r}")
    wanted = len(directions[on]) + 2
    if len(places) < wanted:
        raise DataError(
            f"values: expected at least {wanted} sweeps with a minimum within, came {len(places)} of "
            f"{len(places) + len(left_out)}; sweep on both sides of the best"
        )
    logs = np.log(places)
    design = np.column_stack([np.ones(len(logs)), (logs - logs.mean(0)) @ directions[on].T])
    if np.linalg.matrix_rank(design, tol=1e-6 * math.sqrt(len(logs))) < design.shape[1]:
        raise DataError(
            f"parameters, tokens: expected sweeps that tell {on} apart, came sizes and tokens that go together; "
            "vary tokens at one size, or fit on=flops"
        )
    rates = np.stack(minima, -1)
    rates = rates[~np.isnan(rates).any(1)]  # a resample may lose a minimum
    solved = rates @ np.linalg.pinv(design).T
    exponents = solved[:, 1:] @ directions[on]
    factors = solved[:, 0] - exponents @ logs.mean(0)
    numbers = np.column_stack([factors, exponents])
    law = RateLaw(float(np.exp(factors[0])), float(exponents[0, 0]), float(exponents[0, 1]))
    return RateFit(
        law=law,
        best=np.column_stack([np.exp(logs), np.exp(rates[0])]),
        residuals=rates[0] - design @ solved[0],
        left_out=tuple(left_out),
        samples=numbers[1:],
    )

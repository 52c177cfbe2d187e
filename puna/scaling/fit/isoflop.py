"""Approach 2: for each compute the best size, as the minimum of a parabola over log N; then N*(C) = A C^a.

Hoffmann 2022 (section 3.2), and Llama 3 (section 3.2.1), which takes the same minima for the best tokens. A parabola is
not the law's shape: alpha A / N^alpha and its twin are exponentials over log N. If every compute's sizes lie around its
own optimum in the same way, the vertex is off by the same factor everywhere and only A suffers. If they drift against
it, as sizes chosen by a rule of thumb do, the exponent is wrong too, on exact data: `parabola_bias` says by how much.

P points, G computes, R resamples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.bootstrap import Interval, interval, resample
from puna.scaling.fit.points import Float64, positive
from puna.scaling.fit.power import PowerLaw
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw

LLAMA3_FIGURE, LLAMA3_PRINTED = PowerLaw(0.299, 0.537), PowerLaw(0.29, 0.53)
"""The best TOKENS of compute: as its figure's label has them, and as its text rounds them, which costs 6T of 16T."""


@dataclass(frozen=True, eq=False)
class IsoFlopFit:
    """The best parameters and tokens of compute.

    flops, best, losses: of each profile that has a minimum, its compute, parameters there and loss [G]; left_out:
    computes without a minimum within their sizes; samples: factor and exponent of each resample [R, 2].
    """

    parameters: PowerLaw
    tokens: PowerLaw
    flops: Float64
    best: Float64
    losses: Float64
    left_out: tuple[float, ...]
    samples: Float64

    def interval(self, level: float = 0.95) -> Interval:
        """Of the exponent of the best parameters; that of the tokens is 1 less it."""
        return interval(self.samples[:, 1], level)

    def best_interval(self, flops: float, level: float = 0.95) -> Interval:
        """Of the best parameters for so many FLOPs."""
        self.parameters.at(flops)
        return interval(self.samples[:, 0] * flops ** self.samples[:, 1], level)


def fit_isoflop(
    parameters: npt.ArrayLike,
    flops: npt.ArrayLike,
    losses: npt.ArrayLike,
    *,
    within: float = 0.05,
    resamples: int = 0,
    seed: int = 0,
) -> IsoFlopFit:
    """Fit N*(C) to profiles of points whose FLOPs differ by less than the share `within` from one to the next.

    A parabola opens upwards and has its vertex between the least and the greatest size, or its compute is left out.
    Raises DataError for values not above 0 and if fewer than 2 profiles of 3 sizes have such a minimum.
    """
    n, c, y = positive(3, parameters=parameters, flops=flops, losses=losses)
    if not within > 0:
        raise ConfigError(f"within: expected a share above 0, came {within}")
    weights = np.concatenate([np.ones((1, len(n))), resample(len(n), resamples, seed)])
    computes, minima, depths, left_out = [], [], [], []
    for rows in _profiles(c, within):
        compute = float(np.exp(np.log(c[rows]).mean()))
        vertex, depth = vertices(np.log(n[rows]), y[rows], weights[:, rows])
        if np.isnan(vertex[0]):
            left_out.append(compute)
            continue
        computes.append(compute)
        minima.append(vertex)
        depths.append(depth[0])
    if len(computes) < 2:
        raise DataError(
            f"flops: expected at least 2 computes with a minimum within 3 sizes or more, came {len(computes)} of "
            f"{len(computes) + len(left_out)}; train sizes on both sides of the best"
        )
    across, up = np.log(computes), np.stack(minima, 1)
    up = up[~np.isnan(up).any(1)]  # a resample may lose a minimum
    slopes = (up - up.mean(1, keepdims=True)) @ (across - across.mean()) / ((across - across.mean()) ** 2).sum()
    factors = np.exp(up.mean(1) - slopes * across.mean())
    law = PowerLaw(float(factors[0]), float(slopes[0]))
    return IsoFlopFit(
        parameters=law,
        tokens=PowerLaw(1 / (FLOPS_PER_WEIGHT * law.factor), 1 - law.exponent),
        flops=np.array(computes),
        best=np.exp(up[0]),
        losses=np.array(depths),
        left_out=tuple(left_out),
        samples=np.stack([factors[1:], slopes[1:]], -1),
    )


def size_for(tokens: PowerLaw, flops: float) -> tuple[float, float]:
    """(parameters, tokens) that a law of the best tokens gives for so many FLOPs, by C = 6 N D."""
    best = tokens.at(flops)
    return flops / (FLOPS_PER_WEIGHT * best), best


@dataclass(frozen=True)
class ParabolaBias:
    """What approach 2 finds on exact points of a law: exponent and size at the middle compute against the truth."""

    exponent: float
    true_exponent: float
    size_ratio: float


def parabola_bias(
    law: LossLaw, flops: npt.ArrayLike, *, width: float, offset: float = 1.0, drift: float = 0.0, num_sizes: int = 9
) -> ParabolaBias:
    """Approach 2 on exact losses of sizes that span a factor of `width` around `offset` times the best size.

    drift: exponent by which the middle size grows faster with compute than the best. Raises as `fit_isoflop` does.
    """
    (computes,) = positive(2, flops=flops)
    if not width > 1 or num_sizes < 3:
        raise ConfigError(f"width: expected a factor above 1 over 3 sizes or more, came {width} over {num_sizes}")
    middle = float(np.exp(np.log(computes).mean()))
    n, c = [], []
    for compute in computes.tolist():
        centre = law.optimal(compute)[0] * offset * (compute / middle) ** drift
        n.append(centre * np.geomspace(width**-0.5, width**0.5, num_sizes))
        c.append(np.full(num_sizes, compute))
    sizes, budgets = np.concatenate(n), np.concatenate(c)
    losses = law.floor + law.a * sizes**-law.alpha + law.b * (budgets / (FLOPS_PER_WEIGHT * sizes)) ** -law.beta
    found = fit_isoflop(sizes, budgets, losses)
    return ParabolaBias(
        exponent=found.parameters.exponent,
        true_exponent=law.beta / (law.alpha + law.beta),
        size_ratio=found.parameters.at(middle) / law.optimal(middle)[0],
    )


def _profiles(flops: Float64, within: float) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(flops, kind="stable")
    gaps = np.diff(np.log(flops[order])) > np.log1p(within)
    return np.split(order, np.flatnonzero(gaps) + 1)


def vertices(log_n: Float64, losses: Float64, weights: Float64) -> tuple[Float64, Float64]:
    """(place, loss) of the lowest point of each weighting's parabola over log_n, [R] for weights [R, P].

    nan where the parabola does not open upwards, or has it outside of the points.
    """
    nothing = np.full(len(weights), np.nan)
    if len(np.unique(log_n)) < 3:
        return nothing, nothing
    centre = log_n.mean()
    x = log_n - centre
    basis = np.stack([np.ones_like(x), x, x**2], -1)
    gram = np.einsum("rp,pi,pj->rij", weights, basis, basis)
    moment = (weights * losses) @ basis
    bottom, slope, bend = np.linalg.solve(gram, moment[:, :, None])[:, :, 0].T
    with np.errstate(all="ignore"):
        vertex, depth = -slope / (2 * bend), bottom - slope**2 / (4 * bend)
    inside = (bend > 0) & (vertex >= x.min()) & (vertex <= x.max())
    return np.where(inside, vertex + centre, np.nan), np.where(inside, depth, np.nan)

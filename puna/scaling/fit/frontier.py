"""Approach 1: the lower envelope of many training curves, whose best size at each compute gives N*(C) = A C^a.

Hoffmann 2022 (section 3.1). A curve is the losses of one size along its tokens. Where the best size is the smallest or
the greatest that was trained, a better one may lie beyond it, so those computes do not count; Hoffmann's text does not
say what became of them.

P points, G computes.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.lineage.report.compare import t_quantile
from puna.scaling.fit.bootstrap import Interval
from puna.scaling.fit.points import Float64, positive
from puna.scaling.fit.power import PowerLaw, fit_power
from puna.scaling.law import FLOPS_PER_WEIGHT


@dataclass(frozen=True, eq=False)
class FrontierFit:
    """The best parameters and tokens of compute, and the envelope they come from.

    exponent_interval: 95%, of the exponent of the best parameters, by leaving out each size in turn (the jackknife);
    the computes are too many and too alike to count as points. flops, sizes, losses: computes of the envelope, their
    best sizes and losses, edges included [G]; counted: which of them the laws are fitted to [G].
    """

    parameters: PowerLaw
    tokens: PowerLaw
    exponent_interval: Interval
    flops: Float64
    sizes: Float64
    losses: Float64
    counted: npt.NDArray[np.bool_]


def fit_frontier(
    parameters: npt.ArrayLike, tokens: npt.ArrayLike, losses: npt.ArrayLike, *, num_computes: int = 1500
) -> FrontierFit:
    """Fit N*(C) and D*(C) to the envelope of curves at `num_computes` log-spaced computes (1,500 as in the paper).

    Points of equal `parameters` are one curve, joined by lines in log FLOPs and log loss. Raises DataError for values
    not above 0, and if fewer than two sizes within the range are ever the best.
    """
    n, d, y = positive(6, parameters=parameters, tokens=tokens, losses=losses)
    if num_computes < 3:
        raise ConfigError(f"num_computes: expected at least 3, came {num_computes}")
    log_c = np.log(FLOPS_PER_WEIGHT * n * d)
    grid = np.linspace(log_c.min(), log_c.max(), num_computes)
    sizes = np.unique(n)
    curves = np.stack([_curve(log_c[n == size], np.log(y[n == size]), grid) for size in sizes])
    law, counted = _envelope(curves, sizes, grid)
    others = [_envelope(np.delete(curves, one, 0), np.delete(sizes, one), grid)[0] for one in range(len(sizes))]
    exponents = np.array([other.exponent for other in others if other is not None])
    if law is None:
        raise DataError(
            f"parameters: expected at least 2 sizes that are the best of all somewhere, beside the smallest and the "
            f"greatest of {len(sizes)}, came fewer; train more sizes, or longer"
        )
    spread = math.sqrt((len(exponents) - 1) * float(exponents.var())) if len(exponents) == len(sizes) else math.inf
    half = t_quantile(len(sizes) - 1) * spread
    place, least = curves.argmin(0), curves.min(0)
    held = np.isfinite(least)
    return FrontierFit(
        parameters=law,
        tokens=PowerLaw(1 / (FLOPS_PER_WEIGHT * law.factor), 1 - law.exponent),
        exponent_interval=(law.exponent - half, law.exponent + half),
        flops=np.exp(grid[held]),
        sizes=sizes[place[held]],
        losses=np.exp(least[held]),
        counted=counted[held],
    )


def _envelope(curves: Float64, sizes: Float64, log_flops: Float64) -> tuple[PowerLaw | None, npt.NDArray[np.bool_]]:
    """N*(C) where neither the smallest nor the greatest size is best, and which computes those are [G]."""
    place = curves.argmin(0)
    counted = np.isfinite(curves.min(0)) & (place > 0) & (place < len(sizes) - 1)
    if len(np.unique(place[counted])) < 2:
        return None, counted
    return fit_power(np.exp(log_flops[counted]), sizes[place[counted]]).law, counted


def _curve(log_c: Float64, log_loss: Float64, grid: Float64) -> Float64:
    """Log loss of one size at each compute of the grid, inf outside of what was trained."""
    order = np.argsort(log_c, kind="stable")
    line: Float64 = np.interp(grid, log_c[order], log_loss[order], left=np.inf, right=np.inf)
    return line

"""Approach 1 on curves of a known law, and Chinchilla's own points."""

import numpy as np
import pytest
import scipy.stats

from puna.base.errors import DataError
from puna.scaling.fit.frontier import fit_frontier
from puna.scaling.law import REFIT


def _curves(num_sizes: int, noise: float = 0.0):  # type: ignore[no-untyped-def]
    sizes, tokens = np.geomspace(4e7, 1.6e10, num_sizes), np.geomspace(1e8, 3e12, 50)
    n, d = np.repeat(sizes, 50), np.tile(tokens, num_sizes)
    losses = np.array([REFIT.loss(*point) for point in zip(n, d, strict=True)])
    return n, d, losses * np.exp(np.random.default_rng(0).normal(0, noise, len(n)))


def test_the_envelope_of_a_law_is_its_optimum() -> None:
    fit = fit_frontier(*_curves(24))
    share = REFIT.beta / (REFIT.alpha + REFIT.beta)
    assert fit.parameters.exponent == pytest.approx(share, abs=0.005)
    assert fit.parameters.exponent + fit.tokens.exponent == pytest.approx(1)
    for flops in (1e20, 1e22):
        n, d = fit.parameters.at(flops), fit.tokens.at(flops)
        assert n == pytest.approx(REFIT.optimal(flops)[0], rel=0.05) and 6 * n * d == pytest.approx(flops)
    assert fit.exponent_interval[0] < share < fit.exponent_interval[1]
    assert fit.exponent_interval[1] - fit.exponent_interval[0] < 0.05
    # Nothing lies under the optimum of the law, and by so many sizes the envelope is near to it.
    best = np.array([REFIT.loss(*REFIT.optimal(flops)) for flops in fit.flops[fit.counted]])
    assert (fit.losses[fit.counted] > best * 0.9999).all() and (fit.losses[fit.counted] < best * 1.002).all()
    edge = (fit.sizes == fit.sizes.min()) | (fit.sizes == fit.sizes.max())
    assert (edge == ~fit.counted).all() and edge.any()


def test_fewer_sizes_know_less() -> None:
    coarse, fine = (fit_frontier(*_curves(count, 0.002)) for count in (6, 24))
    width = [fit.exponent_interval[1] - fit.exponent_interval[0] for fit in (coarse, fine)]
    assert width[0] > 2 * width[1]


def test_the_interval_is_the_jackknifes() -> None:
    n, d, y = _curves(10, 0.002)
    fit = fit_frontier(n, d, y, num_computes=3000)
    without = [fit_frontier(n[n != size], d[n != size], y[n != size], num_computes=3000) for size in np.unique(n)]
    exponents = np.array([one.parameters.exponent for one in without])
    error = np.sqrt(9 / 10 * ((exponents - exponents.mean()) ** 2).sum())
    half = scipy.stats.t.ppf(0.975, 9) * error
    # Without an edge size the computes are spread a little differently.
    assert (fit.exponent_interval[1] - fit.exponent_interval[0]) / 2 == pytest.approx(half, rel=0.1)
    assert sum(fit.exponent_interval) / 2 == pytest.approx(fit.parameters.exponent)


def test_refused() -> None:
    n, d, y = _curves(3)
    with pytest.raises(DataError, match="parameters: expected at least 2 sizes that are the best of all somewhere"):
        fit_frontier(n, d, y)
    with pytest.raises(DataError, match="losses: expected numbers above 0"):
        fit_frontier(n, d, -y)

"""Lines, power laws and growth: scipy's regression and coverage are the witnesses."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.growth import fit_growth
from puna.scaling.fit.line import fit_line
from puna.scaling.fit.power import PowerLaw, fit_power


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(3, 30))
def test_line_is_scipys(seed: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(5, 2, count), draw.normal(-1, 3, count)
    ours, theirs = fit_line(x, y), scipy.stats.linregress(x, y)
    half = scipy.stats.t.ppf(0.975, count - 2) * theirs.stderr
    assert (ours.slope, ours.intercept) == (pytest.approx(theirs.slope), pytest.approx(theirs.intercept))
    assert ours.slope_interval == pytest.approx((theirs.slope - half, theirs.slope + half), rel=1e-6, abs=1e-9)
    # At x = 0 the interval of the line is that of the intercept.
    half = scipy.stats.t.ppf(0.975, count - 2) * theirs.intercept_stderr
    assert ours.interval(0.0) == pytest.approx((theirs.intercept - half, theirs.intercept + half), rel=1e-6, abs=1e-9)


def test_prediction_intervals_cover() -> None:
    draw, inside = np.random.default_rng(0), []
    for _ in range(200):
        x = draw.uniform(0, 1, 6)
        low, high = fit_line(x, 2 * x + draw.normal(size=6)).prediction_interval(2.0)
        inside.append(low < 4 + draw.normal() < high)
    assert 0.90 < np.mean(inside) < 0.99


def test_power_law() -> None:
    x = np.geomspace(1e18, 1e22, 5)
    fit = fit_power(x, 0.3 * x**0.5)
    assert (fit.law.factor, fit.law.exponent) == (pytest.approx(0.3), pytest.approx(0.5))
    noisy = fit_power(x, 0.3 * x**0.5 * np.exp([0.1, -0.1, 0.05, -0.1, 0.1]))
    assert noisy.exponent_interval[0] < noisy.law.exponent < noisy.exponent_interval[1]
    low, high = noisy.interval(1e24)
    assert low < noisy.law.at(1e24) < high and high / low > noisy.interval(1e20)[1] / noisy.interval(1e20)[0]
    with pytest.raises(ConfigError, match="power law: expected a number above 0, came -1"):
        fit.law.at(-1)
    with pytest.raises(ConfigError, match="power law: expected a factor above 0"):
        PowerLaw(0, 1)
    with pytest.raises(DataError, match="y: expected numbers above 0"):
        fit_power([1, 2, 3], [1, 0, 2])
    with pytest.raises(DataError, match="x: expected at least two different values"):
        fit_power([2, 2, 2], [1, 3, 2])


def test_growth_in_tokens() -> None:
    tokens = 1e12 * 2.0 ** np.arange(5)
    fit = fit_growth(tokens, [60, 62.1, 63.9, 66.1, 67.9])
    assert fit.per_doubling == pytest.approx(1.98) and fit.per_doubling_interval[0] > 1.8
    assert fit.at(16e12) == pytest.approx(67.96) and fit.at(fit.tokens_for(70)) == pytest.approx(70)
    assert fit.factor_for(fit.per_doubling) == pytest.approx(2)
    # Linear gains want exponential tokens: twice the gain, the square of the factor.
    assert fit.factor_for(6) == pytest.approx(fit.factor_for(3) ** 2)
    low, high = fit.factor_interval(4)
    slow, fast = fit.per_doubling_interval
    assert (low, high) == (pytest.approx(2 ** (4 / fast)), pytest.approx(2 ** (4 / slow)))
    assert fit.interval(64e12)[0] < fit.at(64e12) < fit.interval(64e12)[1]
    falling = fit_growth(tokens, [3.0, 2.9, 2.81, 2.7, 2.6])
    assert falling.factor_for(-0.2) == pytest.approx(4, rel=0.03) and falling.factor_interval(-0.2)[0] > 3.5


def test_growth_that_is_not_sure() -> None:
    fit = fit_growth([1e9, 2e9, 4e9, 8e9], [1.0, 1.5, 0.9, 1.3])
    assert fit.per_doubling_interval[0] < 0 < fit.per_doubling_interval[1]
    low, high = fit.factor_interval(0.1)
    assert 1 < low < fit.factor_for(0.1) and high == math.inf
    flat = fit_growth([1e9, 2e9, 4e9], [1.0, 1.0, 1.0])
    with pytest.raises(ConfigError, match="growth: expected a value that changes with tokens"):
        flat.tokens_for(2)
    with pytest.raises(DataError, match="tokens: expected at least two different values"):
        fit_growth([1e9] * 3, [1, 2, 3])
    with pytest.raises(ConfigError, match="tokens: expected a number above 0, came 0"):
        fit.at(0)

"""Approach 2: numpy's parabolas, what they get wrong on exact points, and Llama 3's choice of a size."""

from pathlib import Path

import numpy as np
import pytest

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.isoflop import LLAMA3_FIGURE, LLAMA3_PRINTED, fit_isoflop, parabola_bias, size_for
from puna.scaling.fit.parametric import fit_parametric
from puna.scaling.fit.points import Float64
from puna.scaling.fit.power import PowerLaw
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw
from tests.scaling.fit import published

FLOPS = np.geomspace(6e18, 1e22, 6)


def test_minima_are_those_of_numpys_parabolas() -> None:
    n, c, y = _profiles(noise=0.003)
    fit = fit_isoflop(n, c, y)
    assert fit.left_out == () and fit.flops == pytest.approx(FLOPS)
    for compute, best, loss in zip(FLOPS, fit.best, fit.losses, strict=True):
        parabola = np.polynomial.Polynomial.fit(np.log(n[c == compute]), y[c == compute], 2)
        (vertex,) = parabola.deriv().roots()
        assert (np.log(best), loss) == (pytest.approx(vertex), pytest.approx(parabola(vertex)))
    slope, intercept = np.polyfit(np.log(FLOPS), np.log(fit.best), 1)
    assert fit.parameters.exponent == pytest.approx(slope)
    assert fit.parameters.factor == pytest.approx(np.exp(intercept))
    for compute in FLOPS:
        assert 6 * fit.parameters.at(compute) * fit.tokens.at(compute) == pytest.approx(compute)


def test_chinchillas_second_approach(shared_data: Path) -> None:
    """Hoffmann 2022, tables 2 and 3: a = 0.49 (0.462 to 0.534), and 63B parameters for Gopher's compute.

    Of the points of figure 4 those near its nine budgets, which the reading of the figure puts some 4% lower.
    """
    n, d, y = published.chinchilla(shared_data)
    budgets = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
    far = np.abs(np.log(6 * n * d / budgets[:, None]))
    near = far.min(0) < 0.1
    fit = fit_isoflop(n[near], budgets[far.argmin(0)][near], y[near], resamples=400)
    assert len(fit.flops) == 8 and len(fit.left_out) == 1
    assert fit.parameters.exponent == pytest.approx(0.49, abs=0.01)
    low, high = fit.interval()
    assert 0.45 < low < 0.49 < high < 0.54
    assert fit.parameters.at(5.76e23) == pytest.approx(63e9, rel=0.05)
    assert fit.tokens.at(5.76e23) == pytest.approx(1.4e12, rel=0.1)


def test_intervals_cover_the_truth() -> None:
    share, inside = REFIT.beta / (REFIT.alpha + REFIT.beta), []
    for seed in range(40):
        low, high = fit_isoflop(*_profiles(noise=0.002, seed=seed), resamples=200).interval(0.9)
        inside.append(low < share < high)
    assert 0.7 < np.mean(inside) <= 1.0  # nine points a profile: a little too narrow, as bootstraps of few points are
    fit = fit_isoflop(*_profiles(noise=0.002), resamples=200)
    low, high = fit.best_interval(1e22)
    assert low < fit.parameters.at(1e22) < high


def test_budgets_that_nearly_agree_are_one_profile() -> None:
    n, c, y = _profiles()
    shaken = c * np.tile([0.99, 1.0, 1.01], len(c) // 3)
    assert len(fit_isoflop(n, shaken, y).flops) == 6
    apart = fit_isoflop(n, shaken, y, within=1e-4)
    assert len(apart.flops) + len(apart.left_out) == 18


def test_a_profile_without_a_minimum_is_left_out() -> None:
    n, c, y = _profiles()
    below = (c != FLOPS[2]) | (n < 0.6 * REFIT.optimal(FLOPS[2])[0])
    fit = fit_isoflop(n[below], c[below], y[below])
    assert fit.left_out == (pytest.approx(FLOPS[2]),) and len(fit.best) == 5
    few = (c != FLOPS[4]) | (np.arange(len(n)) % 9 < 2)
    assert fit_isoflop(n[few], c[few], y[few]).left_out == (pytest.approx(FLOPS[4]),)


def test_where_parabolas_are_right() -> None:
    """Sizes around the optimum in the same way at every compute: the exponent is right, only the size is off."""
    for width, offset in ((2, 1), (16, 1), (100, 1), (16, 3)):
        bias = parabola_bias(REFIT, FLOPS, width=width, offset=offset)
        assert bias.exponent == pytest.approx(bias.true_exponent, abs=1e-9)
    assert parabola_bias(REFIT, FLOPS, width=2).size_ratio == pytest.approx(1, abs=0.001)
    assert parabola_bias(REFIT, FLOPS, width=16, offset=3).size_ratio == pytest.approx(1.051, abs=0.001)


@pytest.mark.parametrize(
    ("law", "width", "offset", "drift", "off"),
    [(REFIT, 16, 3, 0.05, 0.0074), (REFIT, 100, 3, 0.1, 0.0138), (CHINCHILLA, 100, 1 / 3, 0.1, 0.0153)],
)
def test_where_parabolas_are_wrong_and_approach_3_is_not(
    law: LossLaw, width: float, offset: float, drift: float, off: float
) -> None:
    """Exact points, no noise at all: sizes that drift against the optimum bend approach 2's exponent."""
    bias = parabola_bias(law, FLOPS, width=width, offset=offset, drift=drift)
    assert bias.exponent - bias.true_exponent == pytest.approx(off, abs=1e-4)
    n, c, y = _profiles(law, width, offset, drift)
    assert fit_isoflop(n, c, y).parameters.exponent == pytest.approx(bias.exponent)  # the same points
    found = fit_parametric(n, c / (6 * n), y).law
    assert found.beta / (found.alpha + found.beta) == pytest.approx(bias.true_exponent, abs=1e-6)


def test_llama_3s_size() -> None:
    """3.8e25 FLOPs: the figure's labels give its 16T and 400B; the text's rounding loses 6T tokens."""
    parameters, tokens = size_for(LLAMA3_FIGURE, 3.8e25)
    assert tokens == pytest.approx(16.3e12, rel=0.005) and parameters == pytest.approx(402e9, rel=0.05)
    assert tokens == pytest.approx(16.55e12, rel=0.05)
    assert size_for(LLAMA3_PRINTED, 3.8e25)[1] == pytest.approx(10.5e12, rel=0.005)
    # What the paper says of its own choice: 402B on 16.55T tokens.
    assert pytest.approx(3.8e25, rel=0.06) == 6 * 402e9 * 16.55e12
    assert size_for(PowerLaw(1e3, 0.5), 1e20) == (pytest.approx(1e20 / 6e13), pytest.approx(1e13))


def test_refused() -> None:
    n, c, y = _profiles()
    with pytest.raises(DataError, match="flops: expected numbers above 0"):
        fit_isoflop(n, -c, y)
    with pytest.raises(DataError, match="within 3 sizes or more, came 0 of 6; train sizes on both sides of the best"):
        fit_isoflop(n, c, 10 - y)
    with pytest.raises(ConfigError, match="within: expected a share above 0"):
        fit_isoflop(n, c, y, within=0)
    with pytest.raises(ConfigError, match="width: expected a factor above 1 over 3 sizes or more, came 1"):
        parabola_bias(REFIT, FLOPS, width=1)
    with pytest.raises(ConfigError, match="fit with resamples=400"):
        fit_isoflop(n, c, y).interval()


def _profiles(law=REFIT, width=9.0, offset=1.0, drift=0.0, noise=0.0, seed=0) -> tuple[Float64, Float64, Float64]:  # type: ignore[no-untyped-def]
    n, c = [], []
    middle = np.sqrt(FLOPS[0] * FLOPS[-1])
    for compute in FLOPS:
        best = law.optimal(compute)[0] * offset * (compute / middle) ** drift
        n.append(best * np.geomspace(width**-0.5, width**0.5, 9))
        c.append(np.full(9, compute))
    sizes, computes = np.concatenate(n), np.concatenate(c)
    losses = np.array([law.loss(n, c / (6 * n)) for n, c in zip(sizes, computes, strict=True)])
    return sizes, computes, losses * np.exp(np.random.default_rng(seed).normal(0, noise, len(losses)))

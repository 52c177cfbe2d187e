"""Laws of learning rates and batches: published ones, points made from them, numpy's regression."""

import numpy as np
import pytest

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.points import Float64
from puna.scaling.fit.power import fit_power
from puna.scaling.fit.rates import (
    DEEPSEEK_BATCH,
    DEEPSEEK_LR,
    LLAMA3_PEAKS,
    STEP_BATCH,
    STEP_LR,
    RateLaw,
    fit_rates,
    of_flops,
)

SIZES, TOKENS = (6e7, 1e8, 2e8, 5e8, 1e9), (2e9, 1e10, 5e10)


def test_published_laws() -> None:
    assert STEP_LR.at(1e9, 1e11) == pytest.approx(1.79 * 1e9**-0.713 * 1e11**0.307)
    assert STEP_BATCH.at(1e9, 1e11) == STEP_BATCH.at(1e11, 1e11) == pytest.approx(0.58 * 1e11**0.571)
    assert DEEPSEEK_LR.at(1e9, 1e11) == pytest.approx(0.3118 * 6e20**-0.125)
    # DeepSeek's 7B on 2T tokens: 4.2e-4 and 2,304 sequences of 4,096 were used, near to their law.
    assert DEEPSEEK_LR.at(6.9e9, 2e12) == pytest.approx(4.2e-4, rel=0.15)
    assert DEEPSEEK_BATCH.at(6.9e9, 2e12) == pytest.approx(2304 * 4096, rel=0.25)


def test_llama_3s_peaks_are_nearly_a_power_law() -> None:
    fit = fit_power(*np.array(LLAMA3_PEAKS).T)
    assert fit.law.exponent == pytest.approx(-1 / 3, abs=0.01)
    for parameters, peak in LLAMA3_PEAKS:
        assert fit.law.at(parameters) == pytest.approx(peak, rel=0.03)
    low, high = fit.exponent_interval
    assert not low < STEP_LR.of_parameters < high  # at fixed tokens Step law falls faster


@pytest.mark.parametrize(
    ("law", "on"),
    [(STEP_LR, "both"), (STEP_BATCH, "tokens"), (DEEPSEEK_LR, "flops"), (RateLaw(2.0, -0.4), "parameters")],
)
def test_exact_sweeps_give_their_law(law: RateLaw, on: str) -> None:
    found = fit_rates(*_sweeps(law), on=on).law  # type: ignore[arg-type]
    assert (found.of_parameters, found.of_tokens) == (
        pytest.approx(law.of_parameters, abs=1e-8),
        pytest.approx(law.of_tokens, abs=1e-8),
    )
    assert found.at(7e9, 2e12) == pytest.approx(law.at(7e9, 2e12), rel=1e-6)


def test_intervals() -> None:
    inside = []
    for seed in range(12):
        fit = fit_rates(*_sweeps(STEP_LR, noise=0.002, seed=seed), resamples=150)
        assert fit.best.shape == (15, 3) and fit.left_out == ()
        for name, exponent in (("parameters", -0.713), ("tokens", 0.307)):
            low, high = fit.exponent_interval(name, 0.9)  # type: ignore[arg-type]
            inside.append(low < exponent < high)
        low, high = fit.interval(7e9, 2e12)
        assert low < fit.law.at(7e9, 2e12) < high
    assert np.mean(inside) > 0.6
    # The law is numpy's regression through the minima.
    n, d, best = np.log(fit.best).T
    numbers = np.linalg.lstsq(np.column_stack([np.ones(15), n, d]), best, rcond=None)[0]
    assert numbers == pytest.approx([np.log(fit.law.factor), fit.law.of_parameters, fit.law.of_tokens])


def test_sweeps_on_one_side_are_left_out() -> None:
    n, d, v, y = _sweeps(STEP_LR)
    keep = (n != SIZES[0]) | (d != TOKENS[0]) | (v < STEP_LR.at(SIZES[0], TOKENS[0]) / 2)
    fit = fit_rates(n[keep], d[keep], v[keep], y[keep])
    assert fit.left_out == ((SIZES[0], TOKENS[0]),) and len(fit.best) == 14
    assert fit.law.of_parameters == pytest.approx(-0.713)


def test_refused() -> None:
    n, d, v, y = _sweeps(STEP_LR)
    together = d == d[0]
    with pytest.raises(DataError, match="parameters, tokens: expected sweeps that tell both apart"):
        fit_rates(n[together], d[together], v[together], y[together])
    with pytest.raises(DataError, match="tell tokens apart"):
        fit_rates(n[together], d[together], v[together], y[together], on="tokens")
    assert fit_rates(n[together], d[together], v[together], y[together], on="parameters").law.of_tokens == 0
    with pytest.raises(DataError, match="values: expected at least 4 sweeps with a minimum within, came 0 of 15"):
        fit_rates(n, d, v, 9 - y)
    with pytest.raises(DataError, match="values: expected numbers above 0"):
        fit_rates(n, d, -v, y)
    with pytest.raises(ConfigError, match="on: expected one of both, parameters, tokens, flops, came 'width'"):
        fit_rates(n, d, v, y, on="width")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tokens: expected a number above 0, came 0"):
        STEP_LR.at(1e9, 0)
    with pytest.raises(ConfigError, match="name: expected parameters or tokens"):
        fit_rates(n, d, v, y).exponent_interval("width")  # type: ignore[arg-type]
    assert of_flops(1, 0.5).at(1, 1) == pytest.approx(6**0.5)


def _sweeps(law: RateLaw, noise: float = 0.0, seed: int = 0) -> tuple[Float64, Float64, Float64, Float64]:
    """Nine values around the best, off centre, of each of 15 (N, D)."""
    n, d, factor = (axis.ravel() for axis in np.meshgrid(SIZES, TOKENS, np.geomspace(0.2, 8, 9)))
    best = np.array([law.at(*point) for point in zip(n, d, strict=True)])
    losses = 2 + 100 * n**-0.3 + 0.03 * np.log(factor) ** 2
    return n, d, best * factor, losses + np.random.default_rng(seed).normal(0, noise, len(n))

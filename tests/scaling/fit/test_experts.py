"""Clark's law of routed models: what the paper prints of it, inverses, and points made from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.experts import HASH, RL_R, S_BASE, ExpertLaw, fit_experts

SIZES, EXPERTS = (15e6, 25e6, 55e6, 130e6, 370e6, 1.3e9), (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def test_what_the_paper_says_of_it() -> None:
    # 5M parameters with 128 experts are worth 55M dense ones; the printed coefficients are rounded.
    assert S_BASE.effective_parameters(5e6, 128) == pytest.approx(55e6, rel=0.1)
    # Routing stops helping at 937B; by the rounded b and c at 10^12.
    assert S_BASE.cutoff == pytest.approx(937e9, rel=0.1)
    assert S_BASE.loss(1e9, 128) < S_BASE.loss(1e9, 1)
    # S-BASE is best of the three at large sizes, as the paper finds.
    assert S_BASE.loss(1.3e9, 128) < min(RL_R.loss(1.3e9, 128), HASH.loss(1.3e9, 128))


@given(st.sampled_from([S_BASE, RL_R, HASH]), st.floats(1e6, 1e11), st.floats(1, 2000))
def test_effective_parameters_have_the_same_loss(law: ExpertLaw, parameters: float, experts: float) -> None:
    dense = law.effective_parameters(parameters, experts)
    assert law.loss(dense, 1) == pytest.approx(law.loss(parameters, experts), rel=1e-9)
    assert law.effective_parameters(parameters, 1) == pytest.approx(parameters, rel=1e-9)
    if parameters < law.cutoff / 2:
        assert dense >= parameters * (1 - 1e-9)
        assert law.experts_for(parameters, dense) == pytest.approx(experts, rel=1e-4)


def test_what_experts_cannot_do() -> None:
    most = S_BASE.effective_parameters(1e8, 1e15)
    assert S_BASE.effective_parameters(1e8, 512) < most
    with pytest.raises(ConfigError, match="effective: expected between 1e\\+08 and"):
        S_BASE.experts_for(1e8, most * 1.01)
    with pytest.raises(ConfigError, match="effective: expected between 1e\\+08 and"):
        S_BASE.experts_for(1e8, 0.9e8)
    # From the cutoff on they harm.
    assert S_BASE.effective_parameters(S_BASE.cutoff, 64) == pytest.approx(S_BASE.cutoff, rel=1e-6)
    assert S_BASE.effective_parameters(1e13, 64) < 1e13
    assert ExpertLaw(-0.1, -0.1, 0.0, 1.0, 2.0, 300.0).cutoff == np.inf


@pytest.mark.parametrize("law", [S_BASE, RL_R, HASH])
def test_exact_points_give_their_law(law: ExpertLaw) -> None:
    n, e = (axis.ravel() for axis in np.meshgrid(SIZES, EXPERTS))
    fit = fit_experts(n, e, [law.loss(*point) for point in zip(n, e, strict=True)])
    for name in ("a", "b", "c", "d", "start", "most"):
        assert getattr(fit.law, name) == pytest.approx(getattr(law, name), rel=2e-3)
    assert np.abs(fit.residuals).max() < 1e-6


def test_noisy_points_give_what_experts_are_worth() -> None:
    """The numbers go together and scatter; what they are asked for does not."""
    n, e = (axis.ravel() for axis in np.meshgrid(SIZES, EXPERTS))
    clean = np.array([S_BASE.loss(*point) for point in zip(n, e, strict=True)])
    worth = []
    for seed in range(3):
        noise = np.exp(np.random.default_rng(seed).normal(0, 0.002, len(clean)))
        fit = fit_experts(n, e, clean * noise, resamples=100)
        low, high = fit.effective_interval(370e6, 64, 0.999)
        assert low < S_BASE.effective_parameters(370e6, 64) < high < 1.15 * low
        assert fit.residuals.std() == pytest.approx(0.002 / np.log(10), rel=0.25)
        worth.append(fit.law.effective_parameters(370e6, 64) / S_BASE.effective_parameters(370e6, 64))
        # Twice the size that was measured at most, which is where such a law is used.
        assert fit.law.effective_parameters(2.6e9, 128) == pytest.approx(
            S_BASE.effective_parameters(2.6e9, 128), rel=0.1
        )
    assert worth == pytest.approx(np.ones(3), rel=0.04)


def test_refused() -> None:
    n, e, y = [1e8, 1e9] * 4, [1, 1, 2, 2, 4, 4, 8, 8], [3.0, 2.5, 2.9, 2.4, 2.8, 2.35, 2.75, 2.3]
    with pytest.raises(DataError, match="experts: expected 1 or more, came 0.5"):
        fit_experts(n, [0.5, *e[1:]], y)
    with pytest.raises(DataError, match="experts: expected at least 4 different numbers, came 2"):
        fit_experts(n, [1, 2] * 4, y)
    with pytest.raises(DataError, match="parameters: expected at least two different values"):
        fit_experts([1e8] * 8, e, y)
    with pytest.raises(DataError, match="expected at least 8 points, came 7"):
        fit_experts(n[:7], e[:7], y[:7])
    with pytest.raises(ConfigError, match="start, most: expected 0 < start < most"):
        ExpertLaw(-0.1, -0.1, 0.01, 1, 300, 2)
    with pytest.raises(ConfigError, match="experts: expected 1 or more, came 0"):
        S_BASE.loss(1e9, 0)

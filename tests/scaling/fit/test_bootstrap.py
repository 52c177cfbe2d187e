"""Weights of resamples, and the middle of samples."""

import numpy as np
import pytest

from puna.base.errors import ConfigError
from puna.scaling.fit.bootstrap import interval, resample


def test_weights_are_dirichlet() -> None:
    weights = resample(50, 4000, 3)
    assert weights.shape == (4000, 50) and (weights > 0).all()
    np.testing.assert_allclose(weights.mean(1), 1)
    # Of n Dirichlet(1, ..., 1) weights times n the variance is (n - 1) / (n + 1), the covariance -1 / (n + 1).
    np.testing.assert_allclose(weights.var(0).mean(), 49 / 51, rtol=0.02)
    assert (resample(50, 10, 3) == weights[:10]).all() and (resample(50, 10, 4) != weights[:10]).any()


def test_spread_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=200)
    means = resample(200, 4000, 0) @ values / 200
    np.testing.assert_allclose(means.std(), values.std() / np.sqrt(200), rtol=0.05)
    low, high = interval(means, 0.9)
    assert ((means < low).mean(), (means > high).mean()) == (
        pytest.approx(0.05, abs=1e-3),
        pytest.approx(0.05, abs=1e-3),
    )


def test_refused() -> None:
    with pytest.raises(ConfigError, match="resamples: expected 0 or more, came -1"):
        resample(5, -1, 0)
    with pytest.raises(ConfigError, match="fit with resamples=400"):
        interval(np.zeros(0))
    with pytest.raises(ConfigError, match="level: expected a share between 0 and 1, came 95"):
        interval(np.zeros(3), 95)

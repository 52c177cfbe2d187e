"""Derivatives against differences, and projected coefficients against scipy's bounded least squares."""

import numpy as np
import pytest
import scipy.optimize

from puna.scaling.fit.surface import Surface, project
from puna.scaling.law import REFIT


@pytest.mark.parametrize("logs", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_derivatives(tied: bool, logs: bool) -> None:
    draw = np.random.default_rng(0)
    surface = Surface(10 ** draw.uniform(7, 10, 12), 10 ** draw.uniform(9, 12, 12), tied, logs)
    theta = np.array([[0.5, 0.1, -0.3, 0.4, 0.3], [-2.0, 0.3, 0.2, 0.2, 0.9]])[:, : 4 if tied else 5]
    values, jacobian = surface(theta)
    for column in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[column] = 1e-6
        slope = (surface(theta + step)[0] - surface(theta - step)[0]) / 2e-6
        np.testing.assert_allclose(jacobian[:, :, column], slope, rtol=1e-5, atol=1e-8)
    law = surface.coefficients(theta)[0]
    points = zip(surface.parameters, surface.tokens, values[0], strict=True)
    for n, d, value in points:
        loss = law[0] + law[1] * n ** -law[2] + law[3] * d ** -law[4]
        assert (np.log(loss) if logs else loss) == pytest.approx(value, rel=1e-10)


def test_projection_is_nonnegative_least_squares() -> None:
    draw = np.random.default_rng(2)
    basis = draw.uniform(0.1, 2, size=(40, 15, 3))
    basis[20:, :, 2] *= -1  # so that some coefficients must be 0
    losses = draw.uniform(1, 3, 15)
    found, _ = project(basis, losses, np.inf, rounds=1)
    assert (found == 0).any() and (found > 0).any()
    for one, coefficients in zip(basis, found, strict=True):
        wanted, _ = scipy.optimize.nnls(one / losses[:, None], np.ones(15))
        np.testing.assert_allclose(coefficients, wanted, atol=1e-6)


def test_starts_of_exact_points_are_near_the_law() -> None:
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    losses = REFIT.floor + REFIT.a * n**-REFIT.alpha + REFIT.b * d**-REFIT.beta
    surface = Surface(n, d)
    starts = surface.starts(losses)
    assert starts.shape == (8, 5)
    floor, _, alpha, _, beta = surface.coefficients(starts[:1])[0]
    assert (floor, alpha, beta) == (
        pytest.approx(1.817, abs=0.1),
        pytest.approx(0.35, abs=0.1),
        pytest.approx(0.37, abs=0.1),
    )

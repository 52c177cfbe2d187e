"""The descent reaches the minimum: scipy's linear programs, L-BFGS and closed forms are the witnesses."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.scaling.fit.huber import descend, huber
from puna.scaling.fit.points import Float64


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=9), st.floats(1e-3, 5))
def test_the_loss_is_hubers(residuals: list[float], delta: float) -> None:
    np.testing.assert_allclose(huber(np.array(residuals), delta), scipy.special.huber(delta, residuals), atol=1e-12)


def test_without_a_limit_it_is_least_squares() -> None:
    draw = np.random.default_rng(0)
    design, target = draw.normal(size=(30, 4)), draw.normal(size=30)
    weights = draw.exponential(size=(3, 30))
    theta, losses = descend(_linear(design), np.zeros((3, 4)), target, weights, math.inf)
    for row in range(3):
        root = np.sqrt(weights[row])
        wanted, rest, *_ = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)
        np.testing.assert_allclose(theta[row], wanted, rtol=1e-6, atol=1e-9)
        assert losses[row] == pytest.approx(rest[0] / 2, rel=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_far_below_the_noise_it_is_the_least_absolute_deviation(seed: int) -> None:
    """Where nearly all points lie beyond delta, and plain reweighting creeps, the answer is a linear program's."""
    draw = np.random.default_rng(seed)
    design, target, delta = draw.normal(size=(60, 3)), draw.standard_t(2, size=60), 1e-6
    (theta,), (loss,) = descend(_linear(design), np.zeros((1, 3)), target, np.ones((1, 60)), delta)
    ones = np.eye(60)
    program = scipy.optimize.linprog(
        np.concatenate([np.zeros(3), np.ones(120)]),
        A_eq=np.hstack([design, ones, -ones]),
        b_eq=target,
        bounds=[(None, None)] * 3 + [(0, None)] * 120,
    )
    assert loss == pytest.approx(delta * program.fun, rel=1e-5)
    np.testing.assert_allclose(theta, program.x[:3], atol=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1e-2, 0.1, 1.0]))
def test_the_slope_vanishes_at_the_end(seed: int, delta: float) -> None:
    """With values linear in the parameters the loss is convex: where its slope is 0, nothing is lower."""
    draw = np.random.default_rng(seed)
    design, target = draw.normal(size=(40, 3)), draw.normal(size=40)
    weights = draw.exponential(size=(1, 40))
    (theta,), (loss,) = descend(_linear(design), np.zeros((1, 3)), target, weights, delta)
    residuals = target - design @ theta
    assert loss == pytest.approx(float(weights[0] @ scipy.special.huber(delta, residuals)))
    slope = (weights[0] * np.clip(residuals, -delta, delta)) @ design
    assert np.abs(slope).max() < 1e-4 * delta * np.abs(weights[0] @ np.abs(design)).max()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    draw = np.random.default_rng(5)
    design, target, starts = draw.normal(size=(20, 2)), draw.normal(size=20), draw.normal(size=(4, 2))
    weights = draw.exponential(size=(4, 20))
    together, _ = descend(_linear(design), starts, target, weights, 0.1)
    for row in range(4):
        alone, _ = descend(_linear(design), starts[row : row + 1], target, weights[row : row + 1], 0.1)
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-5)
    theta, losses = descend(_linear(design), starts[:0], target, weights[:0], 0.1)
    assert theta.shape == (0, 2) and losses.shape == (0,)


def test_a_start_where_the_model_is_not_finite_stays() -> None:
    def model(theta: Float64) -> tuple[Float64, Float64]:
        return np.log(theta) * np.ones(3), (1 / theta)[:, :, None] * np.ones((1, 3, 1))

    theta, losses = descend(model, np.array([[-1.0], [1.0]]), np.log([2.0, 2.0, 2.0]), np.ones((1, 3)), 1.0)
    assert theta[:, 0].tolist() == [-1.0, pytest.approx(2.0)] and losses.tolist() == [math.inf, pytest.approx(0.0)]


def _linear(design: Float64):  # type: ignore[no-untyped-def]
    def model(theta: Float64) -> tuple[Float64, Float64]:
        return theta @ design.T, np.broadcast_to(design, (len(theta), *design.shape))

    return model

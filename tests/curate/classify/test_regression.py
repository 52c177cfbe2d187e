"""The loss against sums written out, its gradient against differences, the optimum against scipy."""

import numpy as np
import pytest
import scipy.optimize

from puna.curate.classify.regression import Dense, fit, fit_temperature, log_softmax, minimise, objective

SIZES = (3, 2)


def _problem() -> tuple[Dense, np.ndarray]:
    draw = np.random.default_rng(5)
    targets = np.stack([draw.integers(-1, 3, 20), draw.integers(-1, 2, 20)], 1)
    return Dense(draw.normal(size=(20, 4))), targets


def test_loss_is_the_sum_written_out() -> None:
    features, targets = _problem()
    values = np.random.default_rng(6).normal(size=4 * 5 + 5)
    weights, biases = values[:20].reshape(4, 5), values[20:]
    total = 0.0
    for x, wanted in zip(features.values, targets, strict=True):
        for head, (first, size) in enumerate(((0, 3), (3, 2))):
            if wanted[head] >= 0:
                logits = [x @ weights[:, first + k] + biases[first + k] for k in range(size)]
                total -= logits[wanted[head]] - np.log(sum(np.exp(logit) for logit in logits))
    expected = total / 20 + 0.1 / 2 * sum(w * w for w in weights.ravel())
    assert objective(features, targets, SIZES, 0.1, values)[0] == pytest.approx(expected)


def test_gradient_is_that_of_differences() -> None:
    features, targets = _problem()
    values = np.random.default_rng(7).normal(size=4 * 5 + 5)

    def loss(x: np.ndarray) -> float:
        return objective(features, targets, SIZES, 0.1, x)[0]

    gradient = objective(features, targets, SIZES, 0.1, values)[1]
    assert scipy.optimize.approx_fprime(values, loss) == pytest.approx(gradient, abs=1e-5)


def test_optimum_is_scipys() -> None:
    features, targets = _problem()

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        return objective(features, targets, SIZES, 0.1, x)

    theirs = scipy.optimize.minimize(loss, np.zeros(25), jac=True, method="BFGS", options={"gtol": 1e-9})
    ours = minimise(loss, np.zeros(25), 500, tolerance=1e-8)
    assert loss(ours)[0] == pytest.approx(theirs.fun, abs=1e-10)
    assert ours[:20] == pytest.approx(theirs.x[:20], abs=1e-5)
    weights, biases = fit(features, targets, SIZES, 0.1, 500)
    assert loss(np.concatenate([weights.ravel(), biases]))[0] == pytest.approx(theirs.fun, rel=1e-4)


def test_what_has_no_label_teaches_nothing() -> None:
    features, targets = _problem()
    seen = targets[:, 0] >= 0
    targets[:, 1] = -1
    both = fit(features, targets, SIZES, 0.1, 200)[0]
    assert not both[:, 3:].any()
    fewer = fit(Dense(features.values[seen]), targets[seen], SIZES, 0.1 * 20 / seen.sum(), 200)[0]
    assert both == pytest.approx(fewer, abs=5e-3)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_temperature_is_the_one_that_scipy_finds(sharpness: float) -> None:
    draw = np.random.default_rng(8)
    logits = draw.normal(size=(400, 3))
    targets = np.array([draw.choice(3, p=row) for row in np.exp(log_softmax(logits))])
    sharper = sharpness * logits

    def loss(temperature: float) -> float:
        logs = log_softmax(sharper / temperature)
        chosen = logs[np.arange(400), targets]
        return -float((401 / 402 * chosen + 1 / 402 * (logs.sum(1) - chosen) / 2).sum())

    theirs = scipy.optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8}).x
    assert fit_temperature(sharper, targets) == pytest.approx(theirs, rel=1e-4)


def test_who_was_always_right_is_not_certain() -> None:
    """30 of 30: the share that a smoothed target has, 31 / 32, is the best that can be told."""
    logits = np.tile([4.0, 0.0], (30, 1))
    temperature = fit_temperature(logits, np.zeros(30, np.int64))
    assert np.exp(log_softmax(logits / temperature))[0, 0] == pytest.approx(31 / 32, abs=1e-6)


def test_a_narrow_valley_is_walked_to_its_end() -> None:
    scales = np.array([1.0, 1000.0, 0.01])
    goal = np.array([3.0, -2.0, 50.0])
    found = minimise(
        lambda x: (float((scales * (x - goal) ** 2).sum()) / 2, scales * (x - goal)), np.zeros(3), 200, 1e-9
    )
    assert found == pytest.approx(goal, abs=1e-3)

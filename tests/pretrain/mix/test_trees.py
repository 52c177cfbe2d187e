"""Boosted trees: a single cut by brute force, a step found exactly, and LightGBM's law that more leaves fit better."""

import numpy as np
import pytest

from puna.pretrain.mix.trees import Trees, fit_trees

rng = np.random.default_rng(3)
POINTS = rng.dirichlet(np.ones(4), 60)


def best_stump(points: np.ndarray, values: np.ndarray, min_leaf: int) -> np.ndarray:
    """Predictions of the best single cut, over every feature and every midpoint."""
    best, chosen = np.inf, np.full(len(values), values.mean())
    for feature in range(points.shape[1]):
        distinct = np.unique(points[:, feature])
        for cut in (distinct[:-1] + distinct[1:]) / 2:
            left = points[:, feature] <= cut
            if min(left.sum(), (~left).sum()) < min_leaf:
                continue
            predicted = np.where(left, values[left].mean(), values[~left].mean())
            if (error := ((values - predicted) ** 2).sum()) < best:
                best, chosen = error, predicted
    return chosen


@pytest.mark.parametrize("min_leaf", [1, 7, 25])
def test_one_tree_of_two_leaves_is_the_best_cut_there_is(min_leaf: int) -> None:
    values = POINTS @ [1.0, 3.0, -2.0, 0.5] + rng.normal(0, 0.1, 60)
    trees = fit_trees(POINTS, values, rounds=1, rate=1.0, leaves=2, min_leaf=min_leaf)
    assert trees.predict(POINTS) == pytest.approx(best_stump(POINTS, values, min_leaf))


def test_trees_grow_best_first_and_each_fits_what_the_last_left() -> None:
    """A step in one feature, a smaller one within it: two cuts say all, and a second tree adds nothing."""
    values = np.where(POINTS[:, 0] > 0.3, 5.0, 0.0) + np.where(POINTS[:, 1] > 0.2, 1.0, 0.0)
    errors = [
        ((fit_trees(POINTS, values, 1, 1.0, leaves, 1).predict(POINTS) - values) ** 2).sum() for leaves in (1, 2, 4, 8)
    ]
    assert errors[0] == pytest.approx(((values - values.mean()) ** 2).sum())
    assert errors[0] > errors[1] > errors[2] >= errors[3] and errors[3] == pytest.approx(0, abs=1e-18)
    slow = fit_trees(POINTS, values, rounds=40, rate=0.1, leaves=4, min_leaf=1)
    left = np.abs(slow.predict(POINTS) - values)
    assert left.max() == pytest.approx(5 * 0.9 ** len(slow.roots), rel=0.5)


def test_cross_validation_stops_before_noise_is_learned() -> None:
    points, noise = rng.dirichlet(np.ones(6), 100), rng.normal(0, 1, 100)
    stopped = fit_trees(points, noise, rounds=300, rate=0.1)
    assert len(stopped.roots) < 60
    signal = fit_trees(points, 3 * points[:, 0] + 0.01 * noise, rounds=300, rate=0.1)
    assert len(signal.roots) > 60
    fresh = rng.dirichlet(np.ones(6), 200)
    assert np.corrcoef(signal.predict(fresh), fresh[:, 0])[0, 1] > 0.95


def test_points_that_are_all_alike_give_the_mean() -> None:
    trees = fit_trees(np.full((20, 3), 1 / 3), np.arange(20.0), rounds=5)
    assert isinstance(trees, Trees) and trees.predict(np.eye(3)) == pytest.approx([9.5] * 3)

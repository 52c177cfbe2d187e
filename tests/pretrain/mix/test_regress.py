"""Regressions beside numpy's and scipy's, and on RegMix's published runs."""

from pathlib import Path

import numpy as np
import pytest
import scipy.optimize

from benchmarks.mix import read_losses, read_shares
from puna.pretrain.mix.rank import spearman
from puna.pretrain.mix.regress import FORMS, fit_linear, fit_log_linear, held_out_predictions

rng = np.random.default_rng(11)
SHARES = rng.dirichlet(np.full(5, 0.7), 80)
TRUE = np.array([0.2, 1.1, -0.5, 0.8, -1.4])
LOSSES = 1.5 + np.exp(SHARES @ TRUE) + rng.normal(0, 0.02, 80)


def test_linear_is_least_squares() -> None:
    expected = np.linalg.lstsq(SHARES, LOSSES, rcond=None)[0]
    assert fit_linear(SHARES, LOSSES).coefficients == pytest.approx(expected, abs=1e-4)
    unseen = np.column_stack([SHARES, np.zeros(80)])
    assert fit_linear(unseen, LOSSES).coefficients[5] == pytest.approx(LOSSES.mean())


def test_log_linear_finds_what_scipy_finds() -> None:
    fitted = fit_log_linear(SHARES, LOSSES)
    theirs = scipy.optimize.least_squares(
        lambda p: p[0] + np.exp(SHARES @ p[1:]) - LOSSES, np.concatenate([[1.0], np.zeros(5)]), xtol=1e-14, ftol=1e-14
    )
    assert ((fitted.predict(SHARES) - LOSSES) ** 2).sum() == pytest.approx(2 * theirs.cost, rel=1e-6)
    assert fitted.predict(np.eye(5)) == pytest.approx(1.5 + np.exp(TRUE), rel=0.1)
    with pytest.raises(ValueError, match="expected losses above 0, came -1"):
        fit_log_linear(SHARES, LOSSES - LOSSES.min() - 1)


def test_held_out_predictions_never_see_their_own_loss() -> None:
    noise = rng.normal(5, 1, 80)
    predicted = held_out_predictions("linear", SHARES, noise)
    for i in (0, 33):
        changed = noise.copy()
        changed[i] += 100
        assert held_out_predictions("linear", SHARES, changed)[i] == pytest.approx(predicted[i])
    assert spearman(held_out_predictions("log-linear", SHARES, LOSSES), LOSSES) > 0.95
    assert spearman(held_out_predictions("linear", SHARES, LOSSES), LOSSES) > 0.9
    assert spearman(held_out_predictions("trees", SHARES, LOSSES, folds=2), LOSSES) > 0.7
    assert abs(spearman(predicted, noise)) < 0.4


def test_regmix_is_reproduced_from_its_runs_at_one_million_to_those_at_sixty(shared_data: Path) -> None:
    """Loss on Pile-CC of 256 unseen mixtures at 60M parameters; benchmarks/mix.py has all domains, trees too."""
    folder = shared_data / "scaling-regmix"
    shares, points = read_shares(folder / "train_mixture_1m.csv"), read_shares(folder / "test_mixture_60m.csv")
    names, losses = read_losses(folder / "train_pile_loss_1m.csv")
    measured = read_losses(folder / "test_pile_loss_60m.csv")[1][:, names.index("pile_cc")]
    known = losses[:, names.index("pile_cc")]
    assert spearman(fit_linear(shares, known).predict(points), measured) == pytest.approx(0.893, abs=0.002)
    assert spearman(fit_log_linear(shares, known).predict(points), measured) == pytest.approx(0.960, abs=0.002)
    trees = FORMS["trees"](shares[:256], known[:256])
    assert spearman(trees.predict(points), measured) > 0.97

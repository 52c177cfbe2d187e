"""The approaches behind one door: each finds the law that made the points, and published ones on published points."""

from pathlib import Path

import numpy as np
import pytest

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.approaches import APPROACHES, FitOptions, fit_points
from puna.scaling.fit.repeated import RepeatedLaw
from puna.scaling.fit.table import Points, read_points
from puna.scaling.law import REFIT, LossLaw

TIED = LossLaw(1.9, 600.0, 0.36, 3000.0, 0.36)


def made(law: LossLaw = REFIT, unique: float | None = None) -> Points:
    """Nine sizes at each of five computes, each around its own best size."""
    n, d = [], []
    for compute in np.geomspace(1e18, 1e21, 5).tolist():
        sizes = law.optimal(compute)[0] * np.geomspace(0.25, 4, 9)
        n.append(sizes)
        d.append(compute / 6 / sizes)
    sizes, tokens = np.concatenate(n), np.concatenate(d)
    once = None if unique is None else np.minimum(tokens, unique)
    if once is None:
        losses = [law.loss(*row) for row in zip(sizes, tokens, strict=True)]
    else:
        worth = RepeatedLaw(law, 12.0, 6.0)
        losses = [worth.loss(*row) for row in zip(sizes, tokens, once, strict=True)]
    names = tuple(f"{place}" for place in range(len(sizes)))
    return Points(names, sizes, tokens, np.array(losses), 6 * sizes * tokens, once)


def test_parametric_finds_law_exponents_and_nothing_left() -> None:
    found = fit_points("parametric", made(), FitOptions(resamples=20))
    assert found.law is not None and found.residuals is not None
    assert found.law.alpha == pytest.approx(REFIT.alpha, rel=1e-4)
    assert found.size.exponent == pytest.approx(REFIT.beta / (REFIT.alpha + REFIT.beta), rel=1e-4)
    assert [found.size.at(1e23), found.tokens.at(1e23)] == pytest.approx(REFIT.optimal(1e23), rel=1e-3)
    assert np.abs(found.residuals).max() < 1e-6
    assert {one.name for one in found.constants} == {"floor", "a", "alpha", "b", "beta"}
    assert found.samples.shape == (20, 5)


def test_without_resamples_there_are_no_intervals() -> None:
    found = fit_points("parametric", made(), FitOptions(resamples=0))
    assert found.size_interval is None and all(one.interval is None for one in found.constants)


def test_isoflop_takes_points_of_each_budget() -> None:
    points = made()
    exact = fit_points("isoflop", points, FitOptions(resamples=10))
    assert exact.size.exponent == pytest.approx(REFIT.beta / (REFIT.alpha + REFIT.beta), abs=1e-3)
    assert exact.law is None and exact.residuals is None and exact.worst() == [] and len(exact.best) == 5
    few = fit_points("isoflop", points, FitOptions(resamples=0, budgets=(1.05e18, 1e21)))
    assert [flops for flops, _, _ in few.best] == pytest.approx([1.05e18, 1e21])
    assert len(few.points.names) == 18 and "18 of 45 points" in few.notes[0]


def test_frontier_and_overtrained_and_repeated() -> None:
    sizes = np.repeat(np.geomspace(1e7, 1e9, 12), 40)
    tokens = np.tile(np.geomspace(1e8, 1e11, 40), 12)
    losses = np.array([TIED.loss(*row) for row in zip(sizes, tokens, strict=True)])
    grid = Points(("",) * len(sizes), sizes, tokens, losses, 6 * sizes * tokens)
    # Twelve sizes over two decades: the envelope goes in steps, so the slope is off by a step at each end.
    assert fit_points("frontier", grid).size.exponent == pytest.approx(0.5, abs=0.03)
    over = fit_points("overtrained", made(TIED), FitOptions(resamples=5))
    assert over.law is not None and over.law.loss(1e10, 1e12) == pytest.approx(TIED.loss(1e10, 1e12), rel=1e-5)
    assert over.samples.shape == (5, 5) and over.samples[0] == pytest.approx(
        [TIED.floor, TIED.a, TIED.alpha, TIED.b, TIED.beta], rel=1e-2
    )
    twice = fit_points("repeated", made(TIED, 2e8), FitOptions(resamples=5, base=TIED))
    reaches = {one.name: one.value for one in twice.constants}
    assert reaches["tokens_reach"] == pytest.approx(12, rel=1e-3)
    assert reaches["parameters_reach"] == pytest.approx(6, rel=1e-3)
    assert twice.residuals is not None and np.abs(twice.residuals).max() < 1e-6


def test_the_worst_point_is_named_and_the_greatest_losses_go() -> None:
    points = made()
    points.loss[7] *= 1.05
    found = fit_points("parametric", points, FitOptions(resamples=0))
    assert found.worst(1) == [7] and found.residuals is not None
    assert found.residuals[7] == pytest.approx(np.log(1.05), rel=1e-2)
    fewer = fit_points("parametric", points, FitOptions(resamples=0, greatest=3))
    assert len(fewer.points.names) == 42 and fewer.points.loss.max() < np.sort(points.loss)[-3]


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match="--approach: expected parametric, isoflop, .* came 'chinchilla'"):
        fit_points("chinchilla", made())
    with pytest.raises(DataError, match="repeated: expected a column unique_tokens, .* came none; name it with"):
        fit_points("repeated", made())
    assert list(APPROACHES) == ["parametric", "isoflop", "frontier", "repeated", "overtrained"]


def test_published_points_give_published_laws(shared_data: Path) -> None:
    """Besiroglu 2024, table 1; Hoffmann 2022, table 2, approach 2; Muennighoff 2023, the fit of few epochs."""
    chinchilla = read_points([shared_data / "scaling-chinchilla/svg_extracted_data.csv"])
    found = fit_points("parametric", chinchilla, FitOptions(resamples=0, greatest=5))
    assert len(found.points.names) == 240 and found.law is not None
    assert (found.law.floor, found.law.a) == (pytest.approx(1.8172, abs=1e-3), pytest.approx(482.01, rel=0.02))
    assert (found.law.alpha, found.law.beta) == (pytest.approx(0.3478, abs=1e-3), pytest.approx(0.3658, abs=2e-3))
    budgets = (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21)
    second = fit_points("isoflop", chinchilla, FitOptions(resamples=0, budgets=budgets))
    assert second.size.exponent == pytest.approx(0.49, abs=0.01)
    assert second.size.at(5.76e23) == pytest.approx(63e9, rel=0.05)
    c4 = read_points([shared_data / "scaling-datablations/points.csv"])
    base = fit_points("repeated", c4, FitOptions(resamples=0)).law
    assert base is not None and (base.a, base.b) == (pytest.approx(634.4, rel=0.01), pytest.approx(3050, rel=0.01))

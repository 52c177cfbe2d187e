"""Optima against scipy and brute force; repeated text against its definition."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from puna.base.errors import ConfigError
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw
from puna.scaling.optimum import (
    Demand,
    best_for_flops,
    best_for_loss,
    loss_of,
    missing_parameters,
    missing_text,
    tokens_for,
)
from puna.scaling.suboptimal import larger_models, smaller_models

LAWS = st.sampled_from([CHINCHILLA, REFIT])
FLOPS = st.floats(18, 26).map(lambda power: 10**power)


@given(LAWS, FLOPS)
def test_without_demands_it_is_the_laws_own_optimum(law: LossLaw, flops: float) -> None:
    assert best_for_flops(law, flops) == pytest.approx(law.optimal(flops), rel=1e-3)
    best = law.optimal(flops)
    loss = law.loss(*best)
    assert best_for_loss(law, loss) == pytest.approx(best, rel=1e-3)


@given(LAWS, FLOPS, st.floats(-3, 3))
def test_serving_is_paid_from_the_budget_as_scipy_would(law: LossLaw, flops: float, power: float) -> None:
    served = law.optimal(flops)[1] * 10**power
    parameters, tokens = best_for_flops(law, flops, Demand(serve_tokens=served))
    assert 6 * parameters * tokens + 2 * parameters * served == pytest.approx(flops)

    def loss(log: float) -> float:
        left = flops / (6 * math.exp(log)) - served / 3
        return law.loss(math.exp(log), left) if left > 1 else math.inf

    end = math.log(flops / (6 + 2 * served))
    found = minimize_scalar(loss, bounds=(math.log(1e3), end), method="bounded", options={"xatol": 1e-10})
    assert law.loss(parameters, tokens) <= found.fun * (1 + 1e-9)
    # The dual: no cheaper way to this loss.
    same = best_for_loss(law, law.loss(parameters, tokens), Demand(serve_tokens=served))
    assert 6 * same[0] * same[1] + 2 * same[0] * served == pytest.approx(flops, rel=1e-6)


def test_serving_makes_the_model_smaller_and_the_text_longer() -> None:
    sizes = [best_for_loss(REFIT, 2.1, Demand(serve_tokens=served)) for served in (0, 1e11, 1e12, 1e13, 1e14)]
    assert all(a[0] > b[0] and a[1] < b[1] for a, b in pairwise(sizes))


@given(st.floats(1, 60), st.floats(6, 13))
def test_a_repetition_is_worth_what_is_left_of_it(epochs: float, power: float) -> None:
    """d D' / d D falls from 1 by exp(-(D / U - 1) / R*): integrated, it is the formula. And back."""
    unique = 10**power
    demand = Demand(unique_tokens=unique, max_epochs=60)
    worth, _ = quad(lambda e: math.exp(-(e - 1) / 15.387756), 1, epochs)
    assert demand.effective(unique * epochs) == pytest.approx(unique * (1 + worth), rel=1e-9)
    assert demand.learned(demand.effective(unique * epochs)) == pytest.approx(unique * epochs, rel=1e-6)
    assert demand.effective(unique / epochs) == unique / epochs == demand.learned(unique / epochs)
    assert demand.learned(unique * 17) == math.inf


def test_four_epochs_are_nearly_as_good_as_new_text() -> None:
    """Muennighoff 2023, section 1: up to 4 epochs hardly differ; far beyond, nothing is gained."""
    demand = Demand(unique_tokens=1e9, max_epochs=1000)
    assert demand.effective(4e9) / 4e9 > 0.9
    assert demand.effective(1e12) == pytest.approx(16.387756e9)


@given(LAWS, FLOPS, st.floats(-2.5, 1), st.sampled_from([1.0, 2.0, 4.0, 20.0]))
def test_with_little_text_the_best_of_a_grid_is_no_better(
    law: LossLaw, flops: float, power: float, epochs: float
) -> None:
    demand = Demand(unique_tokens=law.optimal(flops)[1] * 10**power, max_epochs=epochs)
    parameters, tokens = best_for_flops(law, flops, demand)
    assert tokens <= demand.max_tokens and 6 * parameters * tokens == pytest.approx(flops)
    best = loss_of(law, parameters, tokens, demand)
    for other in np.geomspace(flops / 6 / demand.max_tokens, flops / 6, 300):
        learned = min(flops / 6 / other, demand.max_tokens)
        assert best <= law.loss(other, demand.effective(learned)) * (1 + 1e-9)


def test_a_loss_beyond_the_text_says_how_much_is_missing() -> None:
    demand = Demand(unique_tokens=2e10)
    with pytest.raises(
        ConfigError, match="80.0B tokens, 20.0B of them unique, reach 2.0371 at best, came 2.0000"
    ) as told:
        best_for_loss(REFIT, 2.0, demand)
    assert "takes more than 33.1B unique tokens" in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(ConfigError, match="132B tokens"):
        best_for_loss(REFIT, 2.0, Demand(unique_tokens=3.3e10))
    best_for_loss(REFIT, 2.0, Demand(unique_tokens=3.32e10))
    with pytest.raises(ConfigError, match="expected above 1.8172, which this law goes never under"):
        best_for_loss(REFIT, 1.8)
    assert "6.86B" in missing_parameters(REFIT, 2.0, 1e9)
    assert missing_text(REFIT, 2.0, demand) == missing_parameters(REFIT, 2.0, 1e9, demand)


@given(LAWS, st.floats(0.05, 1.5))
def test_roads_reach_the_same_loss_for_more(law: LossLaw, above: float) -> None:
    loss = law.floor + above
    best = law.optimal_for(loss)
    roads = [*smaller_models(law, loss), *larger_models(law, loss)]
    assert len(roads) >= 4
    for road in roads:
        assert law.loss(road.parameters, road.tokens) == pytest.approx(loss)
        # k_N k_D - 1 (Hoffmann's law, de Vries 2023).
        assert road.overhead == pytest.approx(road.parameters / best[0] * road.tokens / best[1] - 1)
        assert road.overhead > 0
    assert [road.overhead for road in smaller_models(law, loss)] == sorted(
        road.overhead for road in smaller_models(law, loss)
    )


def test_a_model_too_small_for_any_text_has_no_road() -> None:
    assert smaller_models(REFIT, 2.0, (0.75, 0.01)) == smaller_models(REFIT, 2.0, (0.75,))
    assert tokens_for(REFIT, 2.0, 1e9) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"serve_tokens": -1.0},
        {"serve_tokens": math.inf},
        {"unique_tokens": 0.0},
        {"max_epochs": 0.5},
        {"max_epochs": math.nan},
    ],
)
def test_demands_that_cannot_be_are_told(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: expected"):
        Demand(**wrong)

"""The cheapest model over its life: the plan's search against the closed form, that against scipy, and laws of both."""

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw
from puna.scaling.optimum import Demand, best_for_loss
from puna.scaling.suboptimal import least_parameters
from tests.scaling.closed_form import inference_optimum

LAWS = st.builds(
    LossLaw, st.floats(0.5, 3), st.floats(50, 1000), st.floats(0.2, 0.6), st.floats(50, 5000), st.floats(0.2, 0.6)
)


@given(LAWS, st.floats(0.05, 1), st.floats(6, 16))
def test_the_search_of_a_plan_ends_at_the_closed_form(law: LossLaw, above: float, log_used: float) -> None:
    loss, used = law.floor + above, 10**log_used
    parameters, tokens = best_for_loss(law, loss, Demand(serve_tokens=used))
    exact = inference_optimum(law, loss, used)
    assert 6 * parameters * tokens + 2 * parameters * used == pytest.approx(exact.flops, rel=1e-9)
    assert parameters == pytest.approx(exact.parameters, rel=1e-3)


@given(LAWS, st.floats(0.05, 1), st.floats(6, 18))
def test_no_size_on_the_contour_is_cheaper(law: LossLaw, above: float, log_used: float) -> None:
    loss, used = law.floor + above, 10**log_used
    ours = inference_optimum(law, loss, used)
    assert law.loss(ours.parameters, ours.tokens) == pytest.approx(loss, rel=1e-9)
    assert ours.flops == pytest.approx(6 * ours.parameters * ours.tokens + 2 * ours.parameters * used)

    def cost(log_size: float) -> float:
        size = math.exp(log_size)
        return math.log(6 * size * law.tokens_for(loss, size) + 2 * size * used)

    low, high = math.log(least_parameters(law, loss)), math.log(law.optimal_for(loss)[0])
    found = scipy.optimize.minimize_scalar(cost, bounds=(low + 1e-12, high), method="bounded", options={"xatol": 1e-10})
    assert math.log(ours.flops) <= found.fun + 1e-9


@given(LAWS, st.floats(0.05, 1), st.floats(6, 16), st.floats(1.05, 1000))
def test_more_use_makes_it_smaller_and_longer_trained(
    law: LossLaw, above: float, log_used: float, times: float
) -> None:
    loss = law.floor + above
    none, less, more = (inference_optimum(law, loss, used) for used in (0, 10**log_used, times * 10**log_used))
    assert (none.parameters, none.tokens) == law.optimal_for(loss) and none.use_flops == 0
    floor = least_parameters(law, loss)
    assert none.parameters * (1 + 1e-9) >= less.parameters >= more.parameters * (1 - 1e-9) >= floor * (1 - 1e-8)
    assert none.tokens <= less.tokens * (1 + 1e-9) and less.tokens <= more.tokens * (1 + 1e-9)
    assert none.flops <= less.flops * (1 + 1e-12) and less.flops <= more.flops * (1 + 1e-12)


def test_a_model_of_chinchillas_loss_that_serves_two_trillion_tokens() -> None:
    """As Sardana 2023 finds with Chinchilla's law: clearly smaller, trained longer, and cheaper over its life."""
    loss = CHINCHILLA.loss(*CHINCHILLA.optimal(5.76e23))
    best = CHINCHILLA.optimal_for(loss)
    life = inference_optimum(CHINCHILLA, loss, 2e12)
    assert 0.5 < life.parameters / best[0] < 0.95 and 1.05 < life.tokens / best[1] < 2
    assert life.flops < 6 * best[0] * best[1] + 2 * best[0] * 2e12
    assert life.training_flops > 6 * best[0] * best[1]


def test_it_joins_the_optimum_smoothly() -> None:
    sizes = [inference_optimum(REFIT, 2.2, used).parameters for used in (0, 1e-3, 1.0, 1e6, 1e9)]
    assert sizes[1] == pytest.approx(sizes[0], rel=1e-9) and sizes[3] == pytest.approx(sizes[0], rel=1e-4)
    assert all(np.diff(sizes) <= 1e-9 * sizes[0])


def test_refused() -> None:
    with pytest.raises(ConfigError, match="used_tokens: expected 0 or more, came -1"):
        inference_optimum(CHINCHILLA, 2.0, -1)
    with pytest.raises(ConfigError, match="loss: expected above 1.6900"):
        inference_optimum(CHINCHILLA, 1.5, 1e12)

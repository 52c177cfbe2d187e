"""Roads beside the optimum."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw
from puna.scaling.suboptimal import hold_parameters, hold_tokens, least_parameters, least_tokens

LAWS = st.sampled_from([CHINCHILLA, REFIT])


@given(LAWS, st.floats(19, 26), st.floats(0.15, 20))
def test_the_same_loss_for_more_compute(law: LossLaw, log_flops: float, factor: float) -> None:
    flops = 10**log_flops
    best, tokens = law.optimal(flops)
    loss = law.loss(best, tokens)
    assume(factor * best > 1.001 * least_parameters(law, loss) and factor * tokens > 1.001 * least_tokens(law, loss))
    for road in (hold_parameters(law, flops, factor), hold_tokens(law, flops, factor)):
        assert law.loss(road.parameters, road.tokens) == pytest.approx(loss, rel=1e-9)
        assert road.parameters == pytest.approx(road.parameters_factor * best)
        assert road.tokens == pytest.approx(road.tokens_factor * tokens)
        assert road.overhead == pytest.approx(6 * road.parameters * road.tokens / flops - 1, abs=1e-9)
        assert road.overhead >= -1e-9
    # Each road leads back to the other.
    there = hold_parameters(law, flops, factor)
    back = hold_tokens(law, flops, there.tokens_factor)
    assert back.parameters_factor == pytest.approx(factor, rel=1e-6)


def test_half_the_size_is_cheap_a_twelfth_is_impossible() -> None:
    road = hold_parameters(CHINCHILLA, 5.76e23, 0.5)
    assert road.tokens_factor == pytest.approx(2.416, abs=0.001) and road.overhead == pytest.approx(0.208, abs=0.001)
    assert hold_parameters(CHINCHILLA, 1e21, 1).overhead == pytest.approx(0, abs=1e-9)
    with pytest.raises(ConfigError) as caught:
        hold_parameters(CHINCHILLA, 5.76e23, 0.08)
    loss = CHINCHILLA.loss(*CHINCHILLA.optimal(5.76e23))
    least = (406.4 / (loss - 1.69)) ** (1 / 0.34)
    assert f"fewer than {least:.4g} parameters to {loss:.4f}, came 0.08" in str(caught.value)
    # At every compute the same share of the best size: (beta / (alpha + beta))^(1 / alpha).
    assert f"factor: expected above {(0.28 / 0.62) ** (1 / 0.34):.4f}" in str(caught.value)
    assert least_parameters(CHINCHILLA, loss) == pytest.approx(least)
    with pytest.raises(ConfigError, match="factor: expected above 0.1170.*no number of parameters reaches"):
        hold_tokens(CHINCHILLA, 5.76e23, 0.1)


def test_refused() -> None:
    for hold in (hold_parameters, hold_tokens):
        with pytest.raises(ConfigError, match="factor: expected a number above 0, came 0"):
            hold(CHINCHILLA, 1e21, 0)
        with pytest.raises(ConfigError, match="flops: expected a number above 0"):
            hold(CHINCHILLA, -1e21, 1)
    for least in (least_parameters, least_tokens):
        with pytest.raises(ConfigError, match="loss: expected above 1.6900"):
            least(CHINCHILLA, 1.69)

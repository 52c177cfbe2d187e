"""The law of loss: scipy's search for its optima, inverses, and published figures."""

import math

import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw

LAWS = st.builds(
    LossLaw, st.floats(0.5, 3), st.floats(50, 1000), st.floats(0.2, 0.6), st.floats(50, 5000), st.floats(0.2, 0.6)
)


def test_as_published() -> None:
    # Hoffmann 2022, equation 10, at Chinchilla's own 70B and 1.4T.
    assert CHINCHILLA.loss(70e9, 1.4e12) == pytest.approx(1.69 + 406.4 / 70e9**0.34 + 410.7 / 1.4e12**0.28)
    # By the refit Gopher's compute wants about Chinchilla's size (70B), by the printed law half of it.
    assert REFIT.optimal(5.76e23)[0] == pytest.approx(70e9, rel=0.1)
    assert CHINCHILLA.optimal(5.76e23)[0] == pytest.approx(32e9, rel=0.1)


@given(LAWS, st.floats(15, 27))
def test_no_size_is_better_for_the_compute(law: LossLaw, log_flops: float) -> None:
    flops = 10**log_flops
    n, d = law.optimal(flops)
    assert 6 * n * d == pytest.approx(flops)

    def loss(log_n: float) -> float:
        size = math.exp(log_n)
        return law.loss(size, flops / (6 * size))

    centre = math.log(n)
    found = scipy.optimize.minimize_scalar(loss, bounds=(centre - 5, centre + 5), method="bounded")
    assert law.loss(n, d) <= found.fun * (1 + 1e-12)
    # The least compute for that loss is this compute.
    again = law.optimal_for(law.loss(n, d))
    assert again == (pytest.approx(n, rel=1e-6), pytest.approx(d, rel=1e-6))


@given(LAWS, st.floats(6, 13), st.floats(8, 15))
def test_inverses(law: LossLaw, log_n: float, log_d: float) -> None:
    n, d = 10**log_n, 10**log_d
    loss = law.loss(n, d)
    if law.b * d**-law.beta > 1e-6 * loss:
        assert law.tokens_for(loss, n) == pytest.approx(d, rel=1e-4)
    if law.a * n**-law.alpha > 1e-6 * loss:
        assert law.parameters_for(loss, d) == pytest.approx(n, rel=1e-4)


def test_what_no_number_reaches() -> None:
    assert CHINCHILLA.tokens_for(2.0, 1e8) == math.inf and CHINCHILLA.parameters_for(2.0, 1e9) == math.inf
    for name in ("floor", "a", "alpha", "b", "beta"):
        for bad in (0.0, -1.0, math.inf, math.nan):
            with pytest.raises(ConfigError, match=f"{name}: expected a number above 0, came {bad}"):
                LossLaw(**{**{"floor": 1.0, "a": 1.0, "alpha": 1.0, "b": 1.0, "beta": 1.0}, name: bad})
    for call in (lambda: CHINCHILLA.optimal_for(1.69), lambda: CHINCHILLA.tokens_for(1.0, 1e9)):
        with pytest.raises(ConfigError, match="loss: expected above 1.6900, which this law goes never under"):
            call()
    with pytest.raises(ConfigError, match="flops: expected a number above 0, came -1"):
        CHINCHILLA.optimal(-1)
    with pytest.raises(ConfigError, match="tokens: expected a number above 0, came 0"):
        CHINCHILLA.loss(1e9, 0)

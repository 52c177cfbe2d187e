"""Water-filling, against its laws and a search by bisection that knows nothing of the order in which domains fill."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.pretrain.mix.allocate import allocate

_DOMAINS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.floats(0, 10), st.floats(0, 1e6)), min_size=1, max_size=8
)


def by_bisection(weights: dict[str, float], limits: dict[str, float], num_tokens: float) -> dict[str, float]:
    """The level at which min(limit, level x weight) sums to `num_tokens`, or to all there is."""
    low, high = 0.0, 1e18
    for _ in range(300):
        level = (low + high) / 2
        if sum(min(limits[name], level * weights[name]) for name in weights) < num_tokens:
            low = level
        else:
            high = level
    return {name: min(limits[name], high * weights[name]) for name in weights}


def test_surplus_goes_to_the_others_in_proportion_and_may_fill_them_too() -> None:
    weights, limits = {"a": 50.0, "b": 25.0, "c": 17.0, "d": 8.0}, {"a": 200.0, "b": 260.0, "c": 1e9, "d": 1e9}
    allocation = allocate(weights, limits, 1000)
    assert allocation.wanted == {"a": 500.0, "b": 250.0, "c": 170.0, "d": 80.0}
    # a is full at 200; of the 800 left b would take 400 and is full too; 540 for c and d at 17 to 8.
    assert allocation.got == pytest.approx({"a": 200.0, "b": 260.0, "c": 540 * 17 / 25, "d": 540 * 8 / 25})
    assert allocation.limited == ["a"]  # b got more than it wanted, though less than its part of the surplus
    assert allocation.total == pytest.approx(1000)


@given(domains=_DOMAINS, num_tokens=st.floats(1, 1e7))
def test_the_laws_of_water_filling(domains: dict[str, tuple[float, float]], num_tokens: float) -> None:
    weights = {name: round(weight, 3) for name, (weight, _) in domains.items()}
    limits = {name: limit for name, (_, limit) in domains.items()}
    if not any(weights.values()):
        with pytest.raises(ConfigError, match="at least one above 0"):
            allocate(weights, limits, num_tokens)
        return
    allocation = allocate(weights, limits, num_tokens)
    got, reach = allocation.got, sum(limits[name] for name in weights if weights[name] > 0)
    assert all(0 <= got[name] <= limits[name] for name in weights)
    assert allocation.total == pytest.approx(min(num_tokens, reach), rel=1e-9)
    free = [
        got[name] / weights[name] for name in weights if weights[name] > 0 and got[name] < limits[name] * (1 - 1e-9)
    ]
    assert free == pytest.approx([max(free)] * len(free), rel=1e-6) if free else True
    assert all(got[name] == 0 for name in weights if weights[name] == 0)
    assert got == pytest.approx(by_bisection(weights, limits, num_tokens), rel=1e-6, abs=1e-6)
    turned = allocate(dict(reversed(weights.items())), limits, num_tokens)
    assert turned.got == got

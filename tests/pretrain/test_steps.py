"""Steps of a run against a loop that learns one batch after another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.base.config import validate
from puna.base.errors import ConfigError
from puna.pretrain.forecast.ladder import LadderConfig
from puna.pretrain.run import PretrainConfig
from puna.pretrain.steps import Steps

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True).map(sorted)


def learned(num_tokens: int, row_tokens: int, batch_rows: int, ramp: dict[int, int]) -> list[range]:
    """The rows of each step, by counting tokens as they are learned."""
    rows, done = list[range](), 0
    while True:
        size = next((size for until, size in sorted(ramp.items()) if done * row_tokens < until), batch_rows)
        if rows and (done + size) * row_tokens > num_tokens:  # nor does a later, larger batch fit
            return rows
        rows.append(range(done, done + size))
        done += size
        if done * row_tokens >= num_tokens:
            return rows


@given(st.integers(1, 5000), st.integers(1, 9), SIZES, st.lists(st.integers(1, 6000), min_size=3, max_size=3))
def test_steps_are_those_of_a_loop(num_tokens: int, row_tokens: int, sizes: list[int], untils: list[int]) -> None:
    ramp = dict(zip(sorted(set(untils)), sizes[:-1], strict=False))
    steps = Steps.of(num_tokens, row_tokens, sizes[-1], ramp)
    expected = learned(num_tokens, row_tokens, sizes[-1], ramp)
    assert [steps.at(step) for step in range(steps.num_steps)] == expected
    assert steps.num_rows == expected[-1].stop
    for outside in (-1, steps.num_steps):
        with pytest.raises(IndexError, match=f"expected a step below {steps.num_steps}, came {outside}"):
            steps.at(outside)


@pytest.mark.parametrize("ramp", [{100: 16}, {100: 32}, {100: 8, 200: 4}, {100: 0}, {-1: 4}])
def test_a_ramp_grows(ramp: dict[int, int]) -> None:
    settings = {"batch_rows": 16, "batch_ramp": ramp}
    with pytest.raises(ConfigError, match="pretrain: expected batch_ramp: expected rows that grow to batch_rows = 16"):
        validate(PretrainConfig, settings, "pretrain")


def test_a_ladder_has_no_ramp() -> None:
    settings = {"flops": [1e9], "sizes": [{}], "train": {"batch_rows": 16, "batch_ramp": {100: 8}}}
    with pytest.raises(ConfigError, match="train.batch_ramp: expected none"):
        validate(LadderConfig, settings, "ladder")

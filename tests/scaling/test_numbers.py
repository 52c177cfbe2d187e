"""Quantities as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.scaling.numbers import read_quantity, short


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8B", 8e9),
        ("15T", 15e12),
        ("3.8e25", 3.8e25),
        ("500k", 5e5),
        ("1_000", 1000),
        ("15,600", 15600),
        (" 2e3 ", 2e3),
    ],
)
def test_read(text: str, value: float) -> None:
    assert read_quantity("x", text) == value


@pytest.mark.parametrize("text", ["", "0", "-3", "nan", "inf", "B", "8X", "1e999", "eight"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="x: expected a number above 0 such as 8B, 15T or 3.8e25, came"):
        read_quantity("x", text)


@given(st.floats(1e-6, 1e30))
def test_what_is_written_reads_back_to_three_digits(value: float) -> None:
    assert read_quantity("x", short(value)) == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8_030_261_248, "8.03B"),
        (15.6e12, "15.6T"),
        (3.8e25, "3.80e25"),
        (999.9e6, "1.00B"),
        (131_072, "131K"),
        (0, "0"),
    ],
)
def test_written(value: float, text: str) -> None:
    assert short(value) == text

"""Shapes: near the number asked for, near the family, and possible."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.model import PRESETS
from puna.scaling.shape import llama_shape


@pytest.mark.parametrize("name", PRESETS)
def test_a_published_number_of_parameters_gives_the_published_shape(name: str) -> None:
    published = PRESETS[name]
    shape = llama_shape(published.num_parameters())
    for size in ("dim", "layers", "heads", "kv_heads", "head_dim", "ffn_dim", "vocab_size", "tied"):
        assert getattr(shape, size) == getattr(published, size), size


@given(st.floats(math.log(1e6), math.log(1e12)))
@example(math.log(1e6))
@example(math.log(1e12))
def test_within_5_percent_and_sound_from_1m_to_1t(log: float) -> None:
    wanted = math.exp(log)
    shape = llama_shape(wanted)
    assert abs(shape.num_parameters() / wanted - 1) <= 0.05
    assert shape.dim % 64 == 0 and (shape.dim < 512 or shape.dim % 128 == 0)
    assert shape.head_dim in (32, 64, 128) and shape.heads * shape.head_dim == shape.dim
    assert shape.heads % shape.kv_heads == 0 and shape.kv_heads <= 8
    assert 16 <= shape.dim / shape.layers <= 256 and 2 <= shape.ffn_dim / shape.dim <= 5
    if shape.dim >= 4096:
        assert shape.kv_heads == 8 and shape.ffn_dim % 256 == 0


def test_a_vocabulary_of_ones_own() -> None:
    shape = llama_shape(1e8, vocab_size=32_000)
    assert shape.vocab_size == 32_000 and abs(shape.num_parameters() / 1e8 - 1) <= 0.05
    assert llama_shape(1e8, max_position=2048).max_position == 2048


def test_what_cannot_be_is_told() -> None:
    for wanted in (1e5, 2e12):
        with pytest.raises(ConfigError, match="parameters: expected 1M to 1T, came"):
            llama_shape(wanted)
    with pytest.raises(ConfigError, match="room for layers beside a vocabulary of 128,256, came 5.00M"):
        llama_shape(5e6, vocab_size=128_256)
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="parameters: expected a number above 0"):
            llama_shape(wrong)

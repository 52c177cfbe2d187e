import gguf
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from puna.base.errors import ArtifactError
from puna.model.convert.quantize import QUANTIZATIONS

KINDS = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}


def rows(elements):
    shapes = st.tuples(st.integers(1, 5), st.integers(1, 3)).map(lambda sizes: (sizes[0], 32 * sizes[1]))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=elements))


# Below 1e-30 half precision has no scale but 0, and the package's 1 / scale may be infinite.
NUMBERS = st.floats(-1e5, 1e5, width=32).map(lambda x: x if abs(x) > 1e-30 else 0.0)


# Scales of exactly 1 or -1 and quarters between: half steps, where the way of rounding shows.
STEPS = np.arange(-31, 31).repeat(31).reshape(62, 31) + np.arange(31) * 0.25
STEPS = np.concatenate([np.tile([[127.0], [-8.0]], (31, 1)), STEPS.clip(-7.75, 7.75)], axis=1).astype(np.float32)


@pytest.mark.parametrize("name", KINDS)
@settings(phases=[Phase.explicit, Phase.generate])  # shrinking arrays takes minutes
@example(numbers=STEPS)
@example(numbers=-STEPS)
@given(numbers=rows(NUMBERS))
def test_blocks_are_those_of_the_gguf_package(name, numbers):
    ours = QUANTIZATIONS[name].quantize(numbers)
    with np.errstate(all="ignore"):
        theirs = gguf.quants.quantize(numbers, KINDS[name])
    assert ours.tobytes() == theirs.tobytes()
    dequantized = QUANTIZATIONS[name].dequantize(ours)
    expected = gguf.quants.dequantize(theirs, KINDS[name])
    assert dequantized.tobytes() == expected.reshape(-1, 32).tobytes()


# In shares of the largest number. Q8_0: half a step of 1/127, and half precision's error of the scale. Q4_0: a whole
# step of 1/8, because the opposite of the largest number is clipped.
@pytest.mark.parametrize(("name", "most"), [("q8_0", 0.57 / 127), ("q4_0", 1.01 / 8)])
def test_the_error_is_as_small_as_the_bits_allow(name, most):
    numbers = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)
    made = QUANTIZATIONS[name]
    error = np.abs(made.dequantize(made.quantize(numbers)) - numbers.reshape(-1, 32)).max(axis=1)
    share = (error / np.abs(numbers.reshape(-1, 32)).max(axis=1)).max()
    assert most / 2 < share <= most


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("number", [np.inf, np.nan, 1e30])
def test_what_has_no_scale_in_half_precision_is_refused(name, number):
    numbers = np.ones((1, 32), np.float32)
    numbers[0, 7] = number
    with pytest.raises(ArtifactError, match="scale fits half precision"):
        QUANTIZATIONS[name].quantize(numbers)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_too_small_for_a_scale_becomes_zeros(name):
    made = QUANTIZATIONS[name]
    assert not made.dequantize(made.quantize(np.full((1, 32), 1e-40, np.float32))).any()

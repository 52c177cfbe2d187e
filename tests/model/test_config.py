import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.model import PRESETS, Llama, LlamaConfig
from puna.model.config import before_long_context, shrunk

PUBLISHED = {
    "nano": 1_000_576,
    "1B": 1_235_814_400,
    "3B": 3_212_749_824,
    "8B": 8_030_261_248,
    "70B": 70_553_706_496,
    "405B": 405_853_388_800,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_formula_gives_the_published_number_of_parameters_and_the_module_has_them(name):
    with torch.device("meta"):
        model = Llama(PRESETS[name])
    assert PRESETS[name].num_parameters() == PUBLISHED[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]


def test_a_config_survives_its_dict():
    assert LlamaConfig(**PRESETS["8B"].to_dict()) == PRESETS["8B"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "multiple of kv_heads = 2, came 3"),
        ({"dim": 30}, "multiple of heads = 4, came 30"),
        ({"dim": 12}, "even number"),
        ({"layers": 0}, r"model\.layers: expected at least 1, came 0"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "expected \"llama3\", came 'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    sizes = {"dim": 32, "layers": 1, "heads": 4, "kv_heads": 2, "ffn_dim": 48, "vocab_size": 64}
    with pytest.raises(ConfigError, match=message):
        LlamaConfig(**{**sizes, **change})


@pytest.mark.parametrize("name", PRESETS)
def test_scale_1_changes_nothing(name):
    assert shrunk(PRESETS[name], 1) == PRESETS[name]


@pytest.mark.parametrize("name", ["1B", "8B", "70B", "405B"])
def test_half_the_width_is_half_of_every_size(name):
    """Where all sizes halve evenly, so does the shape; the layers stay."""
    whole, half = PRESETS[name], shrunk(PRESETS[name], 0.5)
    halved = {size: getattr(whole, size) // 2 for size in ("dim", "heads", "kv_heads", "ffn_dim")}
    assert half == dataclasses.replace(whole, **halved, head_dim=0) and half.head_dim == whole.head_dim


@given(st.sampled_from(list(PRESETS)), st.floats(0, 1, exclude_min=True), st.floats(0, 1, exclude_min=True))
def test_any_scale_gives_a_model_and_a_larger_one_never_a_smaller_model(name, one, other):
    """Valid: the constructor checks that heads, key/value heads, width and RoPE's pairs fit."""
    whole, (small, large) = PRESETS[name], sorted((one, other))
    models = [shrunk(whole, small), shrunk(whole, large), whole]
    for model in models:
        assert LlamaConfig(**{**model.to_dict(), "head_dim": 0}) == model
        assert model.heads // model.kv_heads == whole.heads // whole.kv_heads
    sizes = [(m.dim, m.heads, m.kv_heads, m.ffn_dim, m.layers, m.num_parameters()) for m in models]
    for below, above in itertools.pairwise(sizes):
        assert all(a <= b for a, b in zip(below, above, strict=True))
    least = 2 * (whole.heads // whole.kv_heads)  # a key/value head with its query heads, two channels each
    assert models[1].dim <= max(least, large * whole.dim * (1 + 1e-6))
    assert models[1].dim > large * whole.dim - 2 * models[1].heads - 1e-3


@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(1, 64), st.integers(1, 500),
    st.floats(0, 1, exclude_min=True), st.floats(0, 1, exclude_min=True),
)  # fmt: skip
def test_shapes_that_nobody_published_shrink_as_well(kv_heads, group, pairs, ffn_dim, one, other):
    heads = kv_heads * group
    sizes = {"dim": heads * 2 * pairs, "heads": heads, "kv_heads": kv_heads, "ffn_dim": ffn_dim}
    whole = LlamaConfig(layers=1, vocab_size=8, **sizes)
    assert shrunk(whole, 1) == whole
    small, large = (shrunk(whole, scale) for scale in sorted((one, other)))
    assert all(getattr(small, size) <= getattr(large, size) <= sizes[size] for size in sizes)


@pytest.mark.parametrize("scale", [0, -0.5, 1.01])
def test_a_scale_that_does_not_shrink_is_refused(scale):
    with pytest.raises(ConfigError, match=r"model\.scale: expected above 0 and at most 1, came"):
        shrunk(PRESETS["8B"], scale)


def test_a_width_that_is_not_that_of_the_heads_cannot_shrink():
    config = dataclasses.replace(PRESETS["8B"], head_dim=256)
    with pytest.raises(ConfigError, match=r"expected dim / heads to shrink a model, came 256"):
        shrunk(config, 0.5)


def test_before_long_context_llama_had_8192_positions_and_as_many_parameters():
    """Llama 3 8B (April 2024) was published without scaling: max_position_embeddings 8192, rope_scaling null."""
    before = before_long_context(PRESETS["8B"])
    assert (before.max_position, before.rope_scaling, before.rope_theta) == (8192, None, 500_000.0)
    assert before.num_parameters() == PUBLISHED["8B"]
    assert before_long_context(PRESETS["nano"]) == PRESETS["nano"]

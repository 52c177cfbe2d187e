"""Layouts: Llama 3's own, what fits, and what is missing."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.model import PRESETS
from puna.model.flops import training_flops
from puna.scaling.devices import DEVICES
from puna.scaling.layout import USABLE, best_layout, estimate, fewest_gpus
from puna.scaling.memory import Split

H100 = DEVICES["H100-SXM"]
# Llama 3's table 4: devices, sequence, rows of a step, layout, MFU. 16M tokens a step.
TABLE_4 = [
    (8192, 8192, 2048, (8, 1, 16, 64), 0.43),
    (16384, 8192, 2048, (8, 1, 16, 128), 0.41),
    (16384, 131_072, 128, (8, 16, 16, 8), 0.38),
]


@pytest.mark.parametrize(("gpus", "sequence", "rows", "sizes", "mfu"), TABLE_4)
def test_405b_is_laid_out_as_it_was_trained(
    gpus: int, sequence: int, rows: int, sizes: tuple[int, ...], mfu: float
) -> None:
    """The first row's MFU set `MATMUL_FRACTION`; the others, and every choice, are predictions."""
    layout = best_layout(PRESETS["405B"], H100, gpus, sequence, rows)
    split = layout.split
    assert (split.tensor, split.context, split.pipeline, split.data) == sizes
    assert layout.recompute != "layers" and not split.reshard and layout.batch_rows == rows
    assert layout.mfu(PRESETS["405B"], H100, sequence, "causal") == pytest.approx(mfu, abs=0.025)


@pytest.mark.parametrize(("name", "gpus"), [("8B", 16384), ("70B", 16384), ("8B", 8), ("70B", 64), ("1B", 1)])
def test_sensible_for_the_others(name: str, gpus: int) -> None:
    config = PRESETS[name]
    layout = best_layout(config, H100, gpus, 8192, 2048)
    assert layout.split.gpus == gpus and layout.split.tensor <= 8 and layout.split.context == 1
    assert layout.memory.resident <= USABLE * H100.memory_bytes
    assert 0.25 < layout.mfu(config, H100, 8192, "causal") < 0.6
    if gpus <= 8:
        assert layout.split.tensor == layout.split.pipeline == 1  # FSDP alone within a node


@settings(max_examples=25)
@given(
    st.sampled_from(["nano", "1B", "3B", "8B"]),
    st.sampled_from([1, 2, 3, 8, 24, 64]),
    st.sampled_from([1024, 8192, 32_768]),
    st.integers(64, 1024),
)
def test_whatever_is_found_fits_and_uses_every_device(name: str, gpus: int, sequence: int, rows: int) -> None:
    config = PRESETS[name]
    try:
        layout = best_layout(config, H100, gpus, sequence, rows)
    except ConfigError:
        needed = fewest_gpus(config, H100, sequence, rows)
        assert needed is None or needed > gpus or gpus & (gpus - 1)
        return
    split = layout.split
    assert split.tensor * split.context * split.pipeline * split.data == gpus
    assert layout.memory.resident <= USABLE * H100.memory_bytes
    assert layout.batch_rows == pytest.approx(rows, rel=0.35, abs=split.data)
    assert config.kv_heads % split.tensor == 0 and sequence % split.context == 0
    peak = gpus * H100.peak("bf16")
    assert layout.tokens_per_second * training_flops(config, sequence, "causal") < peak


def test_the_bubble_is_narayanans() -> None:
    split = Split(tensor=8, pipeline=16, data=128, stages=8)
    layout = estimate(PRESETS["405B"], H100, split, 8192, 1, 16)
    assert layout.bubble == 15 / (8 * 16)
    assert estimate(PRESETS["8B"], H100, Split(data=8), 8192, 1, 16).bubble == 0
    half = estimate(PRESETS["405B"], H100, dataclasses.replace(split, data=64), 8192, 1, 32)
    # Half the devices, and a bubble half as long: more than half as fast.
    assert 0.5 < half.tokens_per_second / layout.tokens_per_second < 0.56


def test_slower_links_cost_time_and_recomputing_a_third() -> None:
    config, split = PRESETS["8B"], Split(tensor=8)
    slow = dataclasses.replace(H100, interconnect=H100.interconnect / 10)
    fast, slower = (estimate(config, device, split, 8192, 1, 4).tokens_per_second for device in (H100, slow))
    assert slower < fast
    once, again = (estimate(config, H100, Split(), 8192, 1, 4, mode).tokens_per_second for mode in ("none", "layers"))
    assert once / again == pytest.approx(4 / 3)


def test_what_is_missing_is_told() -> None:
    with pytest.raises(
        ConfigError, match="gpus: 406B parameters need at least 128 H100-SXM of 80 GB in training, came 64"
    ):
        best_layout(PRESETS["405B"], H100, 64)
    assert fewest_gpus(PRESETS["405B"], H100) == 128
    best_layout(PRESETS["405B"], H100, 128)
    cores = dataclasses.replace(H100, name="cores", peak_flops={"fp32": 1e11}, memory_bytes=8e9, per_node=1)
    with pytest.raises(
        ConfigError, match=r"memory: expected [\d.e+]+ GB to train 8.03B parameters, came 8 GB of cores"
    ):
        best_layout(PRESETS["8B"], cores, 1)
    with pytest.raises(ConfigError, match="a batch of 2 rows of 8,192 tokens can be divided over, came 10,007"):
        best_layout(PRESETS["1B"], H100, 10_007, batch_rows=2)
    for name, wrong in (("gpus", 0), ("gpus", -8), ("sequence", 0), ("batch_rows", 0), ("gpus", 1.5)):
        with pytest.raises(ConfigError, match=f"{name}: expected"):
            best_layout(PRESETS["1B"], H100, **{"gpus": 8, name: wrong})  # type: ignore[arg-type]


def test_it_says_itself() -> None:
    assert str(best_layout(PRESETS["405B"], H100, 16384)) == "TP8 CP1 PP16 DP128 16x1 rows recompute pointwise"

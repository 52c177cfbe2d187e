"""Devices by name, and this machine from measurements."""

import dataclasses

import pytest

from puna.base.errors import ConfigError
from puna.scaling.devices import DEVICES, find_device


def test_found_whatever_the_case() -> None:
    assert find_device("h100-sxm") is DEVICES["H100-SXM"]
    with pytest.raises(ConfigError, match="device: expected A100-80G, H100-SXM, .* or this, came 'H1000'"):
        find_device("H1000")


@pytest.mark.parametrize("name", DEVICES)
def test_the_table_is_plausible(name: str) -> None:
    """FLOPs a byte of memory traffic are 100 to 500, fp8 is twice bf16: a slip of a digit or of sparsity shows."""
    device = DEVICES[name]
    assert 100 < device.peak("bf16") / device.bandwidth < 500
    if "fp8" in device.peak_flops:
        assert device.peak("fp8") == pytest.approx(2 * device.peak("bf16"), rel=0.02)
    assert device.network < device.interconnect < device.bandwidth
    assert device.training_dtype == "bf16"


def test_this_machine_is_what_was_measured() -> None:
    measured = {"cores": 2, "float32_gflops": 125.0, "bfloat16_gflops": 0.3, "copy_gb_per_s": 20.0, "memory_gib": 24.0}
    device = find_device("this", lambda: measured)
    assert device.peak("fp32") == 125e9 and device.memory_bytes == 24 * 2**30 and device.bandwidth == 20e9
    assert device.training_dtype == "fp32" and device.dollars_per_hour == 0
    with pytest.raises(ConfigError, match="dtype: expected one that this machine"):
        device.peak("bf16")


def test_numbers_that_cannot_be_are_told() -> None:
    good = DEVICES["H200"]
    changes = {"memory_bytes": 0.0, "bandwidth": -1.0, "dollars_per_hour": -2.0, "peak_flops": {}, "per_node": 0}
    for name, value in changes.items():
        with pytest.raises(ConfigError, match="device H200: .*expected"):
            dataclasses.replace(good, **{name: value})

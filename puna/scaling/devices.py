"""Accelerators: what they do at their peak, what they hold, and what an hour of one costs.

Peaks are of dense products (without sparsity) and come from the makers' data sheets, as memory and links do. A device
reports a few percent more memory than its sheet says, in 10^9 bytes, and takes about as much for itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from puna.base.errors import ConfigError
from puna.scaling.numbers import positive


@dataclass(frozen=True)
class Device:
    """One accelerator of a node. Raises ConfigError if a number is not above 0 (the price may be 0).

    peak_flops: FLOP/s by dtype ("fp32", "bf16", "fp8"). bandwidth: bytes/s of its memory. interconnect, network:
    bytes/s that it sends to others of its node and of other nodes. dollars_per_hour: a default; pass your own price.
    """

    name: str
    peak_flops: Mapping[str, float]
    memory_bytes: float
    bandwidth: float
    interconnect: float
    network: float
    per_node: int
    dollars_per_hour: float

    def __post_init__(self) -> None:
        if not self.peak_flops:
            raise ConfigError(f"device {self.name}: expected a peak for one dtype at least, came none")
        for dtype, peak in self.peak_flops.items():
            positive(f"device {self.name}: peak_flops.{dtype}", peak)
        for name in ("memory_bytes", "bandwidth", "interconnect", "network", "per_node"):
            positive(f"device {self.name}: {name}", getattr(self, name))
        if not self.dollars_per_hour >= 0:
            came = self.dollars_per_hour
            raise ConfigError(f"device {self.name}: dollars_per_hour: expected 0 or more, came {came}")

    def peak(self, dtype: str) -> float:
        """FLOP/s in `dtype`. Raises ConfigError if the device has none for it."""
        if dtype not in self.peak_flops:
            raise ConfigError(f"dtype: expected one that {self.name} has, {', '.join(self.peak_flops)}, came {dtype!r}")
        return self.peak_flops[dtype]

    @property
    def training_dtype(self) -> str:
        """What matrices are multiplied in: bf16 where the device has it, fp32 otherwise."""
        return "bf16" if "bf16" in self.peak_flops else "fp32"


def find_device(name: str, examine: Callable[[], Mapping[str, Any]] | None = None) -> Device:
    """A device of the table, whatever the case of its name, or "this" machine. Raises ConfigError for another.

    examine: measures this machine; `puna.base.doctor.examine` if it is left out.
    """
    if name.lower() == "this":
        return this_machine((examine or _doctor)())
    for known, device in DEVICES.items():
        if known.lower() == name.lower():
            return device
    raise ConfigError(f"device: expected {', '.join(DEVICES)} or this, came {name!r}")


def this_machine(measured: Mapping[str, Any]) -> Device:
    """The cores of this machine as one device, from what `puna doctor` measures; fp32, and free of charge."""
    copy = 1e9 * measured["copy_gb_per_s"]
    return Device(
        name=f"this machine ({measured['cores']} cores)",
        peak_flops={"fp32": 1e9 * measured["float32_gflops"]},
        memory_bytes=measured["memory_gib"] * 2**30,
        bandwidth=copy,
        interconnect=copy,
        network=copy,
        per_node=1,
        dollars_per_hour=0.0,
    )


def _doctor() -> Mapping[str, Any]:
    from puna.base.doctor import examine

    return examine()


def _in_eights(
    name: str, bf16: float, fp8: float, memory: float, bandwidth: float, link: float, network: float, price: float
) -> Device:
    """Of a node of eight: TFLOP/s, GB, GB/s (links in one direction) and dollars an hour."""
    peaks = {"bf16": bf16 * 1e12} | ({"fp8": fp8 * 1e12} if fp8 else {})
    return Device(name, peaks, memory * 1e9, bandwidth * 1e9, link * 1e9, network * 1e9, 8, price)


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        _in_eights("A100-80G", 312, 0, 80, 2039, 300, 25, 1.39),
        _in_eights("H100-SXM", 989.4, 1978.9, 80, 3350, 450, 50, 2.69),
        _in_eights("H200", 989.4, 1978.9, 141, 4800, 450, 50, 3.59),
        _in_eights("B200", 2250, 4500, 180, 8000, 900, 50, 5.98),
        _in_eights("L40S", 362, 733, 48, 864, 32, 12.5, 0.86),
        _in_eights("RTX-4090", 165.2, 330.3, 24, 1008, 32, 3.1, 0.34),
        _in_eights("MI300X", 1307.4, 2614.9, 192, 5300, 448, 50, 2.50),
    )
}
"""Prices are what one device costs an hour on demand, spring 2026; reserved ones are cheaper, large clouds dearer."""

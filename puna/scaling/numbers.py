"""Quantities as people write and read them: 8B, 15T, 3.8e25."""

import math

from puna.base.errors import ConfigError

_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def positive(name: str, value: float) -> float:
    """`value`, a finite number above 0. Raises ConfigError otherwise."""
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{name}: expected a number above 0, came {value}")
    return value


def read_quantity(name: str, text: str) -> float:
    """A number above 0, with a unit or without: 8.03B, 15T, 500k, 3.8e25. Raises ConfigError otherwise."""
    bare = text.strip().replace("_", "").replace(",", "")
    # Without a unit first: 2e3 is no 2 exa.
    for digits, factor in ((bare, 1.0), (bare[:-1], _UNITS.get(bare[-1:].upper(), 0.0))):
        try:
            value = float(digits) * factor
        except ValueError:
            continue
        if value > 0 and math.isfinite(value):
            return value
    raise ConfigError(f"{name}: expected a number above 0 such as 8B, 15T or 3.8e25, came {text!r}")


def short(value: float) -> str:
    """Three significant digits with a unit up to T, or a power of ten: 8.03B, 15.6T, 3.80e25."""
    if value >= 1e15:
        mantissa, power = f"{value:.2e}".split("e+")
        return f"{mantissa}e{int(power)}"
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size * 0.9995:
            return f"{_three_digits(value / size)}{unit}"
    return _three_digits(value)


def _three_digits(value: float) -> str:
    if value <= 0:
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(value * 1.0005)))
    return f"{value:.{min(decimals, 8)}f}"

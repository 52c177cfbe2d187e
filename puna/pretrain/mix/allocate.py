"""Tokens for domains: shares as they are wanted, as far as the repetition limit lets them.

D domains.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from puna.base.errors import ConfigError


@dataclass(frozen=True)
class Allocation:
    """Tokens of each domain: `wanted` by its weight, `got` under its limit."""

    wanted: dict[str, float]
    got: dict[str, float]

    @property
    def limited(self) -> list[str]:
        """Domains that got less than was wanted."""
        return [name for name, wanted in self.wanted.items() if self.got[name] < wanted * (1 - 1e-12)]

    @property
    def total(self) -> float:
        """Tokens of all domains; less than was asked for if every domain with a weight is at its limit."""
        return sum(self.got.values())


def allocate(weights: Mapping[str, float], limits: Mapping[str, float], num_tokens: float) -> Allocation:
    """Share `num_tokens` by `weights`, no domain more than its limit; the surplus goes to the others by their weights.

    Water-filling: what a full domain cannot take raises the level of all others, which may fill more of them. The
    weights need not sum to 1. Raises ConfigError if none is above 0.
    """
    total = sum(weights.values())
    if total <= 0:
        raise ConfigError("weights: expected at least one above 0, came none")
    wanted = {name: num_tokens * weight / total for name, weight in weights.items()}
    got: dict[str, float] = dict.fromkeys(weights, 0.0)
    # In the order in which they fill when the level rises: those whose limit is least for their weight.
    order = sorted(
        (name for name in weights if weights[name] > 0), key=lambda name: (limits[name] / weights[name], name)
    )
    # Sums from the end: taking weights off the whole sum would leave nothing but rounding for a small last one.
    weights_left = list(itertools.accumulate(weights[name] for name in reversed(order)))[::-1]
    left = float(num_tokens)
    for name, weight_left in zip(order, weights_left, strict=True):
        got[name] = min(float(limits[name]), left * weights[name] / weight_left)
        left -= got[name]
    return Allocation(wanted, got)

"""What a rule says of a text: a statistic, its limits, and the reason to drop the text if it is outside them."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Check(NamedTuple):
    """`value` must be at least `least` and at most `most`; `setting` names the threshold in the rule's settings."""

    reason: str
    setting: str
    value: float
    least: float = -math.inf
    most: float = math.inf

    @property
    def failed(self) -> bool:
        return not self.least <= self.value <= self.most


def first_failure(checks: Iterable[Check]) -> str | None:
    """The reason of the first check that fails; those after it are not computed."""
    for reason, _, value, least, most in checks:  # `check.failed`, without a call for each
        if not least <= value <= most:
            return reason
    return None

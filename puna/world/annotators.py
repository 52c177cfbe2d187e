"""Simulated annotators. They are programs with stated error rates and biases; no person judged anything here."""

from dataclasses import dataclass

from puna.base.errors import ConfigError
from puna.world.chance import Chance

STRENGTHS = ("marginally better", "slightly better", "better", "significantly better")
"""The four strengths of Llama 3 (section 4.1.1), for quality gaps of 0 to 3."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A text with its true quality, 0 (harmful or wrong) to 3 (right and well put)."""

    text: str
    quality: int


@dataclass(frozen=True, slots=True)
class Annotator:
    """Prefers the worse answer with probability `error_rate`, averaged over pairs balanced in length and position.

    On one pair the probability is error_rate +- length_bias +- position_bias: plus `length_bias` if the worse answer is
    the longer one (minus if the shorter), plus `position_bias` if it is shown first (minus if second).
    """

    name: str
    error_rate: float
    length_bias: float = 0.0
    position_bias: float = 0.0

    def __post_init__(self) -> None:
        bias = round(self.length_bias + self.position_bias, 9)
        if min(self.length_bias, self.position_bias) < 0 or not bias <= self.error_rate <= 1 - bias:
            raise ConfigError(
                f"annotator {self.name}: expected length_bias + position_bias <= error_rate <= 1 - their sum, "
                f"came {self.length_bias} + {self.position_bias} and {self.error_rate}"
            )


ANNOTATORS = (
    Annotator("careful", 0.03),
    Annotator("hasty", 0.15, position_bias=0.08),
    Annotator("impressed", 0.12, length_bias=0.10),
    Annotator("tired", 0.20, length_bias=0.06, position_bias=0.06),
)


def prefer(annotator: Annotator, first: Answer, second: Answer, chance: Chance) -> int:
    """Which answer the annotator prefers: 0 for `first`, 1 for `second`; equal ones by bias alone."""
    if first.quality == second.quality:
        lean = annotator.length_bias * _sign(len(first.text) - len(second.text)) + annotator.position_bias
        return 0 if chance.hit(0.5 + lean) else 1
    worse_is_first = first.quality < second.quality
    worse, better = (first, second) if worse_is_first else (second, first)
    error = annotator.error_rate + annotator.length_bias * _sign(len(worse.text) - len(better.text))
    error += annotator.position_bias if worse_is_first else -annotator.position_bias
    return int(worse_is_first != chance.hit(error))


def strength(chosen: Answer, rejected: Answer, chance: Chance) -> str:
    """The stated strength: the size of the quality gap, one step off in a fifth of the cases."""
    level = min(abs(chosen.quality - rejected.quality), 3)
    if chance.hit(0.2):
        level += 1 if level < 3 and (level == 0 or chance.hit(0.5)) else -1
    return STRENGTHS[level]


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)

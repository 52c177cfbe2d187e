"""What a loss depends on: the law that fits are made of, and plans are made with.

N: parameters, D: tokens learned, C: FLOPs of training, about 6 N D; losses in nats a token.
"""

import math
from dataclasses import dataclass

from puna.base.errors import ConfigError

FLOPS_PER_WEIGHT = 6.0
"""A multiplication and an addition forward, twice as many backward, for each parameter and token (Kaplan 2020)."""


@dataclass(frozen=True)
class LossLaw:
    """E + A / N^alpha + B / D^beta (Hoffmann 2022, approach 3).

    floor: E, the loss that no model goes under. All values are above 0; raises ConfigError otherwise.
    """

    floor: float
    a: float
    alpha: float
    b: float
    beta: float

    def __post_init__(self) -> None:
        for name in ("floor", "a", "alpha", "b", "beta"):
            _positive(name, getattr(self, name))

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token."""
        _positive("parameters", parameters)
        _positive("tokens", tokens)
        return self.floor + self.a * parameters**-self.alpha + self.b * tokens**-self.beta

    def optimal(self, flops: float) -> tuple[float, float]:
        """(parameters, tokens) of the least loss with 6 N D = flops."""
        product = _positive("flops", flops) / FLOPS_PER_WEIGHT
        scale = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        parameters = scale * product ** (self.beta / (self.alpha + self.beta))
        return parameters, product / parameters

    def optimal_for(self, loss: float) -> tuple[float, float]:
        """(parameters, tokens) of the least 6 N D that reaches `loss`. Raises ConfigError if none does."""
        above = self.above_floor(loss)
        # Where the two terms are optimal, alpha A / N^alpha = beta B / D^beta; so each has a fixed part of their sum.
        of_parameters = above * self.beta / (self.alpha + self.beta)
        of_tokens = above * self.alpha / (self.alpha + self.beta)
        return (self.a / of_parameters) ** (1 / self.alpha), (self.b / of_tokens) ** (1 / self.beta)

    def tokens_for(self, loss: float, parameters: float) -> float:
        """Tokens that bring so many parameters to `loss`; infinite if no number of tokens does."""
        left = self.above_floor(loss) - self.a * _positive("parameters", parameters) ** -self.alpha
        return _root(self.b, left, self.beta)

    def parameters_for(self, loss: float, tokens: float) -> float:
        """Parameters that reach `loss` with so many tokens; infinite if no number of parameters does."""
        left = self.above_floor(loss) - self.b * _positive("tokens", tokens) ** -self.beta
        return _root(self.a, left, self.alpha)

    def above_floor(self, loss: float) -> float:
        """What of a loss is not the floor. Raises ConfigError if nothing is."""
        if not loss > self.floor:
            raise ConfigError(
                f"loss: expected above {self.floor:.4f}, which this law goes never under, came {loss:.4f}"
            )
        return loss - self.floor


def _root(factor: float, left: float, power: float) -> float:
    try:
        return (factor / left) ** (1 / power) if left > 0 else math.inf
    except OverflowError:
        return math.inf


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{name}: expected a number above 0, came {value}")
    return value


CHINCHILLA = LossLaw(floor=1.69, a=406.4, alpha=0.34, b=410.7, beta=0.28)
"""As Hoffmann et al. 2022 print it, rounded; its optimum has more tokens a parameter than their other two ways."""
REFIT = LossLaw(floor=1.8172, a=482.01, alpha=0.3478, b=2085.43, beta=0.3658)
"""The same points fitted again by Besiroglu et al. 2024 (arXiv 2404.10102)."""

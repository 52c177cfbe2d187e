"""The best model for a budget or a loss: how many parameters, how many tokens.

N: parameters, D: tokens learned, S: tokens served later, U: tokens of text there are, C: FLOPs. Training costs 6 N D,
serving 2 N S (Sardana 2024, arXiv 2401.00448). Text that is repeated counts less (Muennighoff 2023, arXiv 2305.16264).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from puna.base.errors import ConfigError
from puna.scaling.fit.repeated import MUENNIGHOFF
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw
from puna.scaling.numbers import positive, short

_SERVING_FLOPS = 2.0
_DATA_DECAY = MUENNIGHOFF.tokens_reach
_ENDLESS = 1e300
"""Tokens, or parameters, of which a law's term is nothing."""


@dataclass(frozen=True)
class Demand:
    """What a model is for, and what it may learn: S tokens served, U tokens of text, each learned `max_epochs` times.

    Raises ConfigError if there is no text, less than one epoch, or a negative number.
    """

    serve_tokens: float = 0.0
    unique_tokens: float = math.inf
    max_epochs: float = 4.0

    def __post_init__(self) -> None:
        if not (self.serve_tokens >= 0 and math.isfinite(self.serve_tokens)):
            raise ConfigError(f"serve_tokens: expected 0 or more, came {self.serve_tokens}")
        if not self.unique_tokens > 0:
            raise ConfigError(f"unique_tokens: expected a number above 0, came {self.unique_tokens}")
        if not (self.max_epochs >= 1 and math.isfinite(self.max_epochs)):
            raise ConfigError(f"max_epochs: expected at least 1, came {self.max_epochs}")

    @property
    def max_tokens(self) -> float:
        """The most tokens that may be learned, repetitions counted."""
        return self.unique_tokens * self.max_epochs

    @property
    def max_effective(self) -> float:
        """What these are worth in new text."""
        return self.effective(self.max_tokens)

    def effective(self, tokens: float) -> float:
        """What D tokens, some of them repeated, are worth in new text: U + U R* (1 - exp(-(D / U - 1) / R*))."""
        if tokens <= self.unique_tokens:
            return tokens
        return self.unique_tokens * _worth(tokens / self.unique_tokens)

    def learned(self, effective: float) -> float:
        """Tokens to learn that are worth so many new ones; infinite beyond what `max_epochs` give."""
        if effective <= self.unique_tokens:
            return effective
        if effective > self.max_effective * (1 + 1e-12):
            return math.inf
        left = 1 - (effective / self.unique_tokens - 1) / _DATA_DECAY
        return min(self.unique_tokens * (1 - _DATA_DECAY * math.log(left)), self.max_tokens)


def loss_of(law: LossLaw, parameters: float, tokens: float, demand: Demand = Demand()) -> float:
    """Nats a token, repeated text counted for what it is worth."""
    return law.loss(parameters, demand.effective(positive("tokens", tokens)))


def tokens_for(law: LossLaw, loss: float, parameters: float, demand: Demand = Demand()) -> float:
    """Tokens to learn, repetitions counted, until so many parameters reach `loss`; infinite if they never do."""
    return demand.learned(law.tokens_for(loss, parameters))


def best_for_flops(law: LossLaw, flops: float, demand: Demand = Demand()) -> tuple[float, float]:
    """(N, D) of the least loss with 6 N D + 2 N S = C. Raises ConfigError if C serves S tokens with no N >= 1."""
    positive("flops", flops)

    def tokens(parameters: float) -> float:
        return flops / (FLOPS_PER_WEIGHT * parameters) - demand.serve_tokens * _SERVING_FLOPS / FLOPS_PER_WEIGHT

    served = _SERVING_FLOPS * demand.serve_tokens
    least = max(1.0, flops / (FLOPS_PER_WEIGHT * demand.max_tokens + served))
    most = flops / (FLOPS_PER_WEIGHT + served)  # of which one token is learned
    if least >= most:
        raise ConfigError(f"flops: expected more than {short(served)}, what serving takes, came {short(flops)}")
    parameters = _argmin(lambda n: loss_of(law, n, max(1.0, tokens(n)), demand), least, most)
    return parameters, min(tokens(parameters), demand.max_tokens)


def best_for_loss(law: LossLaw, loss: float, demand: Demand = Demand()) -> tuple[float, float]:
    """(N, D) of the least 6 N D + 2 N S that reaches `loss`.

    Raises ConfigError, saying how much text is missing, if no number of parameters reaches it.
    """
    least = law.parameters_for(loss, min(demand.max_effective, _ENDLESS))
    if not math.isfinite(least):
        raise ConfigError(missing_text(law, loss, demand))

    def cost(parameters: float) -> float:
        learned = tokens_for(law, loss, parameters, demand)
        return parameters * (FLOPS_PER_WEIGHT * learned + _SERVING_FLOPS * demand.serve_tokens)

    parameters = _argmin(cost, least * (1 + 1e-9), least * 1e9)
    return parameters, tokens_for(law, loss, parameters, demand)


def missing_text(law: LossLaw, loss: float, demand: Demand) -> str:
    """One line: what so much text reaches at best, and how much a loss takes. There is a limit to the text."""
    best = law.floor + law.b * demand.max_effective**-law.beta
    # The law's term of the tokens alone must leave something for the parameters.
    needed = law.tokens_for(loss, _ENDLESS) / _worth(demand.max_epochs)
    return (
        f"loss: {short(demand.max_tokens)} tokens, {short(demand.unique_tokens)} of them unique, reach {best:.4f} at "
        f"best, came {loss:.4f}; it takes more than {short(needed)} unique tokens at as many epochs"
    )


def missing_parameters(law: LossLaw, loss: float, parameters: float, demand: Demand = Demand()) -> str:
    """One line: what so many parameters reach at best with the text there is, and how many a loss takes."""
    best = law.loss(parameters, min(demand.max_effective, _ENDLESS))
    needed = law.parameters_for(loss, min(demand.max_effective, _ENDLESS))
    if math.isinf(needed):
        return missing_text(law, loss, demand)
    return (
        f"loss: {short(parameters)} parameters reach {best:.4f} at best with the text there is, came {loss:.4f}; it "
        f"takes more than {short(needed)}"
    )


def _worth(epochs: float) -> float:
    """New texts that one learned so many times is worth: 1 for 1, at most 1 + R*."""
    return 1 + _DATA_DECAY * -math.expm1(-(epochs - 1) / _DATA_DECAY)


def _argmin(cost: Callable[[float], float], least: float, most: float) -> float:
    """Where a function that is convex in the logarithm is smallest, by golden section."""
    golden = (math.sqrt(5) - 1) / 2
    low, high = math.log(least), math.log(most)
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = cost(math.exp(left)), cost(math.exp(right))
    while high - low > 1e-9:
        # Where both are infinite the model is too small: least is the edge of what is possible.
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = cost(math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = cost(math.exp(right))
    # An end may be the best, and is then exact.
    return min((least, math.exp((low + high) / 2), most), key=cost)

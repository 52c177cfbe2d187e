"""Training beyond the optimum, and what it does to exams (Gadre 2024, arXiv 2403.08540).

    L(C, M) = E + (a M^eta + b M^-eta) C^-eta        C = 6 N D, M = D / N      (equation 4)
    Err(L)  = epsilon - k exp(-gamma L)                                       (equation 5)

The first is E + A / N^(2 eta) + B / D^(2 eta) with a = A 6^eta and b = B 6^eta: Chinchilla's law with one exponent. So
curves of one M over C are parallel, and a few small runs reach far beyond themselves.

P points.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.huber import descend
from puna.scaling.fit.points import Float64, finite, positive, varied
from puna.scaling.fit.surface import Surface
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw


@dataclass(frozen=True)
class OvertrainedLaw:
    """All above 0. Raises ConfigError otherwise."""

    floor: float
    a: float
    b: float
    eta: float

    def __post_init__(self) -> None:
        for name in ("floor", "a", "b", "eta"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name}: expected a number above 0, came {value}")

    def loss(self, flops: float, multiplier: float) -> float:
        """Nats a token after so many FLOPs at `multiplier` tokens a parameter; raises ConfigError unless above 0."""
        for name, value in (("flops", flops), ("multiplier", multiplier)):
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name}: expected a number above 0, came {value}")
        return self.floor + (self.a * multiplier**self.eta + self.b * multiplier**-self.eta) * flops**-self.eta

    def of_sizes(self) -> LossLaw:
        """The same law over parameters and tokens."""
        scale = FLOPS_PER_WEIGHT**-self.eta
        return LossLaw(self.floor, self.a * scale, 2 * self.eta, self.b * scale, 2 * self.eta)


@dataclass(frozen=True, eq=False)
class OvertrainedFit:
    """residuals: measured - predicted loss [P]."""

    law: OvertrainedLaw
    residuals: Float64


def fit_overtrained(parameters: npt.ArrayLike, tokens: npt.ArrayLike, losses: npt.ArrayLike) -> OvertrainedFit:
    """Least squares in the losses, as Gadre 2024 fits four numbers to five runs.

    Raises DataError for fewer than 5 points, values not above 0, and parameters or multipliers that do not vary.
    """
    n, d, y = positive(5, parameters=parameters, tokens=tokens, losses=losses)
    varied(parameters=n, losses=y)
    varied(**{"tokens a parameter": d / n})
    surface = Surface(n, d, tied=True, logs=False)
    theta, errors = descend(surface, surface.starts(y), y, np.ones((1, len(y))), math.inf)
    best = theta[np.argmin(errors)][None]
    floor, a, alpha, b, _ = (float(value) for value in surface.coefficients(best)[0])
    scale = FLOPS_PER_WEIGHT ** (alpha / 2)
    return OvertrainedFit(OvertrainedLaw(floor, a * scale, b * scale, alpha / 2), y - surface(best)[0][0])


@dataclass(frozen=True)
class ErrorLaw:
    """epsilon - k exp(-gamma L): the share of wrong answers at a loss; epsilon is that of guessing, or near it."""

    epsilon: float
    k: float
    gamma: float

    def error(self, loss: float) -> float:
        """The share of wrong answers."""
        return self.epsilon - self.k * math.exp(-self.gamma * loss)

    def loss_for(self, error: float) -> float:
        """The loss at which that share is expected. Raises ConfigError if it is epsilon or more: none is needed."""
        if not error < self.epsilon:
            raise ConfigError(
                f"error: expected below {self.epsilon:.4f}, that of a model that knows nothing, came {error}"
            )
        return -math.log((self.epsilon - error) / self.k) / self.gamma


@dataclass(frozen=True, eq=False)
class ErrorFit:
    """residuals: measured - predicted error [P]."""

    law: ErrorLaw
    residuals: Float64


def fit_error(losses: npt.ArrayLike, errors: npt.ArrayLike) -> ErrorFit:
    """Least squares: for each gamma the best epsilon and k are linear, and gamma is searched between 0.02 and 20.

    Raises DataError for fewer than 4 points, losses not above 0 or constant, and errors that do not fall with the loss
    (k would not be above 0).
    """
    (loss,) = positive(4, losses=losses)
    (error,) = finite(4, errors=errors)
    finite(4, losses=loss, errors=error)
    varied(losses=loss, errors=error)

    def projected(gammas: Float64) -> tuple[Float64, Float64, Float64]:
        # In units of the least loss, so that exp(-gamma L) stays a number.
        basis = -np.exp(-gammas[:, None] * (loss - loss.min()))
        across = basis - basis.mean(1, keepdims=True)
        k = across @ (error - error.mean()) / (across**2).sum(1)
        epsilon = error.mean() - k * basis.mean(1)
        return epsilon, k, ((error - epsilon[:, None] - k[:, None] * basis) ** 2).sum(1)

    grid = np.log(np.geomspace(0.02, 20, 200))
    for _ in range(8):  # each round narrows the best place twentyfold or more
        _, k, squares = projected(np.exp(grid))
        squares = np.where(k > 0, squares, np.inf)
        best = int(np.argmin(squares))
        low, high = grid[max(best - 2, 0)], grid[min(best + 2, len(grid) - 1)]
        if not math.isfinite(squares[best]):
            break
        grid = np.linspace(low, high, 100)
    if not math.isfinite(squares[best]):
        raise DataError("errors: expected a share of wrong answers that falls with the loss, came one that rises")
    gamma = np.exp(grid[best : best + 1])
    epsilon, k, _ = projected(gamma)
    law = ErrorLaw(float(epsilon[0]), float(k[0] * np.exp(gamma[0] * loss.min())), float(gamma[0]))
    return ErrorFit(law, error - [law.error(value) for value in loss.tolist()])

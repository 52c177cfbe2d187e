"""Training beyond the optimum, and what it does to exams (Gadre 2024, arXiv 2403.08540).

    L(C, M) = E + (a M^eta + b M^-eta) C^-eta        C = 6 N D, M = D / N      (equation 4)
    Err(L)  = epsilon - k exp(-gamma L)                                       (equation 5)

The first is E + A / N^(2 eta) + B / D^(2 eta) with a = A 6^eta and b = B 6^eta: Chinchilla's law with one exponent. So
curves of one M over C are parallel, and a few small runs reach far beyond themselves.

P points, R resamples.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.bootstrap import Interval, interval, resample
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
    """residuals: measured - predicted loss [P]; samples: floor, a, b and eta of each resample [R, 4]."""

    law: OvertrainedLaw
    residuals: Float64
    samples: Float64

    def loss_interval(self, flops: float, multiplier: float, level: float = 0.95) -> Interval:
        """Of the law's loss there, in nats a token."""
        self.law.loss(flops, multiplier)  # refuses what is not above 0
        floor, a, b, eta = self.samples.T
        return interval(floor + (a * multiplier**eta + b * multiplier**-eta) * flops**-eta, level)


def fit_overtrained(
    parameters: npt.ArrayLike, tokens: npt.ArrayLike, losses: npt.ArrayLike, *, resamples: int = 0, seed: int = 0
) -> OvertrainedFit:
    """Least squares in the losses, as Gadre 2024 fits four numbers to five runs; intervals want more of them.

    Raises DataError for fewer than 5 points, values not above 0, and parameters or multipliers that do not vary.
    """
    n, d, y = positive(5, parameters=parameters, tokens=tokens, losses=losses)
    varied(parameters=n, losses=y)
    varied(**{"tokens a parameter": d / n})
    surface = Surface(n, d, tied=True, logs=False)
    theta, errors = descend(surface, surface.starts(y), y, np.ones((1, len(y))), math.inf)
    best = theta[np.argmin(errors)][None]
    weights = resample(len(y), resamples, seed)
    others, _ = descend(surface, np.repeat(best, resamples, 0), y, weights, math.inf)
    floor, a, alpha, b, _ = surface.coefficients(np.concatenate([best, others])).T
    scale = FLOPS_PER_WEIGHT ** (alpha / 2)
    numbers = np.stack([floor, a * scale, b * scale, alpha / 2], -1)
    law = OvertrainedLaw(*(float(value) for value in numbers[0]))
    return OvertrainedFit(law, y - surface(best)[0][0], numbers[1:])


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
    """residuals: measured - predicted error [P]; samples: epsilon, k and gamma of each resample [R, 3]."""

    law: ErrorLaw
    residuals: Float64
    samples: Float64

    def error_interval(self, loss: float, level: float = 0.95) -> Interval:
        """Of the law's share of wrong answers at a loss."""
        epsilon, k, gamma = self.samples.T
        return interval(epsilon - k * np.exp(-gamma * loss), level)


def fit_error(losses: npt.ArrayLike, errors: npt.ArrayLike, *, resamples: int = 0, seed: int = 0) -> ErrorFit:
    """Least squares, from the best of many gammas, for each of which epsilon and k are linear.

    Raises DataError for fewer than 4 points, losses not above 0 or constant, and errors that do not fall with the loss
    (k would not be above 0).
    """
    (loss,) = positive(4, losses=losses)
    loss, error = finite(4, losses=loss, errors=errors)
    varied(losses=loss, errors=error)
    best = _best_of_gammas(loss, error)[None]
    # In units of the least loss, so that exp(-gamma L) stays a number.
    above = loss - loss.min()

    def model(theta: Float64) -> tuple[Float64, Float64]:
        """Of epsilon, log k exp(-gamma least loss), log gamma."""
        gamma = np.exp(theta[:, 2:])
        fall = np.exp(theta[:, 1:2] - gamma * above)
        return theta[:, :1] - fall, np.stack([np.ones_like(fall), -fall, fall * gamma * above], -1)

    (best,), _ = descend(model, best, error, np.ones((1, len(error))), math.inf)
    weights = resample(len(error), resamples, seed)
    others, _ = descend(model, np.repeat(best[None], resamples, 0), error, weights, math.inf)
    numbers = np.concatenate([best[None], others])
    gammas = np.exp(numbers[:, 2])
    numbers = np.stack([numbers[:, 0], np.exp(numbers[:, 1] + gammas * loss.min()), gammas], -1)
    law = ErrorLaw(*(float(value) for value in numbers[0]))
    return ErrorFit(law, error - [law.error(value) for value in loss.tolist()], numbers[1:])


def _best_of_gammas(loss: Float64, error: Float64) -> Float64:
    """epsilon, log k exp(-gamma least loss) and log gamma [3] of the best of 200 gammas from 0.02 to 20."""
    gammas = np.geomspace(0.02, 20, 200)
    basis = -np.exp(-gammas[:, None] * (loss - loss.min()))
    across = basis - basis.mean(1, keepdims=True)
    k = across @ (error - error.mean()) / (across**2).sum(1)
    epsilon = error.mean() - k * basis.mean(1)
    squares = ((error - epsilon[:, None] - k[:, None] * basis) ** 2).sum(1)
    squares = np.where(k > 0, squares, np.inf)
    best = int(np.argmin(squares))
    if not math.isfinite(squares[best]):
        raise DataError("errors: expected a share of wrong answers that falls with the loss, came one that rises")
    return np.array([epsilon[best], math.log(k[best]), math.log(gammas[best])])

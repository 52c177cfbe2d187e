"""From shares of domains to losses: regressions fitted to small proxies, and how well they order mixtures unseen.

    linear       loss = shares . b                      RegMix's baseline (Liu 2024, arXiv 2407.01492, section 2.3)
    log-linear   loss = c + exp(shares . t)             Ye 2024 (arXiv 2403.16952), Olmix (Chen 2026, arXiv 2602.12237)
    trees        boosted regression trees               RegMix's choice (LightGBM)

Shares sum to 1, so no form needs a constant of its own beside b or t.

N mixtures, D domains.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from puna.base.rng import generator
from puna.pretrain.mix.trees import fit_trees

Float64 = npt.NDArray[np.float64]
Form = Literal["linear", "log-linear", "trees"]
_RIDGE = 1e-6


class Regression(Protocol):
    """A fitted form."""

    def predict(self, points: Float64) -> Float64:
        """Losses [N] of mixtures [N, D]."""
        ...


class Linear:
    """loss = shares . b; b [D] is the loss that each domain alone is predicted to give."""

    def __init__(self, coefficients: Float64) -> None:
        self.coefficients = coefficients

    def predict(self, points: Float64) -> Float64:
        """Losses [N] of mixtures [N, D]."""
        return points @ self.coefficients


class LogLinear:
    """loss = floor + exp(shares . t), t [D]."""

    def __init__(self, floor: float, coefficients: Float64) -> None:
        self.floor, self.coefficients = floor, coefficients

    def predict(self, points: Float64) -> Float64:
        """Losses [N] of mixtures [N, D]."""
        losses: Float64 = self.floor + np.exp(points @ self.coefficients)
        return losses


def fit_linear(shares: Float64, losses: Float64) -> Linear:
    """Least squares; of a domain that no mixture holds the coefficient is the mean loss."""
    mean = losses.mean()
    gram = shares.T @ shares + _RIDGE * np.eye(shares.shape[1])
    return Linear(mean + np.linalg.solve(gram, shares.T @ (losses - mean)))


def fit_log_linear(shares: Float64, losses: Float64, steps: int = 200) -> LogLinear:
    """Least squares in the losses, by Levenberg and Marquardt's method from several floors, of which the best is taken.

    Raises ValueError if a loss is not above 0.
    """
    if not (losses > 0).all():
        raise ValueError(f"expected losses above 0, came {losses.min()}")
    fits = [_descend(shares, losses, share * float(losses.min()), steps) for share in (0.0, 0.5, 0.8, 0.95)]
    _, parameters = min(fits, key=lambda fit: fit[0])
    return LogLinear(float(parameters[0]), parameters[1:])


def _descend(shares: Float64, losses: Float64, floor: float, steps: int) -> tuple[float, Float64]:
    """(squared error, floor and coefficients) from a floor and the least squares of log(loss - floor) at it."""
    parameters = np.concatenate([[floor], fit_linear(shares, np.log(losses - floor)).coefficients])
    error, damping = _squared_error(parameters, shares, losses), 1e-3
    for _ in range(steps):
        if error <= 1e-20 * float(losses @ losses):  # the losses are of this form, to the last digits
            break
        growth = np.exp(shares @ parameters[1:])
        jacobian = np.column_stack([np.ones(len(losses)), growth[:, None] * shares])
        gradient = jacobian.T @ (losses - parameters[0] - growth)
        gram = jacobian.T @ jacobian
        scale = np.diag(np.diag(gram) + _RIDGE)
        step = np.linalg.solve(gram + damping * scale, gradient)
        found = _squared_error(parameters + step, shares, losses)
        if found < error:
            done = error - found <= 1e-12 * error
            parameters, error, damping = parameters + step, found, max(damping / 3, 1e-9)
            if done:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return error, parameters


def _squared_error(parameters: Float64, shares: Float64, losses: Float64) -> float:
    with np.errstate(over="ignore"):
        error = float(((losses - parameters[0] - np.exp(shares @ parameters[1:])) ** 2).sum())
    return error if np.isfinite(error) else float("inf")


FORMS: dict[Form, Callable[[Float64, Float64], Regression]] = {
    "linear": fit_linear,
    "log-linear": fit_log_linear,
    "trees": fit_trees,
}


def held_out_predictions(form: Form, shares: Float64, losses: Float64, folds: int = 10) -> Float64:
    """Of each mixture [N] the loss that the form predicts when fitted to the other folds; every fold needs another."""
    fold_of = generator(0, "folds", len(losses)).permutation(len(losses)) % min(folds, len(losses))
    predicted = np.empty(len(losses))
    for fold in np.unique(fold_of):
        held = fold_of == fold
        predicted[held] = FORMS[form](shares[~held], losses[~held]).predict(shares[held])
    return predicted

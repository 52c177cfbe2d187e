"""The surface E + A / N^alpha + B / D^beta over points, and good starts on it by variable projection.

For given exponents the surface is linear in E, A and B; so a grid of exponents alone, with the best coefficients of
each, shows where the minima are (Golub and Pereyra 1973). From the best cells all parameters go down together.

P points, R starts or resamples, G cells of the grid. N and D are in units of their geometric means here, which makes
the parameters nearly independent.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from puna.scaling.fit.huber import DELTA, huber
from puna.scaling.fit.points import Float64

_EXPONENTS = np.geomspace(0.03, 2.0, 16)
_NUM_STARTS = 8
_LEAST_LOG = -690.0


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface at the points; parameters are log E, log A', log B', alpha and, unless tied to it, beta.

    logs: whether its values are log losses, as Hoffmann 2022 fits them, or losses.
    """

    parameters: Float64
    tokens: Float64
    tied: bool = False
    logs: bool = True

    def __call__(self, theta: Float64) -> tuple[Float64, Float64]:
        """Values [R, P] and derivatives [R, P, K] at theta [R, K]."""
        log_n, log_d = self._logs()
        floor = np.broadcast_to(np.exp(theta[:, :1]), (len(theta), len(log_n)))
        of_parameters = np.exp(theta[:, 1:2] - theta[:, 3:4] * log_n)
        of_tokens = np.exp(theta[:, 2:3] - theta[:, -1:] * log_d)
        slopes = [floor, of_parameters, of_tokens, -of_parameters * log_n, -of_tokens * log_d]
        if self.tied:
            slopes[3:] = [slopes[3] + slopes[4]]
        jacobian, values = np.stack(slopes, -1), floor + of_parameters + of_tokens
        return (np.log(values), jacobian / values[:, :, None]) if self.logs else (values, jacobian)

    def starts(self, losses: Float64, delta: float = DELTA) -> Float64:
        """The best cells of the grid of exponents, [R, K], best first."""
        log_n, log_d = self._logs()
        alpha, beta = (grid.ravel() for grid in np.meshgrid(_EXPONENTS, _EXPONENTS))
        if self.tied:
            alpha = beta = np.geomspace(_EXPONENTS[0], _EXPONENTS[-1], 4 * len(_EXPONENTS))
        basis = np.stack(
            [np.ones((len(alpha), len(log_n))), np.exp(-alpha[:, None] * log_n), np.exp(-beta[:, None] * log_d)], -1
        )
        coefficients, errors = project(basis, losses, delta if self.logs else np.inf)
        best = np.argsort(errors, kind="stable")[:_NUM_STARTS]
        # A coefficient of 0 has no logarithm; a thousandth of the least loss is near enough to start from.
        log_coefficients = np.log(np.maximum(coefficients[best], 1e-3 * losses.min()))
        exponents = [alpha[best], beta[best]][: 1 if self.tied else 2]
        return np.concatenate([log_coefficients, np.stack(exponents, -1)], -1)

    def coefficients(self, theta: Float64) -> Float64:
        """floor, A, alpha, B, beta [R, 5] in the usual units of theta [R, K]."""
        mean_n, mean_d = np.log(self.parameters).mean(), np.log(self.tokens).mean()
        alpha, beta = theta[:, 3], theta[:, -1]
        logs = (theta[:, 0], theta[:, 1] + alpha * mean_n, theta[:, 2] + beta * mean_d)
        # A term that the descent has sent to 0 stays a number above it, as a law wants.
        floor, a, b = (np.exp(np.maximum(log, _LEAST_LOG)) for log in logs)
        return np.stack([floor, a, alpha, b, beta], -1)

    def _logs(self) -> tuple[Float64, Float64]:
        log_n, log_d = np.log(self.parameters), np.log(self.tokens)
        return log_n - log_n.mean(), log_d - log_d.mean()


def project(basis: Float64, losses: Float64, delta: float, rounds: int = 6) -> tuple[Float64, Float64]:
    """(coefficients of 0 or more [G, C], errors [G]) of losses [P] on each basis [G, P, C], Huber in log losses."""
    relative = basis / losses[:, None]
    weights = np.ones(basis.shape[:2])
    for _ in range(rounds):
        weighted = relative * weights[:, :, None]
        gram = np.matmul(weighted.transpose(0, 2, 1), relative)
        coefficients = _nonnegative(gram, weighted.sum(1))
        residuals = np.log(np.maximum(np.matmul(relative, coefficients[:, :, None])[:, :, 0], 1e-12))
        weights = np.minimum(1.0, delta / np.maximum(np.abs(residuals), 1e-12))
    return coefficients, huber(residuals, delta).sum(-1)


def _nonnegative(gram: Float64, moment: Float64) -> Float64:
    """Least squares with coefficients of 0 or more [G, C], by trying which of the few of them are 0."""
    size = gram.shape[-1]
    best, least = np.zeros(moment.shape), np.zeros(len(gram))
    for count in range(1, size + 1):
        for chosen in combinations(range(size), count):
            part = gram[:, chosen][:, :, chosen]
            ridge = 1e-13 * np.einsum("gkk->gk", part).max(-1)[:, None, None] * np.eye(count)
            found = np.linalg.solve(part + ridge, moment[:, chosen][:, :, None])[:, :, 0]
            error = -(found * moment[:, chosen]).sum(-1)
            better = (found >= 0).all(-1) & (error < least)
            least[better] = error[better]
            full = np.zeros_like(best)
            full[:, chosen] = found
            best[better] = full[better]
    return best

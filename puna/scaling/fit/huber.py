"""The least Huber loss of any smooth model, of many resamples at once.

Huber's loss of a residual r is r^2 / 2 up to delta and delta |r| - delta^2 / 2 beyond (Huber 1964). Its curvature is 1
within delta and 0 beyond; reweighted least squares puts delta / |r| for the 0, which never overshoots (it is a bound)
but is slow where most points lie beyond delta, as with the 0.001 of Hoffmann 2022 (83 steps for 33 on his points). So
the 0 is replaced by `soft` times that bound: a step that lowers the loss makes the next one bolder (nearer to
Newton's), another one more careful.

R resamples or starts, P points, K parameters.
"""

from typing import Protocol

import numpy as np

from puna.scaling.fit.points import Float64

DELTA = 1e-3
"""Of log losses, as Hoffmann 2022 took it."""


class Model(Protocol):
    """Values [R, P] and their derivatives [R, P, K] at parameters [R, K]."""

    def __call__(self, theta: Float64, /) -> tuple[Float64, Float64]:
        """At each of R parameter vectors."""
        ...


def huber(residuals: Float64, delta: float) -> Float64:
    """Huber's loss of each residual; half the square for delta = inf."""
    size = np.abs(residuals)
    inside = np.minimum(size, delta)
    loss: Float64 = inside * (size - inside / 2)
    return loss


def descend(
    model: Model, start: Float64, target: Float64, weights: Float64, delta: float, steps: int = 500
) -> tuple[Float64, Float64]:
    """(parameters [R, K], losses [R]) at the minimum that each start [R, K] leads to.

    target [P]; weights [R, P], or [1, P] for all starts alike. The loss never rises from step to step. A row is done
    when three steps in a row gain less than 1e-12 of it, or none can.
    """
    theta = np.array(start, np.float64)
    weights = np.broadcast_to(weights, (len(theta), len(target)))
    with np.errstate(all="ignore"):  # a trial step may leave where the model is finite; it is then refused
        values, jacobian = (np.array(one) for one in model(theta))
        losses = (weights * huber(target - values, delta)).sum(-1)
        losses = np.where(np.isfinite(losses), losses, np.inf)
        soft, damping = np.ones(len(theta)), np.full(len(theta), 1e-3)
        idle = np.zeros(len(theta), np.int64)
        for _ in range(steps):
            rows = np.flatnonzero((idle < 3) & (damping < 1e10) & np.isfinite(losses))
            if not len(rows):
                break
            step = _step(target - values[rows], jacobian[rows], weights[rows], delta, soft[rows], damping[rows])
            trial = theta[rows] + step
            found, slopes = model(trial)
            reached = (weights[rows] * huber(target - found, delta)).sum(-1)
            better = reached < losses[rows]
            gain = losses[rows] - reached
            idle[rows] = np.where(better & (gain > 1e-12 * losses[rows]), 0, idle[rows] + better)
            soft[rows] = np.where(better, np.maximum(soft[rows] / 4, 1e-6), np.minimum(soft[rows] * 8, 1))
            damping[rows] = np.where(better, np.maximum(damping[rows] / 4, 1e-12), damping[rows] * 8)
            moved = rows[better]
            theta[moved], losses[moved] = trial[better], reached[better]
            values[moved], jacobian[moved] = found[better], slopes[better]
    return theta, losses


def _step(
    residuals: Float64, jacobian: Float64, weights: Float64, delta: float, soft: Float64, damping: Float64
) -> Float64:
    size = np.abs(residuals)
    curvature = weights * np.where(size <= delta, 1.0, soft[:, None] * delta / np.maximum(size, 1e-300))
    gradient = np.matmul((weights * np.clip(residuals, -delta, delta))[:, None, :], jacobian)[:, 0]
    gram = np.matmul((jacobian * curvature[:, :, None]).transpose(0, 2, 1), jacobian)
    diagonal = np.einsum("rkk->rk", gram)
    # A parameter without any effect (a floor that has gone to 0) gets a tiny curvature, so that it stays.
    diagonal = diagonal + 1e-12 * diagonal.max(-1, keepdims=True) + 1e-300
    system = gram + (damping[:, None] * diagonal)[:, :, None] * np.eye(gram.shape[-1])
    # Scaled to a diagonal of 1, so that the units of the parameters do not matter.
    root = 1 / np.sqrt(diagonal)
    system = system * root[:, :, None] * root[:, None, :]
    scaled: Float64 = np.linalg.solve(system, (gradient * root)[:, :, None])[:, :, 0]
    return scaled * root

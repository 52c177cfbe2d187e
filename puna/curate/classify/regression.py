"""Softmax regression with several heads over shared features, to its optimum: convex, so nothing hangs on chance.

A head is one question (quality, domain, toxicity) with its classes. Over features x of a document a head's classes have
the logits x W + b; the loss is the mean over documents of the heads' cross-entropies, a document counting for the heads
it has a label for, plus l2/2 |W|^2. L-BFGS (Nocedal 1980) takes no learning rate and no order of documents.

N documents, F features, H classes of all heads together.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNLABELLED = -1
_MEMORY = 8
_ARMIJO, _SHRINK, _MOST_HALVINGS = 1e-4, 0.5, 30


class Features(Protocol):
    """A matrix X [N, F] that is only ever multiplied."""

    @property
    def num_features(self) -> int:
        """F."""

    def times(self, weights: Floats) -> Floats:
        """X W: [F, H] -> [N, H]."""

    def transposed_times(self, values: Floats) -> Floats:
        """X^T V: [N, H] -> [F, H]."""


class Dense:
    """Features as an array [N, F]."""

    def __init__(self, values: Floats):
        self.values = values

    @property
    def num_features(self) -> int:
        return self.values.shape[1]

    def times(self, weights: Floats) -> Floats:
        return self.values @ weights

    def transposed_times(self, values: Floats) -> Floats:
        return self.values.T @ values


def fit(
    features: Features, targets: NDArray[np.int64], sizes: Sequence[int], l2: float, steps: int
) -> tuple[Floats, Floats]:
    """Weights [F, H] and biases [H] for `targets` [N, heads], UNLABELLED where there is none; sizes: classes of heads.

    Ends when the gradient is a 1,000th of the first, or after `steps`.
    """
    shape = (features.num_features, sum(sizes))

    def loss(values: Floats) -> tuple[float, Floats]:
        return objective(features, targets, sizes, l2, values)

    found = minimise(loss, np.zeros((shape[0] + 1) * shape[1]), steps)
    return found[: -shape[1]].reshape(shape), found[-shape[1] :]


def objective(
    features: Features, targets: NDArray[np.int64], sizes: Sequence[int], l2: float, values: Floats
) -> tuple[float, Floats]:
    """The loss at `values` (weights by rows, then biases) and its gradient, both [F * H + H]."""
    num_classes = sum(sizes)
    weights = values[:-num_classes].reshape(features.num_features, num_classes)
    logits = features.times(weights) + values[-num_classes:]
    loss = l2 / 2 * float((weights * weights).sum())
    errors, first = np.zeros_like(logits), 0
    for head, size in enumerate(sizes):
        rows = np.flatnonzero(targets[:, head] != UNLABELLED)
        if len(rows):
            part, wanted = logits[rows, first : first + size], targets[rows, head]
            log_shares = log_softmax(part)
            places = np.arange(len(rows))
            loss -= float(log_shares[places, wanted].sum()) / len(targets)
            shares = np.exp(log_shares)
            shares[places, wanted] -= 1.0
            errors[rows, first : first + size] = shares / len(targets)
        first += size
    gradient = features.transposed_times(errors) + l2 * weights
    return loss, np.concatenate([gradient.ravel(), errors.sum(0)])


def log_softmax(logits: Floats) -> Floats:
    """Log of the shares of each row."""
    shifted = logits - logits.max(1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


def fit_temperature(logits: Floats, targets: NDArray[np.int64]) -> float:
    """The number that logits are divided by so that shares are right on `targets` (Guo 2017, section 4.2).

    The targets are smoothed as Platt's (1999): of n documents each is believed to (n + 1) / (n + 2), or a head that is
    right on all of them would be told to be certain. Cross-entropy is convex in 1/T: found by thirds on a log scale
    between 1/20 and 20.
    """
    places, num_classes = np.arange(len(targets)), logits.shape[1]
    doubt = 1 / (len(targets) + 2)
    wanted = np.full(logits.shape, doubt / (num_classes - 1))
    wanted[places, targets] = 1 - doubt

    def loss(log_temperature: float) -> float:
        return -float((wanted * log_softmax(logits / np.exp(log_temperature))).sum())

    low, high = -np.log(20.0), np.log(20.0)
    for _ in range(60):
        third = (high - low) / 3
        if loss(low + third) < loss(high - third):
            high -= third
        else:
            low += third
    return float(np.exp((low + high) / 2))


def minimise(
    function: Callable[[Floats], tuple[float, Floats]], start: Floats, steps: int, tolerance: float = 1e-3
) -> Floats:
    """The minimum of a smooth convex function that returns value and gradient: L-BFGS with backtracking.

    Ends when the gradient's length is `tolerance` of the first one's, or after `steps`.
    """
    here, (value, gradient) = start, function(start)
    first = float(np.linalg.norm(gradient))
    moves: list[Floats] = []
    turns: list[Floats] = []
    for _ in range(steps):
        if float(np.linalg.norm(gradient)) <= tolerance * first:
            break
        direction = -_times_inverse(gradient, moves, turns)
        slope, size = float(direction @ gradient), 1.0 if moves else 1.0 / max(1.0, first)
        for _ in range(_MOST_HALVINGS):
            there = here + size * direction
            new_value, new_gradient = function(there)
            if new_value <= value + _ARMIJO * size * slope:
                break
            size *= _SHRINK
        else:
            break
        if (there - here) @ (new_gradient - gradient) > 0:
            moves, turns = [*moves, there - here][-_MEMORY:], [*turns, new_gradient - gradient][-_MEMORY:]
        here, value, gradient = there, new_value, new_gradient
    return here


def _times_inverse(gradient: Floats, moves: list[Floats], turns: list[Floats]) -> Floats:
    """The gradient times an estimate of the inverse Hessian (Nocedal and Wright, algorithm 7.4)."""
    result = gradient.copy()
    shares = []
    for move, turn in zip(reversed(moves), reversed(turns), strict=True):
        shares.append(float(move @ result) / float(move @ turn))
        result -= shares[-1] * turn
    if moves:
        result *= float(moves[-1] @ turns[-1]) / float(turns[-1] @ turns[-1])
    for move, turn, share in zip(moves, turns, reversed(shares), strict=True):
        result += (share - float(turn @ result) / float(move @ turn)) * move
    return result

"""Gradient-boosted regression trees on a few hundred points, as RegMix fits them (LightGBM there).

Squared loss; trees grown leaf by leaf, the one with the most to gain first (Ke 2017); as many rounds as do best on
folds held back.

N points, D features, B bins of a feature.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from puna.base.rng import generator

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
_MAX_BINS = 255
_FOLDS = 5


@dataclass(frozen=True)
class Trees:
    """A sum of trees over a constant.

    Node i asks whether feature `features[i]` is at most `thresholds[i]`; yes leads to `left[i]`, no to the node behind
    it. A leaf has feature -1 and its value. `roots`: the first node of each tree.
    """

    constant: float
    features: Int32
    thresholds: Float64
    left: Int32
    values: Float64
    roots: Int32

    def predict(self, points: Float64) -> Float64:
        """Predictions [N] for points [N, D]."""
        parts = (self.features, self.thresholds, self.left, self.values, self.roots)
        return self.constant + _sum_of_trees(np.ascontiguousarray(points, np.float64), *parts)


def fit_trees(
    points: Float64, values: Float64, rounds: int = 1000, rate: float = 0.01, leaves: int = 31, min_leaf: int = 0
) -> Trees:
    """Fit points [N, D] to values [N]: at most `rounds` trees, as many as cross-validation on five folds asks for.

    Rounds, rate and leaves are RegMix's. min_leaf: points of a leaf at least (0: a 25th of them, about LightGBM's 20 of
    RegMix's 512; fewer points would grow no tree at all with 20).
    """
    least = min_leaf or max(2, round(len(values) / 25))
    folds = generator(0, "folds", len(values)).permutation(len(values)) % _FOLDS
    errors = np.zeros(rounds)
    for fold in range(min(_FOLDS, len(values)) if len(values) >= 2 * _FOLDS else 0):
        rest, held = folds != fold, folds == fold
        trees = _boost(points[rest], values[rest], rounds, rate, leaves, least)
        parts = (trees.features, trees.thresholds, trees.left, trees.values, trees.roots)
        offsets = values[held] - trees.constant
        errors += _errors_by_round(np.ascontiguousarray(points[held], np.float64), offsets, *parts)
    best = int(errors.argmin()) + 1 if errors.any() else rounds
    return _boost(points, values, best, rate, leaves, least)


def _boost(points: Float64, values: Float64, rounds: int, rate: float, leaves: int, min_leaf: int) -> Trees:
    edges = [_edges(column) for column in points.T]
    bins = np.stack([np.searchsorted(e, column) for e, column in zip(edges, points.T, strict=True)], 1).astype(np.int32)
    table = np.full((len(edges), max(1, *(len(e) for e in edges))), np.inf)
    for feature, own in enumerate(edges):
        table[feature, : len(own)] = own
    residual = np.array(values, np.float64) - float(values.mean())
    features, cuts, left, sums = _grow_all(bins, residual, rounds, rate, leaves, min_leaf, table.shape[1] + 1)
    thresholds = np.where(features >= 0, table[features, cuts], 0.0)
    size = features.shape[1]
    roots = np.arange(rounds, dtype=np.int32) * size
    left = np.where(left >= 0, left + roots[:, None], -1).astype(np.int32)
    return Trees(float(values.mean()), features.ravel(), thresholds.ravel(), left.ravel(), sums.ravel(), roots)


def _edges(column: Float64) -> Float64:
    """Where a feature may be cut: midway between neighbouring values, at most 255 of these, by rank."""
    distinct = np.unique(column)
    middles: Float64 = (distinct[:-1] + distinct[1:]) / 2
    if len(middles) > _MAX_BINS:
        middles = middles[np.linspace(0, len(middles) - 1, _MAX_BINS).round().astype(np.int64)]
    return middles


@numba.njit(cache=True)
def _grow_all(bins, residual, rounds, rate, max_leaves, min_leaf, num_bins):  # type: ignore[no-untyped-def]
    """`rounds` trees, each grown on what those before it left of `residual`; one row of nodes [2 leaves - 1] a tree."""
    size = 2 * max_leaves - 1
    features, left = np.full((rounds, size), -1, np.int32), np.full((rounds, size), -1, np.int32)
    cuts, values = np.zeros((rounds, size), np.int32), np.zeros((rounds, size))
    for tree in range(rounds):
        parts = _grow(bins, residual, max_leaves, min_leaf, num_bins)
        num_nodes = len(parts[0])
        features[tree, :num_nodes], cuts[tree, :num_nodes], left[tree, :num_nodes] = parts[0], parts[1], parts[2]
        values[tree, :num_nodes] = rate * parts[3]
        for i in range(len(residual)):
            residual[i] -= values[tree, parts[4][i]]
    return features, cuts, left, values


@numba.njit(cache=True)
def _grow(bins, residual, max_leaves, min_leaf, num_bins):  # type: ignore[no-untyped-def]
    """One tree of at most `max_leaves`: (feature or -1, cut, left child, mean residual) of each node, and each point's
    leaf. A point goes left if its bin is at most the cut; the right child follows the left."""
    size = 2 * max_leaves - 1
    features, left = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
    cuts, values, gains = np.zeros(size, np.int32), np.zeros(size), np.zeros(size)
    best_features, best_cuts = np.zeros(size, np.int32), np.zeros(size, np.int32)
    node_of = np.zeros(len(residual), np.int32)
    values[0] = residual.mean()
    gains[0], best_features[0], best_cuts[0] = _best_cut(bins, residual, node_of, 0, min_leaf, num_bins)
    num_nodes = 1
    while num_nodes < size:
        node = np.argmax(gains[:num_nodes])
        if gains[node] <= 1e-12:
            break
        features[node], cuts[node], left[node], gains[node] = best_features[node], best_cuts[node], num_nodes, 0.0
        for i in range(len(residual)):
            if node_of[i] == node:
                node_of[i] = num_nodes + (bins[i, features[node]] > cuts[node])
        for child in (num_nodes, num_nodes + 1):
            values[child] = residual[node_of == child].mean()
            gains[child], best_features[child], best_cuts[child] = _best_cut(
                bins, residual, node_of, child, min_leaf, num_bins
            )
        num_nodes += 2
    return features[:num_nodes], cuts[:num_nodes], left[:num_nodes], values[:num_nodes], node_of


@numba.njit(cache=True)
def _best_cut(bins, residual, node_of, node, min_leaf, num_bins):  # type: ignore[no-untyped-def]
    """The cut of a node's points that lowers the squared error most: (by how much, feature, bin)."""
    num_features = bins.shape[1]
    sums, counts = np.zeros((num_features, num_bins)), np.zeros((num_features, num_bins), np.int64)
    total, count = 0.0, 0
    for i in range(len(residual)):
        if node_of[i] == node:
            total += residual[i]
            count += 1
            for feature in range(num_features):
                sums[feature, bins[i, feature]] += residual[i]
                counts[feature, bins[i, feature]] += 1
    best, best_feature, best_cut = 0.0, 0, 0
    for feature in range(num_features):
        below, num_below = 0.0, 0
        for cut in range(num_bins):
            below += sums[feature, cut]
            num_below += counts[feature, cut]
            if num_below < min_leaf:
                continue
            if count - num_below < min_leaf:
                break
            above = total - below
            gain = below * below / num_below + above * above / (count - num_below) - total * total / count
            if gain > best:
                best, best_feature, best_cut = gain, feature, cut
    return best, best_feature, best_cut


@numba.njit(cache=True)
def _leaf(point, node, features, thresholds, left):  # type: ignore[no-untyped-def]
    while features[node] >= 0:
        node = left[node] + (point[features[node]] > thresholds[node])
    return node


@numba.njit(cache=True)
def _sum_of_trees(points, features, thresholds, left, values, roots):  # type: ignore[no-untyped-def]
    sums = np.zeros(len(points))
    for i in range(len(points)):
        for root in roots:
            sums[i] += values[_leaf(points[i], root, features, thresholds, left)]
    return sums


@numba.njit(cache=True)
def _errors_by_round(points, offsets, features, thresholds, left, values, roots):  # type: ignore[no-untyped-def]
    """Squared error of `offsets` [N] after the first tree, the first two, and so on."""
    errors, sums = np.zeros(len(roots)), np.zeros(len(points))
    for tree in range(len(roots)):
        for i in range(len(points)):
            sums[i] += values[_leaf(points[i], roots[tree], features, thresholds, left)]
            errors[tree] += (offsets[i] - sums[i]) ** 2
    return errors

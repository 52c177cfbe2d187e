"""Spherical k-means: unit vectors by the centroid of largest cosine, so that likes are sought within a cluster only.

k-means++ (Arthur and Vassilvitskii 2007) and Lloyd's rounds on a sample of at most 256 points a cluster, as FAISS does:
more move the centroids little, and the cost no longer grows with the corpus. Points may be a memory map; they are
looked at in blocks. The result depends on the points and the seed alone.

N points, D width, K clusters.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from puna.base.rng import generator

Floats = NDArray[np.float32]

_POINTS_A_CLUSTER, _STARTS_A_CLUSTER = 256, 32
_BLOCK = 8192


def kmeans(points: Floats, num_clusters: int, seed: int, rounds: int = 20) -> Floats:
    """Unit centroids [K, D] of unit `points` [N, D]; at most N of them."""
    num_clusters = min(num_clusters, len(points))
    random = generator(seed, "kmeans", len(points), num_clusters)
    sample = _sample(points, _POINTS_A_CLUSTER * num_clusters, random)
    centroids = _spread(_sample(sample, _STARTS_A_CLUSTER * num_clusters, random), num_clusters, random)
    before: NDArray[np.int32] | None = None
    for _ in range(rounds):
        labels, cosines = assign(sample, centroids)
        if before is not None and np.array_equal(labels, before):
            break
        before, centroids = labels, _means(sample, labels, cosines, num_clusters)
    return centroids


def assign(points: Floats, centroids: Floats) -> tuple[NDArray[np.int32], Floats]:
    """The nearest centroid of each point, [N], and the cosine to it, [N]; of equal ones the first."""
    labels, cosines = np.empty(len(points), np.int32), np.empty(len(points), np.float32)
    for span in _blocks(len(points)):
        similar = np.asarray(points[span]) @ centroids.T  # [block, K]
        labels[span] = similar.argmax(1)
        cosines[span] = similar.max(1)
    return labels, cosines


def unit(vectors: Floats) -> Floats:
    """The vectors at length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def _sample(points: Floats, most: int, random: np.random.Generator) -> Floats:
    if len(points) <= most:
        return np.asarray(points)
    return np.asarray(points[np.sort(random.choice(len(points), most, replace=False))])


def _spread(points: Floats, num_clusters: int, random: np.random.Generator) -> Floats:
    """k-means++: each next centroid is a point drawn by its squared distance, 2 - 2 cos, to the nearest so far."""
    chosen = np.empty((num_clusters, points.shape[1]), np.float32)
    far = np.ones(len(points))
    for number in range(num_clusters):
        total = far.sum()
        at = int(random.choice(len(points), p=far / total)) if total > 0 else int(random.integers(len(points)))
        chosen[number] = points[at]
        distance = np.maximum(0.0, 2 - 2 * (points @ points[at]).astype(np.float64))
        far = np.minimum(far, distance) if number else distance
    return chosen


def _means(points: Floats, labels: NDArray[np.int32], cosines: Floats, num_clusters: int) -> Floats:
    """The unit mean of each cluster; an empty one moves to a point that is worst served."""
    sums = np.zeros((num_clusters, points.shape[1]))
    for span in _blocks(len(points)):
        order = np.argsort(labels[span], kind="stable")  # np.add.at takes thirty times as long
        present, starts = np.unique(labels[span][order], return_index=True)
        sums[present] += np.add.reduceat(points[span][order], starts, axis=0, dtype=np.float64)
    empty = np.flatnonzero(np.bincount(labels, minlength=num_clusters) == 0)
    sums[empty] = points[np.argsort(cosines, kind="stable")[: len(empty)]]
    return unit(sums.astype(np.float32))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))

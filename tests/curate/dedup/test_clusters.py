"""k-means against scipy's, and against itself with other points beside it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from puna.curate.dedup import clusters
from puna.curate.dedup.clusters import Floats, assign, kmeans, unit


def blobs(num: int, size: int, dim: int = 16, seed: int = 0, noise: float = 0.25) -> tuple[Floats, NDArray[np.int64]]:
    """Unit vectors around `num` directions, and which."""
    draw = np.random.default_rng(seed)
    centres = unit(draw.normal(size=(num, dim)).astype(np.float32))
    which = draw.permutation(np.repeat(np.arange(num), size))
    return unit(centres[which] + noise * draw.normal(size=(len(which), dim)).astype(np.float32)), which


def distortion(points: Floats, labels: NDArray[np.int32]) -> float:
    """Sum of 1 - cosine to the unit mean of the cluster."""
    means = unit(np.stack([points[labels == label].sum(0) for label in np.unique(labels)]))
    places = np.searchsorted(np.unique(labels), labels)
    return float((1 - (points * means[places]).sum(1)).sum())


@pytest.mark.parametrize(("num", "noise"), [(8, 0.25), (20, 0.6)])
def test_clusters_are_as_tight_as_those_of_scipy(num: int, noise: float) -> None:
    points, _ = blobs(num, 60, noise=noise)
    ours = [distortion(points, assign(points, kmeans(points, num, seed=seed))[0]) for seed in range(6)]
    theirs = [distortion(points, kmeans2(points, num, minit="++", rng=seed)[1]) for seed in range(6)]
    assert np.mean(ours) < 1.05 * np.mean(theirs) and min(ours) < 1.02 * min(theirs)


def test_clear_clusters_are_found() -> None:
    points, which = blobs(6, 50, noise=0.05)
    centroids = kmeans(points, 6, seed=1)
    labels, cosines = assign(points, centroids)
    pairs = {(int(a), int(b)) for a, b in zip(labels, which, strict=True)}
    assert len(pairs) == 6
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    brute = points @ centroids.T
    assert labels.tolist() == brute.argmax(1).tolist() and np.allclose(cosines, brute.max(1), atol=1e-6)


def test_the_same_points_and_seed_give_the_same_clusters_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = blobs(5, 400)
    first = kmeans(points, 12, seed=3)
    monkeypatch.setattr(clusters, "_BLOCK", 77)
    again = kmeans(points, 12, seed=3)
    assert np.allclose(first, again, atol=1e-5)
    assert not np.allclose(first, kmeans(points, 12, seed=4), atol=1e-2)


def test_a_sample_of_many_points_serves_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = blobs(8, 500, noise=0.1)
    full = [distortion(points, assign(points, kmeans(points, 8, seed=seed))[0]) for seed in range(6)]
    monkeypatch.setattr(clusters, "_POINTS_A_CLUSTER", 40)
    sampled = [distortion(points, assign(points, kmeans(points, 8, seed=seed))[0]) for seed in range(6)]
    assert sampled != full and np.mean(sampled) < 1.1 * np.mean(full)


def test_equal_points_and_fewer_points_than_clusters_are_no_trouble() -> None:
    same = np.tile(unit(np.ones((1, 8), np.float32)), (30, 1))
    labels, cosines = assign(same, kmeans(same, 4, seed=0))
    assert set(labels.tolist()) == {0} and np.allclose(cosines, 1)
    two = unit(np.eye(8, dtype=np.float32)[:2])
    assert len(kmeans(two, 9, seed=0)) == 2
    assert np.isfinite(unit(np.zeros((2, 8), np.float32))).all()


def test_small_heaps_far_off_get_a_centroid_of_their_own() -> None:
    draw = np.random.default_rng(0)
    which = np.repeat(np.arange(4), [300, 30, 30, 30])
    points = unit(np.eye(16)[which].astype(np.float32) + 0.001 * draw.normal(size=(390, 16)).astype(np.float32))
    for seed in range(5):
        labels, _ = assign(points, kmeans(points, 4, seed=seed))
        assert len({(int(a), int(b)) for a, b in zip(labels, which, strict=True)}) == 4


def test_an_empty_cluster_moves_to_who_is_worst_served(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = blobs(3, 40, noise=0.05)
    monkeypatch.setattr(clusters, "_spread", lambda points, count, random: points[[0, 0, 0]])
    labels, _ = assign(points, kmeans(points, 3, seed=0))
    assert set(labels.tolist()) == {0, 1, 2}

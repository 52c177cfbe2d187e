"""How well two labellers agree, and a classifier with labels: kappa, F1, calibration. N items, K classes."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kappa(first: Sequence[Hashable], second: Sequence[Hashable], quadratic: bool = False) -> float:
    """Cohen's kappa: agreement beyond chance, 1 if all agree, 0 at chance (Cohen 1960).

    quadratic: of numbers, a disagreement weighs by the square of the distance (Cohen 1968). 0 if both say one thing.
    """
    values = sorted({*first, *second}, key=lambda value: (str(type(value)), value))  # type: ignore[type-var]
    table = confusion(first, second, values).astype(np.float64)
    places: Floats = np.array(values, np.float64) if quadratic else np.arange(len(values), dtype=np.float64)
    apart = places[:, None] - places[None, :]
    weights = apart**2 if quadratic else (apart != 0).astype(np.float64)
    expected = np.outer(table.sum(1), table.sum(0)) / max(1.0, table.sum())
    by_chance = float((weights * expected).sum())
    return 1.0 - float((weights * table).sum()) / by_chance if by_chance else 0.0


def confusion(truth: Sequence[Hashable], told: Sequence[Hashable], values: Sequence[Hashable]) -> NDArray[np.int64]:
    """Counts [K, K]: the row is what is true, the column what was told."""
    place = {value: number for number, value in enumerate(values)}
    table = np.zeros((len(values), len(values)), np.int64)
    for a, b in zip(truth, told, strict=True):
        table[place[a], place[b]] += 1
    return table


class ClassScore(NamedTuple):
    """Of one class: the number of items that are of it; precision, recall and F1 of being told so."""

    number: int
    precision: float
    recall: float
    f1: float


def class_scores(truth: Sequence[Any], told: Sequence[Any]) -> dict[Any, ClassScore]:
    """Scores of each class that occurs in `truth`, in order."""
    pairs = list(zip(truth, told, strict=True))
    scores = {}
    for value in sorted(set(truth)):
        right = sum(a == b == value for a, b in pairs)
        are, called = sum(a == value for a, _ in pairs), sum(b == value for _, b in pairs)
        f1 = 2 * right / (are + called)
        scores[value] = ClassScore(are, right / called if called else 0.0, right / are, f1)
    return scores


def macro_f1(truth: Sequence[Any], told: Sequence[Any]) -> float:
    """Mean F1 of the classes that occur in `truth`."""
    return float(np.mean([score.f1 for score in class_scores(truth, told).values()]))


class Bin(NamedTuple):
    """Predictions of like confidence: mean confidence, share that was right, their number."""

    confidence: float
    accuracy: float
    number: int


def reliability(confidence: Floats, right: NDArray[np.bool_], num_bins: int = 10) -> list[Bin]:
    """Bins of equal width over [0, 1], empty ones left out (a reliability diagram, Guo 2017, section 2)."""
    places = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    chosen = [places == number for number in range(num_bins) if (places == number).any()]
    return [Bin(float(confidence[one].mean()), float(right[one].mean()), int(one.sum())) for one in chosen]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error (ECE): mean distance of confidence and accuracy, weighted by count."""
    total = sum(one.number for one in bins)
    return sum(one.number * abs(one.confidence - one.accuracy) for one in bins) / total if total else 0.0


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing their mean rank; 0 where one side is constant."""
    a, b = _ranks(np.asarray(first, np.float64)), _ranks(np.asarray(second, np.float64))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size else 0.0


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: Floats = ends - (counts - 1) / 2
    return mean[place]

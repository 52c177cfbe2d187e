"""Against formulas written out and scipy."""

import itertools

import numpy as np
import pytest
import scipy.stats

from puna.curate.classify.measure import (
    calibration_error,
    class_scores,
    confusion,
    kappa,
    macro_f1,
    rank_correlation,
    reliability,
)


def _kappa_by_pairs(first: list[int], second: list[int], quadratic: bool) -> float:
    """1 - observed / expected disagreement, the expected one over all pairs of one's answers with the other's."""

    def apart(a: int, b: int) -> float:
        return (a - b) ** 2 if quadratic else float(a != b)

    observed = np.mean([apart(a, b) for a, b in zip(first, second, strict=True)])
    return float(1 - observed / np.mean([apart(a, b) for a, b in itertools.product(first, second)]))


@pytest.mark.parametrize("quadratic", [False, True])
def test_kappa_is_agreement_beyond_chance(quadratic: bool) -> None:
    draw = np.random.default_rng(1)
    first = draw.integers(0, 6, 60).tolist()
    second = [a if draw.random() < 0.6 else int(draw.integers(0, 6)) for a in first]
    assert kappa(first, second, quadratic) == pytest.approx(_kappa_by_pairs(first, second, quadratic))
    assert kappa(first, first, quadratic) == 1


def test_kappa_of_the_textbook() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: (0.7 - 0.5) / (1 - 0.5)."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(first, second) == pytest.approx(0.4)


def test_kappa_where_both_say_one_thing_is_none() -> None:
    assert kappa([1, 1], [1, 1]) == 0
    assert kappa([], []) == 0


def test_class_scores_by_hand() -> None:
    truth, told = list("aaabbc"), list("aabbbb")
    scores = class_scores(truth, told)
    assert scores["a"] == pytest.approx((3, 1.0, 2 / 3, 0.8))
    assert scores["b"] == pytest.approx((2, 0.5, 1.0, 2 / 3))
    assert scores["c"] == (1, 0, 0, 0)
    assert macro_f1(truth, told) == pytest.approx((0.8 + 2 / 3) / 3)
    assert confusion(truth, told, "abc").tolist() == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]


def test_reliability_by_hand() -> None:
    confidence = np.array([0.55, 0.51, 0.95, 1.0, 0.91])
    bins = reliability(confidence, np.array([True, False, True, True, False]))
    assert [(one.confidence, one.accuracy, one.number) for one in bins] == [
        (pytest.approx(0.53), 0.5, 2),
        (pytest.approx((0.95 + 1.0 + 0.91) / 3), pytest.approx(2 / 3), 3),
    ]
    assert calibration_error(bins) == pytest.approx(0.4 * 0.03 + 0.6 * (2.86 / 3 - 2 / 3))


def test_rank_correlation_is_scipys() -> None:
    draw = np.random.default_rng(2)
    first = draw.integers(0, 6, 50).astype(float)
    second = np.round(first + draw.normal(0, 2, 50), 0)
    assert rank_correlation(first.tolist(), second.tolist()) == pytest.approx(
        float(scipy.stats.spearmanr(first, second).statistic)
    )
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0

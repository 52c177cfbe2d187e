"""Intervals and tests against scipy, and by counting how often they cover."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from puna.base.errors import InputError
from puna.evals.statistics import (
    compare_paired,
    mcnemar_exact,
    normal_interval,
    pass_at_k,
    ratio_interval,
    wilson_interval,
)


@given(st.integers(1, 5000), st.data())
def test_wilson_equals_scipy(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(right, n), (expected.low, expected.high), atol=1e-12)


def test_normal_interval_is_the_formula_of_the_llama_3_paper() -> None:
    """1.96 sqrt(S (1 - S) / N) at MMLU's size and Llama 3.1 8B's score, computed by hand: 0.694 +- 0.0076."""
    low, high = normal_interval(9745, 14042)
    assert low == pytest.approx(0.69399 - 0.00762, abs=1e-5)
    assert high == pytest.approx(0.69399 + 0.00762, abs=1e-5)


def test_wilson_covers_near_one_where_the_normal_interval_does_not() -> None:
    right = np.random.default_rng(0).binomial(100, 0.98, size=2000).tolist()

    def coverage(interval) -> float:  # type: ignore[no-untyped-def]
        return float(np.mean([interval(k, 100)[0] <= 0.98 <= interval(k, 100)[1] for k in right]))

    assert coverage(wilson_interval) > 0.93
    assert coverage(normal_interval) < 0.9


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_items_does_not_overflow() -> None:
    assert mcnemar_exact(4000, 4300) == pytest.approx(stats.binomtest(4000, 8300).pvalue, rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_paired_bootstrap_agrees_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random(300) < 0.5, rng.random(300) < 0.6
    came = compare_paired(a.tolist(), b.tolist())
    expected = stats.bootstrap(
        (b.astype(float) - a,), np.mean, n_resamples=2000, method="percentile", rng=rng
    ).confidence_interval
    np.testing.assert_allclose(came.ci95, expected, atol=0.02)
    assert came.difference == pytest.approx(b.mean() - a.mean())
    assert (came.only_a, came.only_b) == (int((a > b).sum()), int((b > a).sum()))


def test_pairing_sees_what_two_separate_intervals_do_not() -> None:
    """Two models that agree on 480 of 500 items; the better one wins 18 of the 20 others."""
    a = [True] * 240 + [False] * 240 + [True] * 2 + [False] * 18
    b = [True] * 240 + [False] * 240 + [False] * 2 + [True] * 18
    came = compare_paired(a, b)
    assert came.ci95[0] > 0
    assert came.p_value < 0.001
    assert wilson_interval(sum(a), 500)[1] > wilson_interval(sum(b), 500)[0]


def test_ratio_interval_covers_the_ratio() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for trial in range(100):
        num_bytes = rng.integers(100, 2000, size=60)
        bits = num_bytes * rng.normal(1.5, 0.3, size=60)
        low, high = ratio_interval(bits, num_bytes, seed=trial)
        covered.append(low <= 1.5 <= high)
    assert np.mean(covered) > 0.88


def test_intervals_repeat() -> None:
    assert ratio_interval([1, 2, 3], [1, 1, 1]) == ratio_interval([1, 2, 3], [1, 1, 1])
    assert ratio_interval([2.0], [1.0]) == (2.0, 2.0)


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(itertools.combinations([True] * right + [False] * (n - right), k))
    assert pass_at_k(n, right, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-15)


@pytest.mark.parametrize("right", [0, 1, 3, 500_000, 999_990, 999_999, 1_000_000])
@pytest.mark.parametrize("k", [1, 2, 100])
def test_pass_at_k_of_a_million_is_the_float_nearest_to_the_exact_value(right: int, k: int) -> None:
    """By binomials in integers; 1 - a product of floats is off in the 10th digit where right is 1."""
    n = 10**6
    assert pass_at_k(n, right, k) == float(1 - Fraction(math.comb(n - right, k), math.comb(n, k)))
    assert pass_at_k(n, 0, k) == 0.0 and pass_at_k(n, right, 1) == right / n


@pytest.mark.parametrize("n, right, k", [(0, 0, 1), (5, 6, 1), (5, -1, 1), (5, 1, 0), (5, 1, 6)])
def test_pass_at_k_out_of_range_is_refused(n: int, right: int, k: int) -> None:
    with pytest.raises(InputError, match=rf"came {right} of {n}, k = {k}"):
        pass_at_k(n, right, k)


def test_no_items_are_refused() -> None:
    for call in (
        lambda: wilson_interval(0, 0),
        lambda: wilson_interval(3, 2),
        lambda: ratio_interval([], []),
        lambda: compare_paired([], []),
        lambda: compare_paired([True], [True, False]),
    ):
        with pytest.raises(InputError, match="expected"):
            call()

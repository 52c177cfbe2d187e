"""Rank correlation beside scipy's, its interval beside simulation."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from puna.pretrain.mix.rank import spearman, spearman_interval

_PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=30)


@given(_PAIRS)
def test_spearman_with_ties_is_scipys(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) == 0.0
    else:
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Normal pairs of correlation r have Spearman's rho 6 / pi asin(r / 2), which 95% of the intervals should hold."""
    draws = np.random.default_rng(5)
    for r in (0.5, 0.9):
        truth, inside = 6 / np.pi * np.arcsin(r / 2), 0
        for _ in range(1000):
            x = draws.standard_normal(60)
            y = r * x + np.sqrt(1 - r * r) * draws.standard_normal(60)
            low, high = spearman_interval(spearman(x, y), 60)
            inside += low <= truth <= high
        assert 0.93 <= inside / 1000 <= 0.97
    assert spearman_interval(1.0, 9) == (1.0, 1.0) and spearman_interval(0.4, 3) == (-1.0, 1.0)

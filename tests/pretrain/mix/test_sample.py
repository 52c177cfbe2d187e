"""Random mixtures: caps by water-filling, and Dirichlet moments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.pretrain.mix.allocate import allocate
from puna.pretrain.mix.sample import capped, sample_mixtures

NATURAL = np.array([0.6, 0.3, 0.08, 0.02])


@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda shares: sum(shares) > 0.01),
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4).filter(lambda caps: sum(caps) > 1.01),
)
def test_capped_is_allocation_of_one(shares: list[float], caps: list[float]) -> None:
    mixture = np.array(shares) / sum(shares)
    found = capped(mixture[None], NATURAL, np.array(caps))[0]
    laid_under = dict(zip("abcd", 0.999 * mixture + 0.001 * NATURAL, strict=True))
    expected = allocate(laid_under, dict(zip("abcd", caps, strict=True)), 1.0).got
    assert found == pytest.approx(np.array(list(expected.values())), abs=1e-9)
    assert found.sum() == pytest.approx(1) and (found <= np.array(caps) + 1e-12).all()


def test_mixtures_stand_around_the_natural_one_and_reach_the_corners() -> None:
    mixtures = sample_mixtures(NATURAL, np.ones(4), 20_000, 1, "k")
    base = np.sqrt(NATURAL) / np.sqrt(NATURAL).sum()
    assert mixtures.mean(0) == pytest.approx(0.999 * base + 0.001 * NATURAL, abs=0.01)
    # Variance of a share: base (1 - base) / (strength + 1), over strengths uniform in the logarithm.
    mean_inverse = np.log((5 / 6) / (0.1 / 1.1)) / np.log(50)
    assert mixtures.var(0) == pytest.approx(base * (1 - base) * mean_inverse, rel=0.05)
    assert (mixtures.max(1) > 0.98).mean() > 0.1
    assert np.array_equal(sample_mixtures(NATURAL, np.ones(4), 20_000, 1, "k"), mixtures)
    assert not np.array_equal(sample_mixtures(NATURAL, np.ones(4), 20_000, 2, "k"), mixtures)


def test_no_share_exceeds_its_cap_and_many_tiny_domains_are_no_trouble() -> None:
    natural = np.array([0.999, *[0.001 / 20] * 20])
    caps = np.minimum(natural * 4, 1)
    mixtures = sample_mixtures(natural, caps, 500, 3, "k")
    assert np.isfinite(mixtures).all() and (mixtures <= caps + 1e-12).all()
    assert mixtures.sum(1) == pytest.approx(np.ones(500))

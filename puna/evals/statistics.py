"""Confidence intervals and paired tests. Every score of Puna carries one of these intervals.

What for which question: a share of right answers `wilson_interval`; the same as in the Llama 3 paper
`normal_interval`; a ratio of sums such as bits per byte, or a mean such as pass@k, `ratio_interval`; two models on the
same items `compare_paired`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from puna.base.errors import InputError
from puna.base.rng import generator

Z95 = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""
RESAMPLES = 2000


def wilson_interval(num_right: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927): stays in [0, 1] and covers near 0 and 1, as Wald's does not.

    Raises InputError without items.
    """
    share = _share(num_right, n)
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if num_right == 0 else center - half
    return low, 1.0 if num_right == n else center + half


def normal_interval(num_right: int, n: int, z: float = Z95) -> tuple[float, float]:
    """S +- 1.96 sqrt(S (1 - S) / N), the interval of the Llama 3 paper (section 5.1.1); too narrow near 0 and 1."""
    share = _share(num_right, n)
    half = z * math.sqrt(share * (1 - share) / n)
    return share - half, share + half


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95% percentile bootstrap of sum(numerators) / sum(denominators) over items (documents).

    Raises InputError without items.
    """
    top, bottom = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if len(top) == 0 or len(top) != len(bottom):
        raise InputError(
            f"ratio_interval: expected as many pairs as items, at least one, came {len(top)}, {len(bottom)}"
        )
    ratios = []
    for counts in _resamples(len(top), seed, "ratio"):
        ratios.append((counts @ top) / (counts @ bottom))
    low, high = np.quantile(np.concatenate(ratios), [0.025, 0.975])
    return float(low), float(high)


def pass_at_k(n: int, num_right: int, k: int) -> float:
    """Chance that at least one of k samples is right, estimated without bias from `num_right` of n (Chen 2021, eq. 1).

    1 - C(n - c, k) / C(n, k), in fractions: exact for any n. Raises InputError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= num_right <= n or not 1 <= k <= n:
        raise InputError(f"pass@k: expected 0 .. n right of n and k from 1 to n, came {num_right} of {n}, k = {k}")
    all_wrong = Fraction(1)
    for i in range(k):
        all_wrong *= Fraction(max(0, n - num_right - i), n - i)
    return float(1 - all_wrong)


@dataclass(frozen=True)
class PairedComparison:
    """Model B against model A on the same items. `ci95` of the difference by paired bootstrap, `p_value` by McNemar.

    only_a, only_b: items that only this model got right, which is all that the test looks at.
    """

    difference: float
    ci95: tuple[float, float]
    p_value: float
    only_a: int
    only_b: int
    n: int


def compare_paired(right_a: Sequence[bool], right_b: Sequence[bool], seed: int = 0) -> PairedComparison:
    """Accuracy of B minus accuracy of A over items that both answered.

    Raises InputError if there are none or the two are not equally many.
    """
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    if len(a) == 0 or len(a) != len(b):
        raise InputError(
            f"compare_paired: expected two verdicts an item, at least one item, came {len(a)} and {len(b)}"
        )
    gain = b.astype(np.float64) - a
    means = np.concatenate([counts @ gain / len(gain) for counts in _resamples(len(gain), seed, "paired")])
    low, high = np.quantile(means, [0.025, 0.975])
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return PairedComparison(
        float(gain.mean()), (float(low), float(high)), mcnemar_exact(only_a, only_b), only_a, only_b, len(a)
    )


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value that the items on which two models differ fall to either with probability 1/2."""
    n, least = only_a + only_b, min(only_a, only_b)
    # 2 P(X <= least) for X ~ Binomial(n, 1/2), in integers: exact for any n.
    tail = ways = 1
    for k in range(least):
        ways = ways * (n - k) // (k + 1)  # n choose k + 1
        tail += ways
    return min(1.0, 2 * tail / 2**n) if n else 1.0


def _share(num_right: int, n: int) -> float:
    if n < 1 or not 0 <= num_right <= n:
        raise InputError(f"interval: expected 0 .. n right of n >= 1 items, came {num_right} of {n}")
    return num_right / n


def _resamples(n: int, seed: int, key: str) -> list[np.ndarray]:
    """How often each item is in each of RESAMPLES bootstrap samples, in blocks [R, n] of bounded size."""
    rng = generator(seed, "bootstrap", key, n)
    block = max(1, min(RESAMPLES, 4_000_000 // n))
    shares = np.full(n, 1 / n)
    blocks = []
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        blocks.append(rng.multinomial(n, shares, size=size))
    return blocks

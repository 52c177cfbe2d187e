"""How well predictions order what was measured: Spearman's rank correlation with its interval."""

import math

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
_Z95 = 1.959963984540054


def spearman(predicted: Float64, measured: Float64) -> float:
    """Spearman's rank correlation of two samples [N], ties at their mean rank; 0 if one of them is constant."""
    a, b = _ranks(predicted), _ranks(measured)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else 0.0


def spearman_interval(rho: float, n: int) -> tuple[float, float]:
    """95% interval of a rank correlation of n pairs, by Fisher's z with Bonett and Wright's (2000) variance."""
    if n <= 3 or abs(rho) >= 1:
        return (-1.0, 1.0) if n <= 3 else (rho, rho)
    half = _Z95 * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def _ranks(values: Float64) -> Float64:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_rank: Float64 = ends - (counts - 1) / 2
    return mean_rank[place]

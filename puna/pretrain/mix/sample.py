"""Random mixtures around a natural one, none beyond what the repetition limit allows.

N mixtures, D domains.
"""

import numpy as np
import numpy.typing as npt

from puna.base.rng import generator

Float64 = npt.NDArray[np.float64]
_SURPLUS = 1e-3


def sample_mixtures(
    natural: Float64, caps: Float64, count: int, seed: int, key: str, temperature: float = 0.5
) -> Float64:
    """`count` mixtures [N, D] from Dirichlet distributions around `natural` [D], each share at most its cap [D].

    As RegMix samples them (Liu 2024): the natural shares to the power `temperature`, times a strength between 0.1
    (nearly one domain alone) and 5 (nearly the mean), uniform in its logarithm. RegMix throws away mixtures beyond a
    cap; here the surplus goes to the other domains, so that small domains do not make samples rare.
    """
    base = natural**temperature / (natural**temperature).sum()
    draws = generator(seed, key)
    strengths = np.exp(draws.uniform(np.log(0.1), np.log(5.0), count))
    # Dirichlet by its gammas. In logarithms: of a tiny parameter the gamma itself is 0 in floating point.
    parameters = strengths[:, None] * base
    logs = np.log(draws.gamma(parameters + 1)) + np.log(draws.uniform(size=parameters.shape)) / parameters
    shares = np.exp(logs - logs.max(1, keepdims=True))
    return capped(shares / shares.sum(1, keepdims=True), natural, caps)


def capped(shares: Float64, natural: Float64, caps: Float64) -> Float64:
    """Mixtures [N, D] with what is beyond a cap shared among the others in proportion (`allocate`, for many at once).

    A thousandth of the natural mixture is laid under each, so that the surplus of one domain alone has where to go.
    Caps must sum to at least 1.
    """
    wanted = (1 - _SURPLUS) * shares + _SURPLUS * natural
    full = np.zeros(wanted.shape, bool)
    for _ in range(shares.shape[1]):
        left = 1 - (full * caps).sum(1, keepdims=True)
        free = np.where(full, 0.0, wanted)
        scaled = np.where(full, caps, free * left / np.maximum(free.sum(1, keepdims=True), 1e-300))
        over = ~full & (scaled > caps)
        if not over.any():
            break
        full |= over
    return scaled

"""A number of parameters -> a Llama of about so many, between the published ones.

Width to depth, feed-forward width and vocabulary are interpolated over the logarithm of the parameters, between nano
of this project and Llama 3's 1B to 405B; beyond them they stay. A published number of parameters gives the published
shape.
"""

import math
from collections.abc import Iterator

import numpy as np

from puna.base.errors import ConfigError
from puna.model.config import PRESETS, LlamaConfig
from puna.scaling.numbers import positive, short

MIN_PARAMETERS, MAX_PARAMETERS = 1e6, 1e12
TOLERANCE = 0.05
"""A shape has at most so much more or less than was asked for."""

_FAMILY = list(PRESETS.values())
_LOG_PARAMETERS = [math.log(one.num_parameters()) for one in _FAMILY]
_LARGEST_TIED = 5e9  # between 3B, which is tied, and 8B


def llama_shape(parameters: float, vocab_size: int | None = None, max_position: int = 8192) -> LlamaConfig:
    """The shape nearest to the family's proportions whose parameters are within 5% of `parameters`.

    Without `vocab_size` it grows from nano's 2,048 to Llama 3's 128,256 at 1B. Raises ConfigError outside 1M to 1T, and
    where the vocabulary alone is too much.
    """
    positive("parameters", parameters)
    if not MIN_PARAMETERS * (1 - TOLERANCE) <= parameters <= MAX_PARAMETERS * (1 + TOLERANCE):
        raise ConfigError(f"parameters: expected 1M to 1T, came {short(parameters)}")
    vocabulary = _vocabulary(parameters) if vocab_size is None else vocab_size
    options = list(_options(parameters, vocabulary, max_position))
    if not options:
        raise ConfigError(
            f"parameters: expected room for layers beside a vocabulary of {vocabulary:,}, came {short(parameters)}; "
            "ask for more parameters or a smaller vocab_size"
        )
    return min(options, key=lambda config: _strangeness(config, parameters))


def _options(parameters: float, vocabulary: int, max_position: int) -> Iterator[LlamaConfig]:
    """Shapes of every width near the family's, whose depth and feed-forward width make up the number of parameters."""
    aspect, ratio = _aspect(parameters), _ffn_ratio(parameters)
    head_dim, tied = _head_dim(parameters), parameters < _LARGEST_TIED
    for dim in _widths():
        heads = dim // head_dim
        if heads < 2:
            continue
        kv_heads = min(math.gcd(heads, 8), heads // 2) if heads % 2 == 0 else 1
        attention = 2 * dim * head_dim * (heads + kv_heads) + 2 * dim
        left = parameters - (1 if tied else 2) * vocabulary * dim - dim
        depth = left / (attention + 3 * dim * ratio * dim)
        if depth < 0.5 or not 0.4 < dim / depth / aspect < 2.5:
            continue
        step = _ffn_step(dim)
        for layers in {max(1, math.floor(depth)), math.ceil(depth)}:
            ffn = round((left / layers - attention) / (3 * dim) / step) * step
            if ffn < step:
                continue
            config = LlamaConfig(
                dim=dim,
                layers=layers,
                heads=heads,
                kv_heads=kv_heads,
                ffn_dim=ffn,
                vocab_size=vocabulary,
                max_position=max_position,
                tied=tied,
            )
            if abs(config.num_parameters() / parameters - 1) <= TOLERANCE:
                yield config


def _strangeness(config: LlamaConfig, parameters: float) -> float:
    """How far a shape is from the family's proportions and from the number asked for; 0 for a published one."""
    aspect = math.log(config.dim / config.layers / _aspect(parameters))
    ratio = math.log(config.ffn_dim / config.dim / _ffn_ratio(parameters))
    # Loss hardly depends on proportions within a factor of two (Kaplan 2020, figure 5), so a miss of 2% counts as 30%.
    number = 15 * math.log(config.num_parameters() / parameters)
    return aspect**2 + 2 * ratio**2 + number**2


def _aspect(parameters: float) -> float:
    return float(np.interp(math.log(parameters), _LOG_PARAMETERS, [one.dim / one.layers for one in _FAMILY]))


def _ffn_ratio(parameters: float) -> float:
    return float(np.interp(math.log(parameters), _LOG_PARAMETERS, [one.ffn_dim / one.dim for one in _FAMILY]))


def _vocabulary(parameters: float) -> int:
    logs = [math.log(one.vocab_size) for one in _FAMILY]
    return round(math.exp(np.interp(math.log(parameters), _LOG_PARAMETERS, logs)) / 64) * 64


def _head_dim(parameters: float) -> int:
    """32, 64 or 128, as the nearest of nano, 1B and 3B has."""
    nano, one, three = (PRESETS[name].num_parameters() for name in ("nano", "1B", "3B"))
    if parameters < math.sqrt(nano * one):
        return 32
    return 64 if parameters < math.sqrt(one * three) else 128


def _widths() -> Iterator[int]:
    """Multiples of 64, and of more the wider: four to eight widths for each doubling.

    From 4,096 on multiples of 1,024, so that heads divide by 8: eight key/value heads, tensors split over a node.
    """
    dim = 64
    while dim <= 65_536:
        yield dim
        dim += 64 if dim < 512 else 128 if dim < 1024 else 256 if dim < 2048 else 512 if dim < 4096 else 1024


def _ffn_step(dim: int) -> int:
    """Feed-forward widths are multiples of this."""
    return 32 if dim < 512 else 64 if dim < 1024 else 128 if dim < 2048 else 256

"""Rotary position embedding (Su 2021) with Llama 3.1's frequency scaling, in Hugging Face's half layout.

Channel i turns with channel i + C/2. Meta's files pair neighbours instead; conversion permutes rows of q and k.

B batch, T tokens, N heads of any kind, C head width.
"""

import math
from typing import Any

import torch
from torch import Tensor


def rope_frequencies(head_dim: int, theta: float, scaling: dict[str, Any] | None = None) -> Tensor:
    """Radians a position for each pair of channels, [C/2] in fp32 on the CPU.

    Computed in fp32 as the reference does: at position 131,072 one unit in the last place of a frequency is
    0.008 radians, so a more exact value would not be an equal one.
    """
    exponents = torch.arange(0, head_dim, 2, device="cpu").float() / head_dim
    frequencies = 1.0 / (theta**exponents)
    return frequencies if scaling is None else _scale_llama3(frequencies, scaling)


def rope_tables(frequencies: Tensor, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [..., T, 1, C/2] for `positions` [..., T]; angles in fp32 whatever the model's dtype."""
    angles = (positions.float()[..., None] * frequencies)[..., None, :]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn `x` [B, T, N, C] by the angles of its positions."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _scale_llama3(frequencies: Tensor, scaling: dict[str, Any]) -> Tensor:
    """Llama 3.1: long waves are stretched by `factor`, short ones kept, those between blended linearly."""
    original = scaling["original_max_position_embeddings"]
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    wavelengths = 2 * math.pi / frequencies
    blend = (original / wavelengths - low) / (high - low)
    blended = (1 - blend) * frequencies / factor + blend * frequencies
    scaled = torch.where(wavelengths > original / low, frequencies / factor, frequencies)
    between = (wavelengths <= original / low) & (wavelengths >= original / high)
    return torch.where(between, blended, scaled)

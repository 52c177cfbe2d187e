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


def rope_tables(frequencies: Tensor, positions: Tensor, dtype: torch.dtype, heads: int = 1) -> tuple[Tensor, Tensor]:
    """Cosines and sines [..., T, heads, C/2] for `positions` [..., T]; angles in fp32 whatever the model's dtype.

    They are the same for every head. On a CPU it is faster to read one for each than to come back to the one for all.
    """
    angles = (positions.float()[..., None] * frequencies)[..., None, :]
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    return (cos, sin) if heads == 1 else (cos.repeat_interleave(heads, -2), sin.repeat_interleave(heads, -2))


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn `x` [B, T, N, C] by the angles of its positions. Tables for more than N heads are as good."""
    cos, sin = cos[..., : x.shape[-2], :], sin[..., : x.shape[-2], :]
    if type(x) is Tensor and not torch.compiler.is_compiling():
        turned: Tensor = _Rotation.apply(x, cos, sin)
        return turned
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class _Rotation(torch.autograd.Function):
    """The same in half the passes over memory; its gradient is turned back. Tables have no gradient.

    With tables for every head, q and k of 4 rows of 512 tokens (H6 K2 C32), forward and backward: 4.0 ms of one core,
    and 6.5 as written in `apply_rope` with tables for all heads.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(gradients[0], cos, sin, -1), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    """`x` turned by the angles times `sign`."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    (first, second), (to_first, to_second) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=to_second).addcmul_(first, sin, value=sign)
    return out


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

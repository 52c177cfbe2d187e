"""ggml's quantised blocks: 32 numbers of a row share one scale in half precision.

Q8_0 keeps d and 32 times int8, x = d q. Q4_0 keeps d and 32 times 4 bits, x = d (q - 8); byte i holds number i in its
low half and number i + 16 in its high one. Bytes are equal to those of the `gguf` package (0.19), which are ggml's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from puna.base.errors import ArtifactError

BLOCK = 32
_SMALLEST = np.float32(3e-39)
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Quantization:
    """How numbers become blocks of `block_bytes` and numbers again."""

    block_bytes: int
    quantize: Callable[[Floats], Bytes]
    dequantize: Callable[[Bytes], Floats]


def quantize_q8_0(rows: Floats) -> Bytes:
    """Blocks [N, 34] of `rows` [..., a multiple of 32]: d = max |x| / 127.

    Raises ArtifactError if a number is no finite one, or so large that d is none in half precision.
    """
    blocks = rows.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    half = _half(scale)
    quants = _round_half_away(blocks * _inverse(scale)).astype(np.int8)
    return np.concatenate([half, quants.view(np.uint8)], axis=1)


def dequantize_q8_0(blocks: Bytes) -> Floats:
    """Numbers [N, 32] of blocks [N, 34]."""
    return _scales(blocks) * blocks[:, 2:].view(np.int8).astype(np.float32)


def quantize_q4_0(rows: Floats) -> Bytes:
    """Blocks [N, 18] of `rows` [..., a multiple of 32]: d = x / -8 of the x furthest from 0, which becomes q = 0.

    Raises ArtifactError as `quantize_q8_0`.
    """
    blocks = rows.reshape(-1, BLOCK)
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scale = furthest / np.float32(-8)
    half = _half(scale)
    scaled = blocks.astype(np.float64) * _inverse(scale).astype(np.float64)
    quants = np.clip(np.trunc(scaled + 8.5), 0, 15).astype(np.uint8)
    return np.concatenate([half, quants[:, :16] | quants[:, 16:] << 4], axis=1)


def dequantize_q4_0(blocks: Bytes) -> Floats:
    """Numbers [N, 32] of blocks [N, 18]."""
    pairs = blocks[:, 2:]
    quants = np.concatenate([pairs & 15, pairs >> 4], axis=1)
    return _scales(blocks) * (quants.astype(np.float32) - np.float32(8))


QUANTIZATIONS = {
    "q8_0": Quantization(34, quantize_q8_0, dequantize_q8_0),
    "q4_0": Quantization(18, quantize_q4_0, dequantize_q4_0),
}


def _half(scale: Floats) -> Bytes:
    with np.errstate(over="ignore"):
        half = scale.astype(np.float16)
    if not np.isfinite(half).all():
        worst = float(np.abs(scale).max())
        raise ArtifactError(f"expected weights whose scale fits half precision (65504), came a scale of {worst}")
    return half.view(np.uint8)


def _scales(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)


def _inverse(scale: Floats) -> Floats:
    # Zeros stay zeros, and so does what is so small that 1 / scale is no float (half precision has no such scale).
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=np.abs(scale) > _SMALLEST)


def _round_half_away(x: Floats) -> Floats:
    """C's roundf. Adding 0.5 and cutting would round 0.49999997 up."""
    size = np.abs(x)
    whole = np.floor(size)
    return np.copysign(whole + (size - whole >= np.float32(0.5)), x)

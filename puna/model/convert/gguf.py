"""GGUF, the file that llama.cpp runs: names, metadata, and weights in full, half or quantised precision.

As llama.cpp's converter writes it: architecture "llama", rows of q and k interleaved, norms always float32, the
frequency scaling of Llama 3.1 as a tensor of divisors. Entries named puna.* are our own; others pass over them.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from puna.base.errors import ArtifactError, ConfigError
from puna.base.files import refusing_full_disk
from puna.model.config import LLAMA31_ROPE_SCALING, LLAMA32_ROPE_SCALING, LlamaConfig
from puna.model.convert.checkpoint import DTYPES, CarriedTokenizer, Checkpoint, Weight, fit, halved
from puna.model.convert.gguf_files import ALIGNMENT, KINDS, GgufTensor, Kind, pad_to, read_gguf_file, write_gguf_header
from puna.model.convert.quantize import BLOCK, QUANTIZATIONS
from puna.model.convert.safetensor_files import write_tensor
from puna.model.rope import rope_frequencies

_ROPE = "rope_freqs.weight"
_ROPE_SCALING = "puna.rope.scaling"
_OUTER = {
    "embedding.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
_INNER = {
    "attention_norm": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.o": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
}
_FILE_TYPES = {"float32": 0, "float16": 1, "q4_0": 2, "q8_0": 7, "bfloat16": 32}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_CHUNK_VALUES = 1 << 20


def gguf_name(name: str) -> str:
    """Our name in their spelling: layers.0.feed_forward.gate.weight is blk.0.ffn_gate.weight."""
    if name in _OUTER:
        return _OUTER[name]
    _, index, inner = name.removesuffix(".weight").split(".", 2)
    return f"blk.{index}.{_INNER[inner]}.weight"


def open_gguf(path: Path) -> Checkpoint:
    """The model of a GGUF file; quantised blocks are loaded as float32.

    All weights take the dtype of the matrices (norms are float32 in every file), or float32 if these differ.
    Raises ArtifactError if the file is damaged, no Llama, or of a kind that we do not read.
    """
    metadata, tensors = read_gguf_file(path)
    found = {tensor.name: _weight(path, tensor) for tensor in tensors}
    rope = found.pop(_ROPE, None)
    config = config_of(path, metadata, tied="output.weight" not in found, rope=rope)
    weights = fit(found, config, gguf_name, path, "its metadata")
    dtypes = {weight.dtype for weight in weights.values() if len(weight.shape) > 1}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    return Checkpoint(path, config, halved(weights, config), metadata).cast(dtype)


def write_gguf(
    checkpoint: Checkpoint,
    tokenizer: CarriedTokenizer,
    path: Path,
    wrote: Callable[[int], None],
    quantize: str | None = None,
) -> list[str]:
    """Write a GGUF file, one tensor in memory; returns the matrices that could not be quantised.

    quantize: None, "q8_0" or "q4_0", for all matrices. One whose rows are no multiple of 32 becomes float16, as in
    llama.cpp.
    """
    weights = [weight.renamed(gguf_name(name)) for name, weight in checkpoint.interleaved().items()]
    if (rope := _rope_weight(checkpoint.config)) is not None:
        weights.append(rope)
    kinds = [_kind(weight, quantize) for weight in weights]
    metadata = _metadata(checkpoint, quantize) | tokenizer.to_metadata()
    lines = [(weight.name, weight.shape, kind) for weight, kind in zip(weights, kinds, strict=True)]
    with refusing_full_disk(path), open(path, "wb") as file:
        starts = write_gguf_header(file, metadata, lines)
        for weight, kind, start in zip(weights, kinds, starts, strict=True):
            pad_to(file, start)
            _write_numbers(file, weight, kind)
            wrote(weight.num_bytes)
        pad_to(file, file.tell() + -file.tell() % ALIGNMENT)
        file.flush()
        os.fsync(file.fileno())
    return [weight.name for weight, kind in zip(weights, kinds) if quantize and kind.name == "float16"]


def config_of(path: Path, metadata: Mapping[str, Any], tied: bool, rope: Weight | None) -> LlamaConfig:
    """The LlamaConfig that the metadata describe. Raises ArtifactError if it is no Llama."""
    architecture, scaling = metadata.get("general.architecture"), metadata.get("llama.rope.scaling.type", "none")
    if architecture != "llama" or scaling != "none":
        raise ArtifactError(
            f'{path}: expected architecture "llama" without other RoPE scaling than Llama 3.1\'s, '
            f"came {architecture!r} with {scaling!r}; only Llama is supported"
        )
    try:
        values = {key.removeprefix("llama."): value for key, value in metadata.items() if key.startswith("llama.")}
        heads, theta = values["attention.head_count"], float(values.get("rope.freq_base", 10_000.0))
        head_dim = values.get("attention.key_length") or values.get("rope.dimension_count") or 0
        return LlamaConfig(
            dim=values["embedding_length"],
            layers=values["block_count"],
            heads=heads,
            kv_heads=values.get("attention.head_count_kv", heads),
            head_dim=head_dim,
            ffn_dim=values["feed_forward_length"],
            vocab_size=values.get("vocab_size") or len(metadata.get("tokenizer.ggml.tokens", ())),
            max_position=values["context_length"],
            rope_theta=theta,
            rope_scaling=_scaling(path, metadata, head_dim or values["embedding_length"] // heads, theta, rope),
            norm_eps=values["attention.layer_norm_rms_epsilon"],
            tied=tied,
        )
    except KeyError as error:
        raise ArtifactError(f"{path}: expected the entry llama.{error.args[0]}, found none") from None
    except (ConfigError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ArtifactError(f"{path}: expected the sizes of a Llama, came {error}") from None


def _metadata(checkpoint: Checkpoint, quantize: str | None) -> dict[str, Any]:
    config = checkpoint.config
    values: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": checkpoint.metadata.get("general.name", checkpoint.source.resolve().stem),
        "general.file_type": _FILE_TYPES[quantize or _NAMES[checkpoint.dtype]],
        "llama.block_count": config.layers,
        "llama.context_length": config.max_position,
        "llama.embedding_length": config.dim,
        "llama.feed_forward_length": config.ffn_dim,
        "llama.attention.head_count": config.heads,
        "llama.attention.head_count_kv": config.kv_heads,
        "llama.attention.key_length": config.head_dim,
        "llama.attention.value_length": config.head_dim,
        "llama.attention.layer_norm_rms_epsilon": float(config.norm_eps),
        "llama.rope.freq_base": float(config.rope_theta),
        "llama.rope.dimension_count": config.head_dim,
        "llama.vocab_size": config.vocab_size,
    }
    if quantize:
        values["general.quantization_version"] = 2
    if config.rope_scaling:
        values[_ROPE_SCALING] = json.dumps(config.rope_scaling)
    return values


def _rope_weight(config: LlamaConfig) -> Weight | None:
    if config.rope_scaling is None:
        return None
    divisors = _rope_divisors(config.head_dim, config.rope_theta, config.rope_scaling)
    return Weight(_ROPE, tuple(divisors.shape), torch.float32, lambda: divisors)


def _rope_divisors(head_dim: int, theta: float, scaling: dict[str, Any]) -> Tensor:
    """By what llama.cpp divides the frequency of each pair [C/2]: 1 for short waves, `factor` for long ones."""
    return rope_frequencies(head_dim, theta) / rope_frequencies(head_dim, theta, scaling)


def _scaling(
    path: Path, metadata: Mapping[str, Any], head_dim: int, theta: float, rope: Weight | None
) -> dict[str, Any] | None:
    """The scaling whose divisors are in the file: our own entry's, Llama 3.1's or Llama 3.2's."""
    if rope is None:
        return None
    candidates = [json.loads(metadata[_ROPE_SCALING])] if _ROPE_SCALING in metadata else []
    divisors = rope.load()
    known = [*candidates, LLAMA31_ROPE_SCALING, LLAMA32_ROPE_SCALING] if divisors.shape == (head_dim // 2,) else []
    for scaling in known:
        expected = _rope_divisors(head_dim, theta, scaling)
        if torch.allclose(expected, divisors, rtol=1e-5, atol=0):
            return dict(scaling)
    raise ArtifactError(f"{path}: expected the RoPE scaling of Llama 3.1 or 3.2 in {_ROPE}, came another")


def _kind(weight: Weight, quantize: str | None) -> Kind:
    if len(weight.shape) == 1:
        return KINDS["float32"]
    if quantize is None:
        return KINDS[_NAMES[weight.dtype]]
    return KINDS[quantize if weight.shape[-1] % BLOCK == 0 else "float16"]


def _write_numbers(file: BinaryIO, weight: Weight, kind: Kind) -> None:
    if kind.name in DTYPES:
        write_tensor(file, weight.cast(DTYPES[kind.name]).load())
        return
    rows = weight.load()
    quantization = QUANTIZATIONS[kind.name]
    for part in rows.split(max(1, _CHUNK_VALUES // rows.shape[-1])):
        try:
            file.write(quantization.quantize(part.float().numpy()).reshape(-1).data)
        except ArtifactError as error:
            raise ArtifactError(f"{weight.name}: {error}") from None


def _weight(path: Path, tensor: GgufTensor) -> Weight:
    dtype = DTYPES.get(tensor.kind.name, torch.float32)
    return Weight(tensor.name, tensor.shape, dtype, lambda: _load(path, tensor, dtype))


def _load(path: Path, tensor: GgufTensor, dtype: torch.dtype) -> Tensor:
    content = np.fromfile(path, np.uint8, tensor.kind.size(tensor.shape), offset=tensor.start)
    if tensor.kind.name in DTYPES:
        return torch.from_numpy(content).view(dtype).reshape(tensor.shape)
    blocks = content.reshape(-1, tensor.kind.num_bytes)
    whole = np.empty((len(blocks), BLOCK), np.float32)
    step = _CHUNK_VALUES // BLOCK
    for start in range(0, len(blocks), step):
        whole[start : start + step] = QUANTIZATIONS[tensor.kind.name].dequantize(blocks[start : start + step])
    return torch.from_numpy(whole).reshape(tensor.shape)

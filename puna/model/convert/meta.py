"""Meta's folder: params.json, consolidated.NN.pth with one part for each tensor-parallel rank, tokenizer.model.

Matrices that make heads or channels (wq, wk, wv, w1, w3), the embedding and the output matrix are cut by rows, those
that take them up (wo, w2) by columns; norms are in every part. Rows of wq and wk are interleaved for RoPE.
What params.json has no word for is in puna.json beside it, which Meta's programs do not read.
"""

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.base.errors import ArtifactError, ConfigError
from puna.base.files import read_json, write_json
from puna.model.config import LLAMA31_ROPE_SCALING, LLAMA32_ROPE_SCALING, LlamaConfig
from puna.model.convert.checkpoint import Checkpoint, SavedTokenizer, Weight, expected_shapes, fit, halved
from puna.model.convert.torch_files import read_torch_file, writing_torch_file

PARAMS_FILE = "params.json"
EXTRA_FILE = "puna.json"
_EMBEDDING, _OUTPUT = "tok_embeddings.weight", "output.weight"
_OUTER = {"embedding.weight": _EMBEDDING, "norm.weight": "norm.weight", "output.weight": _OUTPUT}
_INNER = {
    "attention_norm": "attention_norm",
    "attention.q": "attention.wq",
    "attention.k": "attention.wk",
    "attention.v": "attention.wv",
    "attention.o": "attention.wo",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.gate": "feed_forward.w1",
    "feed_forward.up": "feed_forward.w3",
    "feed_forward.down": "feed_forward.w2",
}
_CUT_BY_COLUMNS = ("attention.wo.weight", "feed_forward.w2.weight")
_SCALINGS = (LLAMA31_ROPE_SCALING, LLAMA32_ROPE_SCALING)


def meta_name(name: str) -> str:
    """Our name in their spelling: layers.0.feed_forward.gate.weight is layers.0.feed_forward.w1.weight."""
    if name in _OUTER:
        return _OUTER[name]
    _, index, inner = name.removesuffix(".weight").split(".", 2)
    return f"layers.{index}.{_INNER[inner]}.weight"


def open_meta(folder: Path) -> Checkpoint:
    """The model of a Meta folder, its parts put together.

    The embedding may be cut by rows (Llama 3) or columns (Llama 2). The model is tied if there is no output matrix, or
    one equal to the embedding. Raises ArtifactError if a file or a tensor is missing, damaged or of another shape.
    """
    parts = [read_torch_file(file) for file in _files(folder)]
    for part in parts[1:]:
        if difference := sorted(part.keys() ^ parts[0].keys()):
            raise ArtifactError(f"{folder}: expected the same tensors in every part, came {difference[0]} in some only")
    extra = read_json(folder / EXTRA_FILE) if (folder / EXTRA_FILE).is_file() else {}
    tied = _is_tied(parts) and extra.get("tied", True)
    config = read_params(folder, parts, tied, extra)
    shapes = {meta_name(name): shape for name, shape in expected_shapes(config).items()}
    found = {
        name: _joined(name, [part[name] for part in parts], shapes.get(name))
        for name in parts[0]
        if name != "rope.freqs" and not (tied and name == _OUTPUT)
    }
    return Checkpoint(folder, config, halved(fit(found, config, meta_name, folder, PARAMS_FILE), config))


def write_meta(
    checkpoint: Checkpoint,
    tokenizer: SavedTokenizer | None,
    folder: Path,
    wrote: Callable[[int], None],
    num_shards: int = 1,
) -> None:
    """Write a Meta folder of `num_shards` parts, one tensor in memory; a tied output matrix is named, not repeated.

    Raises ConfigError if heads or sizes cannot be cut so, ArtifactError if params.json has no words for the model.
    """
    config = checkpoint.config
    params = params_to_json(config)
    for what in ("kv_heads", "ffn_dim", "vocab_size"):
        if getattr(config, what) % num_shards:
            raise ConfigError(f"--shards: expected a divisor of {what} = {getattr(config, what)}, came {num_shards}")
    with ExitStack() as stack:
        files = [
            stack.enter_context(writing_torch_file(folder / f"consolidated.{number:02d}.pth"))
            for number in range(num_shards)
        ]
        for own_name, weight in checkpoint.interleaved().items():
            name, tensor = meta_name(own_name), weight.load()
            for file, piece in zip(files, _pieces(name, tensor, num_shards), strict=True):
                file.add(name, piece)
            wrote(weight.num_bytes)
        if config.tied:
            for file in files:
                file.alias(_OUTPUT, _EMBEDDING)
    write_json(folder / PARAMS_FILE, params)
    extra = {"max_position": config.max_position, "rope_scaling": config.rope_scaling, "tied": config.tied}
    write_json(folder / EXTRA_FILE, extra)
    if tokenizer is not None:
        tokenizer.save(folder)


def params_to_json(config: LlamaConfig) -> dict[str, Any]:
    """params.json. Raises ArtifactError for a head width or a RoPE scaling that Meta's programs cannot be told."""
    if config.head_dim * config.heads != config.dim:
        raise ArtifactError(
            f"expected head_dim = dim / heads, which Meta's params.json implies, came {config.head_dim}; take --to hf"
        )
    if config.rope_scaling is not None and config.rope_scaling not in _SCALINGS:
        raise ArtifactError(
            "expected Llama 3.1's or 3.2's RoPE scaling, the ones that Meta's params.json can name, "
            f"came {json.dumps(config.rope_scaling)}; take --to hf"
        )
    multiplier, multiple_of = solve_ffn(config.dim, config.ffn_dim)
    params = {
        "dim": config.dim,
        "n_layers": config.layers,
        "n_heads": config.heads,
        "n_kv_heads": config.kv_heads,
        "vocab_size": config.vocab_size,
        "multiple_of": multiple_of,
        "ffn_dim_multiplier": multiplier,
        "norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
    }
    return params | ({"use_scaled_rope": True} if config.rope_scaling else {})


def read_params(folder: Path, parts: list[dict[str, Weight]], tied: bool, extra: dict[str, Any]) -> LlamaConfig:
    """The LlamaConfig of a Meta folder; what neither params.json nor `extra` says is the published models' choice."""
    path = folder / PARAMS_FILE
    params = read_json(path)
    if _EMBEDDING not in parts[0]:
        raise ArtifactError(f"{folder}: expected tensor {_EMBEDDING}, found none; the model is incomplete")
    try:
        dim, scaled, theta = params["dim"], params.get("use_scaled_rope", False), params.get("rope_theta", 10_000.0)
        size = params.get("vocab_size", -1)  # Llama 2 writes -1 and leaves it to its tokenizer
        return LlamaConfig(
            dim=dim,
            layers=params["n_layers"],
            heads=params["n_heads"],
            kv_heads=params.get("n_kv_heads") or params["n_heads"],
            ffn_dim=ffn_dim(dim, params.get("ffn_dim_multiplier"), params["multiple_of"]),
            vocab_size=size if size > 0 else _vocabulary_rows(parts, dim),
            max_position=extra.get("max_position") or (131_072 if scaled else 8192 if theta >= 500_000 else 4096),
            rope_theta=float(theta),
            rope_scaling=(extra.get("rope_scaling") or _SCALINGS[tied]) if scaled else None,
            norm_eps=params["norm_eps"],
            tied=tied,
        )
    except KeyError as error:
        raise ArtifactError(f"{path}: expected {error.args[0]}, found none") from None
    except (ConfigError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise ArtifactError(f"{path}: expected the sizes of a Llama, came {error}") from None


def ffn_dim(dim: int, multiplier: float | None, multiple_of: int) -> int:
    """Meta's formula: two thirds of 4 D, times the multiplier, rounded up to a multiple."""
    size = int(2 * (4 * dim) / 3)
    if multiplier is not None:
        size = int(multiplier * size)
    return multiple_of * math.ceil(size / multiple_of)


def solve_ffn(dim: int, size: int) -> tuple[float | None, int]:
    """A multiplier and a multiple for which `ffn_dim` is exactly `size`: few digits first, then a large multiple."""
    start = ffn_dim(dim, None, 1)
    rounded = [round(size / start + shift, digits) for digits in (1, 2, 3) for shift in (0, 0.5 / 10**digits)]
    exact = (size + 0.5) / start
    for multiplier in [None, *rounded, exact]:
        for multiple_of in (4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1):
            if ffn_dim(dim, multiplier, multiple_of) == size:
                return multiplier, multiple_of
    raise ArtifactError(f"expected an FFN width that Meta's formula gives at dim = {dim}, came {size}; take --to hf")


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("consolidated.*.pth"))
    expected = [f"consolidated.{number:02d}.pth" for number in range(max(len(files), 1))]
    for name, file in zip(expected, [*files, None]):
        if file is None or file.name != name:
            raise ArtifactError(f"expected weights at {folder / name}, found none")
    return files


def _is_tied(parts: list[dict[str, Weight]]) -> bool:
    def same(part: dict[str, Weight]) -> bool:
        first, second = part.get(_EMBEDDING), part.get(_OUTPUT)
        if first is None or second is None or first.shape != second.shape:
            return first is not None and second is None
        one, other = first.load(), second.load()
        # The first row nearly always decides, and spares reading the rest.
        return torch.equal(one[:1], other[:1]) and torch.equal(one, other)

    return all(same(part) for part in parts)


def _vocabulary_rows(parts: list[dict[str, Weight]], dim: int) -> int:
    rows, columns = parts[0][_EMBEDDING].shape
    return rows * len(parts) if columns == dim else rows


def _joined(name: str, pieces: list[Weight], shape: tuple[int, ...] | None) -> Weight:
    """The whole of which `pieces` are parts, if one dimension of `shape` is cut evenly; otherwise the first piece."""
    first = pieces[0]
    if shape is None or any(piece.shape != first.shape for piece in pieces):
        return first
    dimensions = range(len(first.shape))
    sizes = [[size * len(pieces) if i == cut else size for i, size in enumerate(first.shape)] for cut in dimensions]
    if list(shape) not in sizes:
        return first
    cut = sizes.index(list(shape))
    return Weight(name, shape, first.dtype, lambda: _concatenate(pieces, shape, cut))


def _concatenate(pieces: list[Weight], shape: tuple[int, ...], dimension: int) -> Tensor:
    if len(pieces) == 1:
        return pieces[0].load()
    whole = torch.empty(shape, dtype=pieces[0].dtype)
    for target, piece in zip(whole.chunk(len(pieces), dimension), pieces, strict=True):
        target.copy_(piece.load())
    return whole


def _pieces(name: str, tensor: Tensor, num_shards: int) -> list[Tensor]:
    if tensor.dim() == 1:
        return [tensor] * num_shards
    return list(tensor.chunk(num_shards, 1 if name.endswith(_CUT_BY_COLUMNS) else 0))

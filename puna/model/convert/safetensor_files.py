"""Safetensors, one file or several with an index, read and written with one tensor in memory.

The format: length of the header (8 bytes, little-endian), the header (JSON: dtype, shape and place of each tensor,
padded with spaces to a multiple of 8), then the numbers. Reading is the library's; its writer wants all tensors at
once, so ours stands here. The bytes of a file are those that the library writes.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from puna.base.errors import ArtifactError
from puna.base.files import read_json, refusing_full_disk, sync_folder, write_json
from puna.model.convert.checkpoint import DTYPES, Weight

SHARD_BYTES = 5_000_000_000
INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_NAMES = {code: dtype for dtype, code in _CODES.items()}


def read_weights(folder: Path) -> dict[str, Weight]:
    """All tensors of a folder by their names there. Raises ArtifactError if a file is missing or damaged."""
    if (folder / INDEX).is_file():
        try:
            files = sorted({folder / str(file) for file in read_json(folder / INDEX)["weight_map"].values()})
        except (KeyError, TypeError, AttributeError):
            raise ArtifactError(f"{folder / INDEX}: expected a weight_map from tensor to file, found none") from None
    else:
        files = [folder / _WHOLE]
    return {weight.name: weight for file in files for weight in read_safetensors(file)}


def write_weights(
    folder: Path,
    weights: Iterable[Weight],
    shard_bytes: int = SHARD_BYTES,
    wrote: Callable[[int], None] = lambda num_bytes: None,
) -> None:
    """Write `weights` as one file, or with an index as several of at most `shard_bytes` (a larger tensor stands alone).

    `wrote` is called with the bytes of each tensor when it is written.
    """
    shards: list[list[Weight]] = [[]]
    for weight in weights:
        if shards[-1] and sum(one.num_bytes for one in shards[-1]) + weight.num_bytes > shard_bytes:
            shards.append([])
        shards[-1].append(weight)
    if len(shards) == 1:
        write_safetensors(folder / _WHOLE, shards[0], wrote)
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / file, shard, wrote)
        places |= {weight.name: file for weight in shard}
    total = sum(weight.num_bytes for shard in shards for weight in shard)
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def read_safetensors(file: Path) -> list[Weight]:
    """All tensors of one file. Raises ArtifactError if it is missing or damaged."""
    if not file.is_file():
        raise ArtifactError(f"expected weights at {file}, found none")
    weights = []
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (no dict)
                found = tensors.get_slice(name)
                if found.get_dtype() not in _NAMES:
                    raise ArtifactError(
                        f"{file}: expected tensors of {', '.join(DTYPES)}, came {name} of {found.get_dtype()}"
                    )
                shape = tuple(found.get_shape())
                weights.append(Weight(name, shape, _NAMES[found.get_dtype()], _loader(file, name)))
    except SafetensorError as error:
        raise ArtifactError(f"{file} is damaged: expected safetensors, came {error}") from None
    return weights


def write_safetensors(
    path: Path, weights: Iterable[Weight], wrote: Callable[[int], None] = lambda num_bytes: None
) -> None:
    """Write one file; `wrote` is called with the bytes of each tensor when it is written."""
    # The library's order: the wider dtypes first, so that each tensor is aligned, then by name.
    weights = sorted(weights, key=lambda weight: (-weight.dtype.itemsize, weight.name))
    temp = path.with_name(path.name + ".tmp")
    with refusing_full_disk(path), open(temp, "wb") as file:
        file.write(_header(weights))
        for weight in weights:
            write_tensor(file, weight.load())
            wrote(weight.num_bytes)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, path)
    sync_folder(path.parent)


def write_tensor(file: BinaryIO, tensor: Tensor) -> None:
    """The bytes of `tensor`, row after row, without a copy."""
    file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)


def _loader(file: Path, name: str) -> Callable[[], Tensor]:
    def load() -> Tensor:
        # Opened anew for each tensor: as long as the map is open, all pages touched stay in memory
        # (measured on 320 MB: 12 MB above the start, held open 324 MB).
        try:
            with safe_open(file, framework="pt") as tensors:
                return tensors.get_tensor(name)  # type: ignore[no-any-return]
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{file} changed while it was read: expected {name}, came {error}") from None

    return load


def _header(weights: list[Weight]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for weight in weights:
        end = start + weight.num_bytes
        entries[weight.name] = {
            "dtype": _CODES[weight.dtype],
            "shape": list(weight.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text

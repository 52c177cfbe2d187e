"""The GGUF container (ggml's docs/gguf.md, version 3): metadata, a table of tensors, then their bytes.

All numbers are little-endian. A string is its length (uint64) and UTF-8; dimensions are written innermost first; each
tensor begins at a multiple of the alignment, counted from the first.
"""

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from puna.base.errors import ArtifactError
from puna.model.convert.quantize import BLOCK, QUANTIZATIONS

MAGIC = b"GGUF"
ALIGNMENT = 32
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


class Kind(NamedTuple):
    """How a tensor's numbers are stored: ggml's number for it, and bytes for so many numbers."""

    name: str
    code: int
    num_bytes: int
    num_values: int

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor."""
        return math.prod(shape) // self.num_values * self.num_bytes


KINDS = {
    kind.name: kind
    for kind in (
        Kind("float32", 0, 4, 1),
        Kind("float16", 1, 2, 1),
        Kind("bfloat16", 30, 2, 1),
        Kind("q4_0", 2, QUANTIZATIONS["q4_0"].block_bytes, BLOCK),
        Kind("q8_0", 8, QUANTIZATIONS["q8_0"].block_bytes, BLOCK),
    )
}
_BY_CODE = {kind.code: kind for kind in KINDS.values()}


@dataclass(frozen=True)
class GgufTensor:
    """A line of the table: `shape` outermost first, `start` from the beginning of the file."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    start: int


def read_gguf_file(path: Path) -> tuple[dict[str, Any], list[GgufTensor]]:
    """Metadata and table of tensors. Raises ArtifactError if the file is cut off or of a kind that we do not read."""
    with open(path, "rb") as file:
        reader = _Reader(file, path, os.fstat(file.fileno()).st_size)
        if file.read(4) != MAGIC:
            raise ArtifactError(f"{path}: expected a GGUF file, came another")
        version = reader.number("<I")
        if version not in (2, 3):
            raise ArtifactError(f"{path}: expected GGUF version 2 or 3, little-endian, came {version}")
        num_tensors, num_entries = reader.number("<Q"), reader.number("<Q")
        metadata = {}
        for _ in range(num_entries):
            key = reader.string()
            metadata[key] = reader.value(reader.number("<I"))
        lines = [reader.line() for _ in range(num_tensors)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise ArtifactError(f"{path} is damaged: expected an alignment of 1 byte or more, came {alignment}")
        begin = file.tell() + -file.tell() % alignment
    tensors = [GgufTensor(name, shape, kind, begin + offset) for name, shape, kind, offset in lines]
    for tensor in tensors:
        if tensor.start + tensor.kind.size(tensor.shape) > reader.num_bytes:
            raise ArtifactError(f"{path} is damaged: expected all bytes of {tensor.name}, came a file cut off before")
    return metadata, tensors


def write_gguf_header(
    file: BinaryIO, metadata: Mapping[str, Any], tensors: list[tuple[str, tuple[int, ...], Kind]]
) -> list[int]:
    """Write all that stands before the numbers; returns where in the file each tensor is to begin.

    Metadata is typed by its value: bool, int (uint32), float (float32), str, lists of str and of int (int32).
    """
    table, offset, offsets = b"", 0, []
    for name, shape, kind in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        table += _string(name) + dimensions + struct.pack("<IQ", kind.code, offset)
        offsets.append(offset)
        offset += kind.size(shape) + -kind.size(shape) % ALIGNMENT
    file.write(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(_string(key) + _typed(value))
    file.write(table)
    begin = file.tell() + -file.tell() % ALIGNMENT
    return [begin + offset for offset in offsets]


def pad_to(file: BinaryIO, position: int) -> None:
    """Write zeros up to `position`."""
    file.write(b"\0" * (position - file.tell()))


def _typed(value: Any) -> bytes:
    if isinstance(value, list):
        kind = _STRING if value and isinstance(value[0], str) else _INT32
        items = [_string(item) if kind == _STRING else struct.pack("<i", item) for item in value]
        return struct.pack("<IIQ", _ARRAY, kind, len(value)) + b"".join(items)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    kind = _BOOL if isinstance(value, bool) else _UINT32 if isinstance(value, int) else _FLOAT32
    return struct.pack("<I", kind) + struct.pack(_NUMBERS[kind], value)


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


class _Reader:
    def __init__(self, file: BinaryIO, path: Path, num_bytes: int) -> None:
        self.file = file
        self.path = path
        self.num_bytes = num_bytes

    def take(self, size: int) -> bytes:
        content = self.file.read(size) if size <= self.num_bytes else b""
        if len(content) != size:
            raise ArtifactError(f"{self.path} is damaged: expected a whole GGUF header, came a file cut off within it")
        return content

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def string(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            inner, count = self.number("<I"), self.number("<Q")
            return [self.value(inner) for _ in range(count)]
        if kind not in _NUMBERS:
            raise ArtifactError(f"{self.path} is damaged: expected a type of metadata below 13, came {kind}")
        number = self.number(_NUMBERS[kind])
        # The shortest decimal that is this float32: 1e-5, not 9.99999974e-06.
        return float(str(np.float32(number))) if kind == _FLOAT32 else number

    def line(self) -> tuple[str, tuple[int, ...], Kind, int]:
        name = self.string()
        shape = tuple(self.number("<Q") for _ in range(self.number("<I")))[::-1]
        code, offset = self.number("<I"), self.number("<Q")
        if not 1 <= len(shape) <= 4:
            raise ArtifactError(f"{self.path} is damaged: expected 1 to 4 dimensions of {name}, came {len(shape)}")
        if code not in _BY_CODE:
            raise ArtifactError(
                f"{self.path}: expected tensors of {', '.join(KINDS)}, came {name} of ggml's type {code}; "
                "convert from a file of one of these"
            )
        return name, shape, _BY_CODE[code], offset

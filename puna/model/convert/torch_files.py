"""PyTorch's `.pth` files, read and written with one tensor in memory.

The format: a zip archive without compression; `data.pkl` holds the dictionary with places instead of numbers, `data/N`
the bytes of storage N. `torch.save` wants all tensors at once, so the writer stands here.
"""

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from puna.base.errors import ArtifactError
from puna.base.files import refusing_full_disk
from puna.model.convert.checkpoint import DTYPES, Weight
from puna.model.convert.safetensor_files import write_tensor

_STORAGES = {torch.float32: torch.FloatStorage, torch.bfloat16: torch.BFloat16Storage, torch.float16: torch.HalfStorage}
_ALIGNMENT = 64  # torch.save's, so that a mapped tensor begins where vector instructions want it


def read_torch_file(path: Path) -> dict[str, Weight]:
    """The tensors of a `.pth` by name; none is loaded yet.

    Raises ArtifactError if the file is damaged or holds anything but a dictionary of tensors: such a pickle could run
    code, and is never executed.
    """
    weights = {}
    for name, tensor in _map(path).items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ArtifactError(f"{path}: expected tensors by name and nothing else, came {type(tensor).__name__}")
        if tensor.dtype not in _STORAGES:
            raise ArtifactError(f"{path}: expected tensors of {', '.join(DTYPES)}, came {name} of {tensor.dtype}")
        weights[name] = Weight(name, tuple(tensor.shape), tensor.dtype, _loader(path, name))
    return weights


class TorchFile:
    """A `.pth` that takes one tensor after another; see `writing_torch_file`."""

    def __init__(self, archive: zipfile.ZipFile, file: Any) -> None:
        self._archive = archive
        self._file = file
        self._places: dict[str, _Place] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Write a tensor."""
        key = str(len(self._places))
        self._places[name] = _Place(_Storage(key, tensor.dtype, tensor.numel()), tuple(tensor.shape))
        with self._entry(f"data/{key}") as entry:
            write_tensor(entry, tensor)

    def alias(self, name: str, other: str) -> None:
        """Give the tensor `other` a second name; its bytes are kept once."""
        self._places[name] = self._places[other]

    def finish(self) -> None:
        """Write the dictionary of all that was added."""
        pickled = BytesIO()
        _Pickler(pickled, protocol=2).dump(self._places)
        for name, content in (("data.pkl", pickled.getvalue()), ("byteorder", b"little"), ("version", b"3\n")):
            with self._entry(name) as entry:
                entry.write(content)

    def _entry(self, name: str) -> Any:
        info = zipfile.ZipInfo(f"consolidated/{name}")
        # What follows the name in the local header: 20 bytes for sizes beyond 4 GiB, then our padding field.
        start = self._file.tell() + 30 + len(info.filename) + 20 + 4
        padding = -start % _ALIGNMENT
        info.extra = b"FB" + padding.to_bytes(2, "little") + b"\0" * padding
        return self._archive.open(info, "w", force_zip64=True)


@contextmanager
def writing_torch_file(path: Path) -> Iterator[TorchFile]:
    """A new `.pth` at `path`, whole and on the disk when the block ends."""
    with refusing_full_disk(path), open(path, "wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            target = TorchFile(archive, file)
            yield target
            target.finish()
        file.flush()
        os.fsync(file.fileno())


class _Storage(NamedTuple):
    key: str
    dtype: torch.dtype
    numel: int


class _Place:
    """Pickled, it is a tensor of torch whose numbers are in the archive."""

    def __init__(self, storage: _Storage, shape: tuple[int, ...]) -> None:
        self.storage = storage
        self.shape = shape

    def __reduce__(self) -> tuple[Any, ...]:
        strides = torch.empty(self.shape, device="meta").stride()
        hooks: OrderedDict[str, Any] = OrderedDict()
        return torch._utils._rebuild_tensor_v2, (_Reference(self.storage), 0, self.shape, strides, False, hooks)


class _Reference:
    def __init__(self, storage: _Storage) -> None:
        self.storage = storage


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, _Reference):
            return None
        storage = value.storage
        return ("storage", _STORAGES[storage.dtype], storage.key, "cpu", storage.numel)


def _loader(path: Path, name: str) -> Callable[[], Tensor]:
    # Mapped anew for each tensor: as long as the map is open, all pages touched stay in memory.
    return lambda: _map(path)[name]


def _map(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:
        raise ArtifactError(
            f"{path}: expected a dictionary of tensors, came a pickle with other objects, which could run code; "
            "save the tensors alone"
        ) from None
    except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        first = str(error).split("\n")[0]
        raise ArtifactError(f"{path} is damaged: expected a file of torch.save, came {first}") from None
    if not isinstance(tensors, dict):
        raise ArtifactError(f"{path}: expected a dictionary of tensors, came {type(tensors).__name__}")
    return tensors

"""Training checkpoints: `step-N/` folders of torch Distributed Checkpoint with checksums, the newest whole one wins.

A checkpoint is written beside its place and renamed; a damaged one is found by its checksums and the one before it is
used, so no moment of a kill and no bad sector costs more than one interval.
"""

import contextlib
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

from puna.base.files import files_below, read_json, refusing_full_disk, sha256_file, sync_file, sync_folder, write_json

_KEPT = 2
_NAME = re.compile(r"step-(\d+)\Z")


def save(folder: Path, step: int, tensors: dict[str, Any], state: dict[str, Any]) -> Path:
    """Write `folder/step-N` with nested `tensors` and a JSON `state`; older ones than the last two are removed."""
    final, temp = folder / f"step-{step}", folder / ".writing"
    with refusing_full_disk(final, 2 * _num_bytes(tensors)):
        shutil.rmtree(temp, ignore_errors=True)
        try:
            with _one_process():
                dcp.save(tensors, storage_writer=dcp.FileSystemWriter(temp, sync_files=True), no_dist=True)
        except CheckpointException as error:  # a BaseException: nothing that looks for an Exception would see it
            raise OSError(f"the checkpoint of step {step} could not be written: {error}") from error
        checksums = {file.name: sha256_file(file) for file in files_below(temp)}
        write_json(temp / "state.json", {"step": step, "files": checksums, "state": state})
        sync_file(temp)
        shutil.rmtree(final, ignore_errors=True)
        os.rename(temp, final)
        sync_folder(folder)
    for old in steps(folder)[:-_KEPT]:
        shutil.rmtree(folder / f"step-{old}", ignore_errors=True)
    return final


def load(folder: Path, tensors: dict[str, Any], below: int | None = None) -> tuple[int, dict[str, Any]] | None:
    """Fill `tensors` in place from the newest whole checkpoint; its step and state, or None if there is none.

    below: take one of an earlier step than this.
    """
    for step in reversed(steps(folder)):
        if below is not None and step >= below:
            continue
        path = folder / f"step-{step}"
        record = _whole(path)
        if record is None:
            shutil.rmtree(path, ignore_errors=True)
            continue
        with _one_process():
            dcp.load(tensors, storage_reader=dcp.FileSystemReader(path), no_dist=True)
        return step, record["state"]
    return None


def _num_bytes(tensors: Any) -> int:
    """Bytes of nested tensors."""
    if isinstance(tensors, dict):
        return sum(_num_bytes(value) for value in tensors.values())
    return tensors.nbytes if isinstance(tensors, torch.Tensor) else 0


@contextlib.contextmanager
def _one_process() -> Iterator[None]:
    """Saving without process groups is meant; torch warns each time that it assumes so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints of a folder, the oldest first, whole or not."""
    matches = (_NAME.match(path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in matches if match)


def _whole(path: Path) -> dict[str, Any] | None:
    """The record of a checkpoint whose files are all there and unchanged, None for a damaged one."""
    try:
        record = read_json(path / "state.json")
        whole = all(sha256_file(path / name) == digest for name, digest in record["files"].items())
    except Exception:
        return None
    return record if whole else None

"""Training checkpoints: `step-N/` folders of torch Distributed Checkpoint with checksums, the newest whole one wins.

    tensors -> copied to memory | in the background: written -> checksums -> one rename -> old ones removed

Training stands still for the copy alone. A checkpoint is written beside its place and renamed; a damaged one is found
by its checksums and the one before it is used, so no moment of a kill and no bad sector costs more than one interval.

Tensors go by their names, which are the same in every layout: where a process group is initialised, each rank passes
what it holds, DTensors or tensors that no other rank has, and reads what it needs from whatever layout wrote it. All
ranks then make the same calls in the same order, on a folder that all of them see; rank 0 decides.
"""

import json
import os
import re
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from puna.base.errors import PunaError
from puna.base.files import files_below, read_json, refusing_full_disk, sha256_file, sync_file, sync_folder, write_json

_NAME = re.compile(r"step-(\d+)\Z")
_STATE, _RECORD = "state.json", "checksums.json"


class Checkpoints:
    """The checkpoints of one run, in `folder`. At its end the block waits for what is still being written.

    kept: so many of the newest stay. every: those after multiples of so many steps stay too (0: none). background:
    `save` returns when the tensors are copied; it needs their size in memory once more. written: told the step of
    each that stands. alone: this process reads what several wrote. last: the step that was to be saved last; damaged:
    the steps of those that the last `load` removed.
    """

    def __init__(
        self,
        folder: Path,
        kept: int = 2,
        every: int = 0,
        background: bool = True,
        written: Callable[[int], None] = lambda step: None,
        alone: bool = False,
    ) -> None:
        self.last, self.damaged, self._written = 0, list[int](), written
        self.folder, self._kept, self._every, self._background = folder, kept, every, background
        together = not alone and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        # A group of its own: its messages come from another thread than training's, and NCCL carries no objects.
        self._group = dist.new_group(backend="gloo") if together else None
        self._rank, self._num_ranks = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
        self._copies: dict[tuple[str, ...], Tensor] = {}
        self._writing: threading.Thread | None = None
        self._error: BaseException | None = None
        # Saving without a process group is meant. The filter stays: to take it away from a thread would not be safe.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.wait()
            if self._group is not None:
                dist.destroy_process_group(self._group)
        elif self._writing:
            self._writing.join()

    def save(self, step: int, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        """Make `folder/step-N` of nested `tensors` and a JSON `state`, both as they are now.

        Waits for the one before, and raises what went wrong with it: DiskFullError, OSError.
        """
        self.wait()
        self.last = step
        text = json.dumps(state, allow_nan=False)
        if not self._background:
            self._write(step, tensors, text)
            return
        copies = self._copied(tensors)
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self._writing = threading.Thread(target=self._write_or_keep_error, args=(step, copies, text))
        self._writing.start()

    def wait(self) -> None:
        """Return when nothing is being written any more. Raises what went wrong: DiskFullError, OSError."""
        if self._writing:
            self._writing.join()
            self._writing = None
        if error := self._error:
            self._error = None
            raise error

    def load(self, tensors: dict[str, Any], below: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """Fill `tensors` in place from the newest whole checkpoint; its step and state, or None if there is none.

        below: take one of an earlier step than this.
        """
        self.wait()
        self.damaged.clear()
        for step in self._said_by_first(lambda: sorted(steps(self.folder), reverse=True)):
            if below is not None and step >= below:
                continue
            path = self.folder / f"step-{step}"
            if self._is_whole(path):
                reader = dcp.FileSystemReader(path)
                dcp.load(tensors, storage_reader=reader, process_group=self._group, no_dist=self._group is None)
                return step, read_json(path / _STATE)
            self.damaged.append(step)
            if self._rank == 0:
                shutil.rmtree(path, ignore_errors=True)
        return None

    def hand_over(self, folder: Path) -> None:
        """Put those that are kept for good below `folder` too, as links to the same files."""
        self.wait()
        for step in steps(self.folder) if self._every and self._rank == 0 else []:
            if step % self._every == 0:
                name = f"step-{step}"
                shutil.copytree(self.folder / name, folder / name, copy_function=os.link, dirs_exist_ok=True)

    def _write_or_keep_error(self, step: int, tensors: dict[str, Any], state: str) -> None:
        try:
            self._write(step, tensors, state)
        except BaseException as error:
            self._error = error

    def _write(self, step: int, tensors: dict[str, Any], state: str) -> None:
        final, temp = self.folder / f"step-{step}", self.folder / ".writing"
        # Before anyone writes: what an earlier attempt left there would be taken for a checkpoint.
        self._said_by_first(lambda: shutil.rmtree(temp, ignore_errors=True))
        sums = self._all_say(lambda: self._write_tensors(step, tensors, final, temp))

        def finish() -> None:
            with refusing_full_disk(final):
                (temp / _STATE).write_text(state, encoding="utf-8")
                sync_file(temp / _STATE)
                files = {name: digest for part in sums for name, digest in part.items()}
                write_json(temp / _RECORD, {"step": step, "files": {**files, _STATE: sha256_file(temp / _STATE)}})
                sync_file(temp)
                shutil.rmtree(final, ignore_errors=True)
                os.rename(temp, final)
                sync_folder(self.folder)
            for old in steps(self.folder)[: -self._kept]:
                if not (self._every and old % self._every == 0):
                    shutil.rmtree(self.folder / f"step-{old}", ignore_errors=True)

        self._said_by_first(finish)
        self._written(step)

    def _write_tensors(self, step: int, tensors: dict[str, Any], final: Path, temp: Path) -> dict[str, str]:
        """Write this rank's part to `temp`; the checksums of its files, by rank 0 also of those of nobody."""
        with refusing_full_disk(final, 2 * _num_bytes(tensors)):
            writer = dcp.FileSystemWriter(temp, sync_files=True)
            try:
                dcp.save(tensors, storage_writer=writer, process_group=self._group, no_dist=self._group is None)
            except CheckpointException as error:  # a BaseException: nothing that looks for an Exception would see it
                failures = "; ".join(f"rank {rank}: {one[0]}" for rank, one in error.failures.items())
                raise OSError(f"the checkpoint of step {step} could not be written: {failures or error}") from error
            names = [file.name for file in files_below(temp)]
            return {name: sha256_file(temp / name) for name in names if _writer(name) == self._rank}

    def _is_whole(self, path: Path) -> bool:
        """Whether all files are there and unchanged; each rank looks at a part of them."""

        def part_is_whole() -> bool:
            try:
                files = sorted(read_json(path / _RECORD)["files"].items())
                mine = files[self._rank :: self._num_ranks]
                return all(sha256_file(path / name) == digest for name, digest in mine)
            except Exception:
                return False

        return all(self._all_say(part_is_whole))

    def _copied(self, value: Any, name: tuple[str, ...] = ()) -> Any:
        """`value` with its tensors copied to memory that is used again by the next; the layout of DTensors stays."""
        if isinstance(value, dict):
            return {key: self._copied(one, (*name, key)) for key, one in value.items()}
        if not isinstance(value, Tensor):
            return value
        held = self._copies.get(name)
        if held is None or held.shape != value.shape or held.dtype != value.dtype:
            # Memory that is never paged is copied to by an accelerator at the bus's full speed.
            held = torch.empty_like(value.detach(), device="cpu", pin_memory=value.is_cuda)
            self._copies[name] = held
        _local(held).copy_(_local(value), non_blocking=True)
        return held

    def _all_say(self, ask: Callable[[], Any]) -> list[Any]:
        """What `ask` gives on every rank, in their order. An error of one is raised on all."""
        value, error = None, None
        try:
            value = ask()
        except Exception as came:
            error = came
        if self._group is None:
            if error:
                raise error
            return [value]
        answers: list[Any] = [None] * self._num_ranks
        dist.all_gather_object(answers, (value, _portable(error)), group=self._group)
        for _, other in answers:
            if error or other:
                raise error or other
        return [one for one, _ in answers]

    def _said_by_first(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives on rank 0, which alone is asked."""
        return self._all_say(ask if self._rank == 0 else lambda: None)[0]


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints of a folder, the oldest first, whole or not."""
    matches = (_NAME.match(path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in matches if match)


def _writer(name: str) -> int:
    """The rank that wrote a file: Distributed Checkpoint calls them __RANK_NUMBER.distcp, and .metadata."""
    match = re.match(r"__(\d+)_", name)
    return int(match[1]) if match else 0


def _local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()


def _num_bytes(tensors: Any) -> int:
    """Bytes of nested tensors on this rank."""
    if isinstance(tensors, dict):
        return sum(_num_bytes(value) for value in tensors.values())
    return _local(tensors).nbytes if isinstance(tensors, Tensor) else 0


def _portable(error: Exception | None) -> Exception | None:
    """An error as another rank may be told it: those of libraries need not survive pickling."""
    if error is None or isinstance(error, PunaError):
        return error
    return OSError(f"{type(error).__name__}: {error}")

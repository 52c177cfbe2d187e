"""Durable files: a file is either whole and on the disk, or it is not there.

Every durable write goes temp file -> fsync -> rename -> fsync of the folder, so that a SIGKILL or a power cut at any
moment leaves the old state or the new one, never half a file.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from puna.base.errors import ArtifactError, DataError, DiskFullError, PunaError

_CHUNK_BYTES = 1 << 20


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path` durably. Raises DiskFullError if it does not fit; the old file then still stands."""
    temp = path.with_name(path.name + ".tmp")
    with refusing_full_disk(path):
        try:
            with open(temp, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        os.replace(temp, path)
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, keys as given, durably."""
    write_atomic(path, (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises DataError if it is missing, ArtifactError if it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"expected a file at {path}, found none") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is damaged: expected JSON, came {error}; delete it and run again") from None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync_file(path: Path) -> None:
    """Make sure a finished file has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make sure renames inside `folder` have reached the disk."""
    sync_file(folder)


def files_below(folder: Path) -> list[Path]:
    """All regular files below `folder`, sorted by relative path."""
    found = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


@contextlib.contextmanager
def refusing_full_disk(path: Path, num_bytes: int = 0) -> Iterator[None]:
    """Turn "no space left" into one clear DiskFullError; what was finished before stays.

    Writers of other libraries report a full disk as errors of their own: whatever they raise counts as one if there is
    less room than the `num_bytes` they were to write.
    """
    try:
        yield
    except PunaError:
        raise
    except Exception as error:
        if _is_full(error) or shutil.disk_usage(_existing(path)).free < num_bytes:
            raise DiskFullError(
                f"the disk of {path.parent} is full: free some space (`puna gc` lists what nothing needs) "
                "and run the same command again; finished work is kept"
            ) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is the system's word that nothing more fits: disk, quota or limit.

    What it was raised in the course of counts too: a file that is full halfway is told as one that closes wrongly.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        inner = [one for one, _ in getattr(error, "failures", {}).values()]  # of a distributed checkpoint
        if any(_is_full(one) for one in inner if isinstance(one, BaseException)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


BESIDE = ("manifest.json", "incidents.jsonl", "speed.jsonl")
"""What lies beside the files of an artifact and is no part of it: how it was made, which is another story each time."""


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder, sorted, without those that tell how it was made."""
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name not in BESIDE)

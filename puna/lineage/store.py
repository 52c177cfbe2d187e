"""Where a run keeps what it made.

runs/NAME/
  artifacts/STAGE-FINGERPRINT/   finished artifacts, each with manifest.json
  STAGE -> artifacts/...         what the last run of the recipe used
  .partial/STAGE-FINGERPRINT/    an artifact in the making, and its lock
  recipe.json, report.html, report.json
  seed-1/ ...                    replicas (`--seeds`): their own links and report, the same artifacts
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from puna.base.errors import ArtifactError, LockedError
from puna.base.files import files_below, read_json, sha256_file, sync_folder, write_json
from puna.base.output import StageOutput

FORMAT_VERSION = 1
_SHORT = 12


class Store:
    """The artifacts of a run folder, by stage name and fingerprint."""

    def __init__(self, root: Path):
        self.root = root
        self.artifacts = root / "artifacts"
        self.partials = root / ".partial"

    def folder(self, stage: str, fingerprint: str) -> Path:
        """Where the artifact is, or will be."""
        return self.artifacts / f"{stage}-{fingerprint[:_SHORT]}"

    def has(self, stage: str, fingerprint: str) -> bool:
        """Whether the artifact is finished (the rename into place is the last thing that happens)."""
        return (self.folder(stage, fingerprint) / "manifest.json").is_file()

    def manifest(self, stage: str, fingerprint: str, verify: bool = True) -> dict[str, Any]:
        """The manifest of a finished artifact, its files checked against their checksums.

        Raises ArtifactError naming the damaged file and what to do.
        """
        folder = self.folder(stage, fingerprint)
        manifest = read_manifest(folder)
        if manifest["fingerprint"] != fingerprint:
            raise ArtifactError(f"{folder} holds another artifact than its name says; delete the folder and run again")
        if verify:
            verify_files(folder, manifest)
        return manifest

    def partial(self, stage: str, fingerprint: str) -> Path:
        """The folder of an artifact in the making."""
        return self.partials / f"{stage}-{fingerprint[:_SHORT]}"

    @contextlib.contextmanager
    def lock(self, stage: str, fingerprint: str) -> Iterator[None]:
        """Hold the artifact for this process. Raises LockedError naming the other writer's host and process.

        The kernel drops the lock when its holder dies, so a killed run never leaves a stale one.
        """
        self.partials.mkdir(parents=True, exist_ok=True)
        path = self.partials / f"{stage}-{fingerprint[:_SHORT]}.lock"
        with open(path, "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise LockedError(
                    f"expected to be the only writer of {self.root}, but {holder} is writing {stage}; "
                    "wait for it, stop it, or choose another --out"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield

    def commit(self, stage: str, fingerprint: str, out: StageOutput, made_by: dict[str, Any]) -> dict[str, Any]:
        """Turn a finished output into the artifact: manifest first, then one rename."""
        manifest = {
            "format_version": FORMAT_VERSION,
            "stage": stage,
            "fingerprint": fingerprint,
            **made_by,
            "attempts": out.attempt,
            "metrics": out.metrics,
            "scores": out.scores,
            "panels": out.panels,
            "files": out.records(),
        }
        write_json(out.path / "manifest.json", manifest)
        folder = self.folder(stage, fingerprint)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        os.rename(out.path, folder)
        sync_folder(self.artifacts)
        out.clear()
        return manifest

    def sweep(self, stage: str, fingerprint: str) -> None:
        """Remove what a kill between rename and clean-up left behind."""
        shutil.rmtree(self.partial(stage, fingerprint), ignore_errors=True)

    def link(self, run: Path, stage: str, fingerprint: str) -> None:
        """Point RUN/STAGE at the artifact, atomically."""
        link, temp = run / stage, run / f".{stage}.link"
        target = os.path.relpath(self.folder(stage, fingerprint), run)
        if link.is_symlink() and os.readlink(link) == target:
            return
        temp.unlink(missing_ok=True)
        os.symlink(target, temp)
        os.replace(temp, link)
        sync_folder(run)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact folder. Raises ArtifactError for another format or a damaged file."""
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        came = manifest.get("format_version") if isinstance(manifest, dict) else type(manifest).__name__
        raise ArtifactError(
            f"{folder}: expected format_version {FORMAT_VERSION}, came {came}; use the Puna that wrote it"
        )
    return manifest


def verify_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Check every file against the manifest. Raises ArtifactError naming the first that differs."""
    for name, record in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            problem = "is missing"
        elif path.stat().st_size != record["bytes"]:
            problem = f"has {path.stat().st_size} bytes instead of {record['bytes']}"
        elif sha256_file(path) != record["sha256"]:
            problem = "has other bytes than were written (checksum)"
        else:
            continue
        raise ArtifactError(f"damaged artifact: {path} {problem}; delete {folder} and run again to make it anew")


def referenced_artifacts(root: Path) -> set[Path]:
    """Artifact folders that a link of the run or of one of its replicas leads to."""
    links = [
        path for run in (root, *root.glob("seed-*")) if run.is_dir() for path in run.iterdir() if path.is_symlink()
    ]
    return {link.resolve() for link in links if link.exists()}


def collect_garbage(root: Path, remove: bool) -> list[tuple[Path, int]]:
    """Artifacts and partial folders that nothing refers to, with their bytes; removed if `remove`.

    A partial folder that a living process holds is left alone.
    """
    store = Store(root)
    kept = referenced_artifacts(root)
    unused = [path for path in sorted(store.artifacts.glob("*")) if path.is_dir() and path.resolve() not in kept]
    unused += [path for path in sorted(store.partials.glob("*")) if path.is_dir() and not _is_held(path)]
    found = [(path, sum(file.stat().st_size for file in files_below(path))) for path in unused]
    if remove:
        for path in unused:
            shutil.rmtree(path)
    return found


def heartbeats(root: Path) -> dict[str, dict[str, Any]]:
    """The last heartbeat of every unfinished artifact, by `STAGE-FINGERPRINT`, with `running` added."""
    beats = {}
    for path in sorted((root / ".partial").glob("*/heartbeat.json")):
        with contextlib.suppress(json.JSONDecodeError, OSError):
            beats[path.parent.name] = {**json.loads(path.read_bytes()), "running": _is_held(path.parent)}
    return beats


def _is_held(partial: Path) -> bool:
    lock = partial.with_name(partial.name + ".lock")
    if not lock.exists():
        return False
    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False

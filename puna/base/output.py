"""What a stage is given: its inputs, and an output that survives being killed at any moment.

    def run(config: XConfig, inputs: Inputs, out: StageOutput) -> None

A stage writes *units* (files of its artifact). A finished unit is fsynced and recorded with its SHA-256; when the stage
is killed and called again, `out.done(name)` says which units need not be made again. State that is not part of the
artifact (checkpoints) goes below `out.state`.

    <partial>/files/    the artifact in the making        <partial>/units/  one record a finished unit
    <partial>/state/    the stage's own resume state      <partial>/heartbeat.json
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puna.base.config import Mesh
from puna.base.errors import DataError, DiskFullError
from puna.base.files import files_below, read_json, refusing_full_disk, sha256_file, sync_file, sync_folder, write_json

_HEARTBEAT_S = 2.0
Place = Path | str
"""A path, or an address as a string."""


@dataclass(frozen=True)
class Progress:
    """One look at a running stage: `done` of `total` in `unit`s, and the metrics worth showing."""

    done: float
    total: float
    unit: str
    metrics: dict[str, float | str]


@dataclass
class Unit:
    """A file in the making: write to `path`; `info` is kept beside the finished file."""

    path: Path
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """An output as other processes of this machine open it: `seconds` were spent on it at the monotonic time `at`."""

    partial: Path
    seed: int
    threads: int
    workers: int
    mesh: Mesh
    attempt: int
    seconds: float
    at: float
    restarts: int = 0

    def open(self, writes: bool, watch: Callable[[Progress], None] | None = None) -> "StageOutput":
        """The output, of the one process that writes or one that takes part."""
        given = (self.partial, self.seed, self.threads, self.workers, watch, self.mesh, writes)
        return StageOutput(*given, share=self)


class Inputs:
    """The places a stage reads, by input name: paths, and addresses (strings such as s3://bucket/crawl)."""

    def __init__(self, places: Mapping[str, "Place | list[Path] | list[Place]"]):
        self._places = {n: [value] if isinstance(value, Path | str) else list(value) for n, value in places.items()}

    def names(self) -> list[str]:
        """The names of the inputs that were given, sorted."""
        return sorted(name for name, places in self._places.items() if places)

    def has(self, name: str) -> bool:
        """Whether the input was given."""
        return bool(self._places.get(name))

    def places(self, name: str) -> list[Place]:
        """All paths and addresses of an input. Raises DataError if it was not given."""
        if not self.has(name):
            raise DataError(f'expected an input "{name}", came {sorted(self._places) or "none"}; add it to the stage')
        return self._places[name]

    def many(self, name: str) -> list[Path]:
        """All paths of an input. Raises DataError if it was not given or one is an address."""
        paths = []
        for place in self.places(name):
            if isinstance(place, str):
                raise DataError(f'expected a file or folder for the input "{name}", came an address; get {place} first')
            paths.append(place)
        return paths

    def one(self, name: str) -> Path:
        """The path of an input. Raises DataError if it was not given or is several."""
        paths = self.many(name)
        if len(paths) != 1:
            raise DataError(f'expected one path for the input "{name}", came {len(paths)}')
        return paths[0]


class StageOutput:
    """The artifact a stage is making; see the module's docstring."""

    def __init__(
        self,
        partial: Path,
        seed: int = 0,
        threads: int = 1,
        workers: int = 1,
        watch: Callable[[Progress], None] | None = None,
        mesh: Mesh | None = None,
        writes: bool = True,
        share: "Share | None" = None,
    ):
        self.path = partial / "files"
        self.state = partial / "state"
        self.seed, self.threads, self.workers, self.mesh = seed, threads, workers, mesh or Mesh()
        self.metrics: dict[str, float] = {}
        self.scores: list[dict[str, Any]] = []
        self.panels: list[dict[str, Any]] = []
        self._partial, self._units, self._watch = partial, partial / "units", watch
        for folder in (self.path, self.state, self._units):
            folder.mkdir(parents=True, exist_ok=True)
        self.writes = writes
        """False for a rank that takes part while another one writes: it may read, and make no units."""
        self._records = self._recover() if writes else {}
        self._seconds_before, self.attempt = self._last_heartbeat()
        self._started = self._beaten = time.monotonic()
        self.restarts, self._shared = 0, share is not None  # whose owner writes the heartbeats
        """How often a supervisor started this attempt again."""
        if share:
            self.attempt, self.restarts = share.attempt, share.restarts
            self._seconds_before, self._started = share.seconds, share.at
        self._beat({})

    def share(self) -> "Share":
        """What other processes need to go on with this output while this one waits; `take` ends it."""
        given = (self._partial, self.seed, self.threads, self.workers, self.mesh, self.attempt)
        return Share(*given, self.seconds, time.monotonic())

    def given(self) -> dict[str, Any]:
        """What `take` takes, from the process that made the output."""
        return {"metrics": self.metrics, "scores": self.scores, "panels": self.panels}

    def take(self, given: dict[str, Any]) -> None:
        """Take over what another process made of this output."""
        self.metrics |= given["metrics"]
        self.scores += given["scores"]
        self.panels += given["panels"]
        # Not `_recover`: what lies beside the units (incidents) was made by the same attempt and stays.
        self._records = {record["name"]: record for record in map(read_json, self._units.glob("*.json"))}

    @property
    def seconds(self) -> float:
        """Seconds spent on this artifact, earlier killed attempts included."""
        return self._seconds_before + time.monotonic() - self._started

    def done(self, name: str) -> bool:
        """Whether the unit was finished, by this attempt or an earlier one."""
        return name in self._records

    def info(self, name: str) -> dict[str, Any]:
        """What was kept with a finished unit."""
        return dict(self._records[name]["info"])

    def records(self) -> dict[str, dict[str, Any]]:
        """`sha256` and `bytes` of every finished unit, by name."""
        return {n: {"sha256": r["sha256"], "bytes": r["bytes"]} for n, r in sorted(self._records.items())}

    @contextlib.contextmanager
    def unit(self, name: str) -> Iterator[Unit]:
        """Make one file of the artifact; it counts only when the block ends without an error.

        Raises DiskFullError if the disk is full.
        """
        assert self.writes, f"a rank that does not write was to make {name}"
        final = self.path / name
        # The suffix stays last: writers such as numpy's add their own to a name that lacks it.
        temp = final.with_name(".part-" + final.name)
        with refusing_full_disk(final):
            temp.parent.mkdir(parents=True, exist_ok=True)
            unit = Unit(temp)
            try:
                yield unit
                sync_file(temp)
                record = {"name": name, "sha256": sha256_file(temp), "bytes": temp.stat().st_size, "info": unit.info}
                os.replace(temp, final)
            except BaseException:
                temp.unlink(missing_ok=True)
                raise
            sync_folder(final.parent)
            write_json(self._record_path(name), record)
        self._records[name] = record

    def progress(self, done: float, total: float, unit: str = "", **metrics: float | str) -> None:
        """Tell the live view how far the stage is."""
        look = Progress(done, total, unit, metrics)
        if self._watch:
            self._watch(look)
        if time.monotonic() - self._beaten > _HEARTBEAT_S:
            with contextlib.suppress(DiskFullError):  # nobody reads it but `puna status`: no reason to end
                self._beat({"done": done, "total": total, "unit": unit, "metrics": metrics})

    def metric(self, **values: float) -> None:
        """Numbers for the manifest, the report and `puna status`."""
        self.metrics.update(values)

    def score(
        self,
        task: str,
        metric: str,
        value: float,
        ci95: tuple[float, float],
        n: int,
        headline: bool = False,
        **settings: Any,
    ) -> None:
        """A measured score with its 95% interval over n items, and the settings that gave it."""
        score = {"task": task, "metric": metric, "value": value, "ci95": list(ci95), "n": n, "headline": headline}
        self.scores.append({**score, "settings": settings})

    def panel(self, kind: str, title: str, **data: Any) -> None:
        """Something the report shows: funnel, bars, lines, table, samples or text."""
        self.panels.append({"kind": kind, "title": title, **data})

    def _record_path(self, name: str) -> Path:
        return self._units / (name.replace("/", "%2F") + ".json")

    def _recover(self) -> dict[str, dict[str, Any]]:
        """Keep finished units whose bytes are as recorded; remove everything half-made or damaged."""
        records = {}
        for path in self._units.glob("*.json"):
            record = read_json(path)
            file = self.path / record["name"]
            if file.is_file() and sha256_file(file) == record["sha256"]:
                records[record["name"]] = record
            else:
                path.unlink()
        for file in files_below(self.path):
            if file.relative_to(self.path).as_posix() not in records:
                file.unlink()
        return records

    def _last_heartbeat(self) -> tuple[float, int]:
        path = self._partial / "heartbeat.json"
        last = read_json(path) if path.exists() else {}
        return float(last.get("seconds", 0.0)), int(last.get("attempt", 0)) + 1

    def _beat(self, look: dict[str, Any]) -> None:
        self._beaten = time.monotonic()
        if self.writes and not self._shared:
            beat = {"seconds": self.seconds, "attempt": self.attempt, **look}
            write_json(self._partial / "heartbeat.json", beat)

    def clear(self) -> None:
        """Remove the whole partial folder (the artifact was moved away, or is not wanted)."""
        shutil.rmtree(self._partial, ignore_errors=True)

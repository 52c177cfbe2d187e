"""Chaos: a stage that trains is disturbed on purpose, for real, and must end with the same bytes.

    plan (by seed) -> laps of the stage under the supervisor, an injector beside it -> files compared
        -> one lap more without faults, as the machine may be slower by now -> effective time

kill      SIGKILL to a rank                                    freeze    SIGSTOP to a rank
flip      a bit of a parameter, in the rank's memory           nan       a gradient that is no number, once
truncate  the newest checkpoint is cut, then SIGKILL           disk      the kernel lets the rank write no file any more

The disk: RLIMIT_FSIZE is set on the running rank from outside until a checkpoint could not be written, at its first
byte or halfway. Its writes fail in the kernel as on a full disk (EFBIG in place of ENOSPC), without root and without
harm to others.
"""

import contextlib
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from puna.base.config import Mesh
from puna.base.errors import ConfigError, PunaError
from puna.base.output import Inputs, Progress, StageOutput
from puna.base.rng import generator
from puna.parallel.heartbeat import PHASES, Heartbeats
from puna.parallel.watchdog import Limits
from puna.pretrain.checkpoint import steps
from puna.pretrain.faults.policy import INCIDENTS
from puna.pretrain.faults.supervise import supervise
from puna.pretrain.interval import DEVICE_SECONDS_A_FAILURE
from puna.pretrain.loop import LoopConfig

Kind = Literal["kill", "freeze", "flip", "nan", "truncate", "disk"]
CAUSES: dict[Kind, tuple[str, ...]] = {
    "kill": ("killed",),
    "freeze": ("frozen",),
    "flip": ("flipped bit",),
    "nan": ("not a number",),
    "truncate": ("damaged checkpoint", "killed"),
    "disk": ("full disk",),
}
"""The incidents by which a fault of each kind is found."""
_POLL_S = 0.05
_NO_FULL_DISK = 0.9
"""Of the steps: later the last checkpoint might be the one that does not fit, and that one rightly ends the run."""
C = TypeVar("C", bound=LoopConfig)


@dataclass(frozen=True)
class Planned:
    """A fault: how long after the one before it strikes, and the seed of what it strikes."""

    kind: Kind
    wait_s: float
    seed: int


@dataclass(frozen=True)
class Struck:
    """A fault that struck: in which lap, after how many steps; whether it was found, and what it cost."""

    kind: Kind
    lap: int
    step: int
    is_found: bool
    lost_s: float


@dataclass
class Result:
    """What came of it. wall_s: of the disturbed laps, start and end included; step_s: of an undisturbed step, the mean
    of before and after; calm_wall_s: of the undisturbed lap at the end."""

    laps: int = 0
    steps: int = 0
    wall_s: float = 0.0
    step_s: float = 0.0
    calm_wall_s: float = 0.0
    struck: list[Struck] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    """Files that came out otherwise than undisturbed, as LAP/NAME."""

    @property
    def effective_time(self) -> float:
        """Share of the wall time that the kept steps would have taken undisturbed."""
        return self.steps * self.step_s / self.wall_s if self.wall_s else 0.0

    @property
    def beside_calm(self) -> float:
        """Share of the wall time that as many undisturbed laps would have taken, with all they do beside steps."""
        return self.laps * self.calm_wall_s / self.wall_s if self.wall_s else 0.0

    def table(self) -> list[tuple[str, int, int, float]]:
        """(kind, times, found, mean seconds lost) of each kind that struck."""
        rows: list[tuple[str, int, int, float]] = []
        for kind in CAUSES:
            those = [one for one in self.struck if one.kind == kind]
            if those:
                mean = sum(one.lost_s for one in those) / len(those)
                rows.append((kind, len(those), sum(one.is_found for one in those), mean))
        return rows


def plan(seed: int, failures: int, every_s: float, kinds: Sequence[Kind] = tuple(CAUSES)) -> list[Planned]:
    """So many faults, all kinds equally often, at random times with a mean distance of exactly `every_s`.

    Distances are exponential, as those of independent failures are.
    """
    draw: Any = generator(seed, "chaos")
    waits = draw.exponential(size=failures)
    waits *= every_s * failures / max(1e-9, float(waits.sum()))
    names: list[Kind] = []
    while len(names) < failures:
        names += [kinds[one] for one in draw.permutation(len(kinds))]
    seeds = draw.integers(2**31, size=failures)
    return [Planned(kind, float(wait), int(one)) for kind, wait, one in zip(names, waits, seeds)]


def chaos(
    function: str,
    config: C,
    inputs: Inputs,
    folder: Path,
    seed: int,
    threads: int,
    mesh: Mesh,
    undisturbed: dict[str, str],
    step_s: float,
    faults: Sequence[Planned],
    watch: Callable[[str, Progress | None], None] = lambda text, look: None,
    limits: Limits = Limits(),
    given: Mapping[str, Any] = {},
) -> Result:
    """Run a stage's `function`, with what it is `given` by name, until all faults have struck, at least once, in laps
    below `folder`.

    undisturbed: SHA-256 of the files that must come out, by name; step_s: seconds of an undisturbed step, measured
    before, which is measured again after the last lap. Checkpoints are as frequent as is best for the mean distance of
    the faults. `watch` is told what happens.
    """
    if not faults:
        raise ConfigError("chaos: expected at least one failure, came none")
    every_s = sum(one.wait_s for one in faults) / len(faults)
    settings = config.faults.model_copy(update={"supervised": True, "failure_s": every_s})
    disturbed = config.model_copy(update={"checkpoint_interval_s": "auto", "faults": settings})
    result, waiting = Result(), list(faults)

    def lap(name: str, faults: Sequence[Planned], config: C) -> tuple[StageOutput, Injector, float]:
        """One run of the stage in a folder of this name: what came out, which faults are left, and its seconds."""
        StageOutput(folder / name).clear()
        began = time.monotonic()
        out = StageOutput(folder / name, seed, threads, watch=lambda look: injector.looked(look), mesh=mesh)
        with Injector(out, faults, result, watch) as injector:
            supervise(function, config, settings, inputs, out, limits, injector.started, given=given)
        seconds = time.monotonic() - began
        came = {name: record["sha256"] for name, record in out.records().items()}
        names = sorted(came.keys() | undisturbed.keys())
        differing = [f"{name}/{file}" for file in names if came.get(file) != undisturbed.get(file)]
        result.differing += differing
        watch(f"{name}: {'the same bytes' if not differing else 'OTHER BYTES: ' + ', '.join(differing)}", None)
        if not differing and all(one.is_found for one in result.struck if f"lap-{one.lap}" == name):
            out.clear()  # what is not as it should be stays, to be looked at
        return out, injector, seconds

    while waiting:
        result.laps += 1
        out, injector, seconds = lap(f"lap-{result.laps}", waiting, disturbed)
        waiting = injector.waiting
        result.wall_s += seconds
        result.steps += int(out.metrics["num_steps"])
    result.step_s = step_s
    try:
        out, _, result.calm_wall_s = lap("calm", [], config)
        result.step_s = (step_s + undisturbed_step_s(out.metrics)) / 2
    except PunaError as error:  # what the laps before it showed must not be lost
        watch(f"calm: {error}", None)
        result.differing.append("calm")
    return result


def undisturbed_step_s(metrics: Mapping[str, float]) -> float:
    """Seconds of a step of the run whose metrics these are."""
    return metrics["tokens_learned"] / metrics["useful_tokens_per_s"] / metrics["num_steps"]


class Injector:
    """Puts faults into the ranks of one lap from a thread beside the supervisor; `waiting` are those that are left."""

    def __init__(
        self,
        out: StageOutput,
        faults: Sequence[Planned],
        result: Result,
        watch: Callable[[str, Progress | None], None],
    ) -> None:
        self.waiting = list(faults)
        self._out, self._result, self._watch = out, result, watch
        self._beats: Heartbeats | None = None
        self._pids: dict[int, int] = {}
        self._share = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> "Injector":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._error and error[0] is None:
            raise self._error

    def started(self, beats: Heartbeats, pids: dict[int, int]) -> None:
        """The supervisor started ranks (again)."""
        self._beats, self._pids = beats, pids

    def looked(self, look: Progress) -> None:
        """The stage went on."""
        self._share = look.done / max(1.0, look.total)
        self._watch("", look)

    def _run(self) -> None:
        try:
            struck_at = time.monotonic()
            while self.waiting and not self._ended.is_set():
                fault = self.waiting[0]
                self._ended.wait(max(0.0, struck_at + fault.wait_s - time.monotonic()))
                if not self._until(lambda: self._may_strike(fault.kind)):  # noqa: B023  used at once
                    left = max(0.0, struck_at + fault.wait_s - time.monotonic())
                    self.waiting[0] = replace(fault, wait_s=left)
                    return
                struck_at = time.monotonic()
                if self._struck(fault):
                    del self.waiting[0]
        except BaseException as error:
            self._error = error

    def _may_strike(self, kind: Kind) -> bool:
        """Whether ranks learn, and there is what a fault of this kind needs."""
        if self._beats is None or not self._beats.read(0, "first_at"):
            return False
        if kind == "truncate" and len(steps(self._out.state)) < 2:
            return False
        if kind == "disk" and self._share > _NO_FULL_DISK:
            return False
        return PHASES[int(self._beats.read(0, "phase"))] == "step"

    def _struck(self, fault: Planned) -> bool:
        """Do it, and wait until it was found; False if the lap ended before it could be."""
        assert self._beats is not None
        rank = fault.seed % len(self._pids)
        step, before = int(self._beats.read(0, "step")), len(self._incidents())
        self._watch(f"{fault.kind}: rank {rank} at step {step}", None)
        if not self._do(fault, rank):
            return False
        expected = CAUSES[fault.kind]
        is_found = self._until(lambda: {row["cause"] for row in self._incidents()[before:]} >= set(expected))
        if not is_found and fault.kind in ("flip", "nan", "disk"):
            rows = self._incidents()[before:]  # the lap ended: its last incidents are written at the end
            is_found = {row["cause"] for row in rows} >= set(expected)
        lost = sum(row["lost_s"] for row in self._incidents()[before:])
        self._result.struck.append(Struck(fault.kind, self._result.laps, step, is_found, lost))
        found = f"found, {lost:.1f} s lost" if is_found else "NOT FOUND"
        self._watch(f"{fault.kind}: {found} ({len(self._result.struck)} struck)", None)
        return True

    def _do(self, fault: Planned, rank: int) -> bool:
        assert self._beats is not None
        pid = self._pids[rank]
        if fault.kind in ("flip", "nan"):
            done = self._beats.read(rank, "orders_done")
            self._beats.order(rank, fault.kind, fault.seed)
            beats = self._beats
            return self._until(lambda: beats.read(rank, "orders_done") > done)
        if fault.kind == "disk":
            return self._full_disk(self._pids[0], fault.seed)
        if fault.kind == "truncate":
            _truncate(self._out.state / f"step-{steps(self._out.state)[-1]}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP if fault.kind == "freeze" else signal.SIGKILL)
            return True
        return False

    def _full_disk(self, pid: int, seed: int) -> bool:
        """No file of the rank that writes may grow beyond some size, until a checkpoint failed: one byte, or, every
        other time, a part of what the newest checkpoint has in its largest file."""
        assert self._beats is not None
        beats, failed = self._beats, self._beats.read(0, "failed_saves")
        try:
            soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            most = _largest(self._out.state) if seed % 2 else 1
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 + seed // 2 % most, hard))
            has_failed = self._until(lambda: beats.read(0, "failed_saves") > failed)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
            self._watch(f"disk: {'a checkpoint' if has_failed else 'no checkpoint'} failed, there is room again", None)
        except ProcessLookupError:
            return False
        return has_failed

    def _until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; False if the lap ends first."""
        while not condition():
            if self._ended.wait(_POLL_S):
                return condition()
        return True

    def _incidents(self) -> list[dict[str, Any]]:
        path = self._out.state / INCIDENTS
        if not path.exists():
            return []
        text = path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _largest(state: Path) -> int:
    """Bytes of the largest file of the newest checkpoint, 1 if there is none."""
    with contextlib.suppress(FileNotFoundError):  # it is removed just now
        for step in steps(state)[-1:]:
            return max(path.stat().st_size for path in (state / f"step-{step}").iterdir())
    return 1


def _truncate(folder: Path) -> None:
    """Cut the largest file of a checkpoint in half, as a power cut or a bad sector might."""
    files: Iterator[Path] = (path for path in folder.iterdir() if path.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def rate_beside_llama(every_s: float, num_devices: int) -> str:
    """How a rate of failures compares to that of Llama 3's training."""
    days = DEVICE_SECONDS_A_FAILURE / 86_400
    devices = DEVICE_SECONDS_A_FAILURE / every_s
    return (
        f"one failure in {every_s:,.0f} s on {num_devices} device{'s' if num_devices > 1 else ''}; Llama 3's 419 in 54 "
        f"days on 16,384 GPUs are one in {days:,.0f} days a GPU, so this is the rate of {devices:,.0f} of them, "
        f"{devices / num_devices:,.0f} times theirs a device"
    )


def mean_lost(result: Result) -> float:
    """Seconds that a failure cost on average."""
    return float(np.mean([one.lost_s for one in result.struck])) if result.struck else 0.0

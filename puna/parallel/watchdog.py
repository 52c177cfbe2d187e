"""What the heartbeats of a run tell: who hangs, who is slow, and how much work a failure cost."""

import contextlib
import statistics
from dataclasses import dataclass
from pathlib import Path

from puna.parallel.heartbeat import PHASES, Heartbeats


@dataclass(frozen=True)
class Limits:
    """silence_s, silence_factor: a rank that says nothing for so long, and for so many times the mean length of the
    phase it is in, hangs; outside of steps not before pause_s, since starting, saving and measuring vary more, and in a
    phase that has never ended yet (imports, compilers, packing) not before first_s. One that a signal stopped (SIGSTOP)
    does not go on by itself: stopped_s is enough. restarts: how often all may start again without a step more than
    before. slow: a rank whose own time a step is this many times the median of all ranks, over `window` steps, is a
    straggler."""

    silence_s: float = 10.0
    silence_factor: float = 10.0
    pause_s: float = 30.0
    first_s: float = 300.0
    stopped_s: float = 2.0
    restarts: int = 3
    slow: float = 1.5
    window: int = 20

    def silence(self, beats: Heartbeats, phase: str) -> float:
        """Seconds without a heartbeat after which a rank in this phase hangs."""
        usual = beats.mean_s(phase)
        least = self.silence_s if phase == "step" else self.pause_s
        return self.first_s if usual is None else max(least, self.silence_factor * usual)


@dataclass(frozen=True)
class Silent:
    """A rank that hangs: since how many seconds, in which phase; `stopped` if a signal stopped it (SIGSTOP)."""

    rank: int
    seconds: float
    phase: str
    stopped: bool


class Watchdog:
    """Finds hung ranks. Only changes that it saw itself count, by its own clock."""

    def __init__(self, beats: Heartbeats, limits: Limits, now: float) -> None:
        self._beats, self._limits, self._looked = beats, limits, now
        self._seen = [(beats.read(rank, "at"), now) for rank in range(beats.world_size)]

    def silent(self, pids: dict[int, int], now: float) -> Silent | None:
        """The rank to blame if one of these, by their process numbers, hangs: one that is stopped, or the first that
        fell silent, since the others wait for it."""
        held_up = now - self._looked
        if held_up > 1.0:  # the supervisor itself (Ctrl-Z, a sleeping laptop): that time is nobody's silence
            self._seen = [(told, at + held_up) for told, at in self._seen]
        self._looked = now
        late = []
        for rank, pid in pids.items():
            told = self._beats.read(rank, "at")
            if told != self._seen[rank][0]:
                self._seen[rank] = (told, now)
            phase = PHASES[int(self._beats.read(rank, "phase"))]
            seconds = now - self._seen[rank][1]
            is_stopped = seconds > self._limits.stopped_s and process_state(pid) == "T"
            if is_stopped or seconds > self._limits.silence(self._beats, phase):
                late.append(Silent(rank, seconds, phase, is_stopped))
        return min(late, key=lambda one: (not one.stopped, -one.seconds), default=None)


class Stragglers:
    """Names ranks whose own time a step is far above the others', once a window."""

    def __init__(self, beats: Heartbeats, limits: Limits) -> None:
        self._beats, self._limits = beats, limits
        self._from = self._told()

    def found(self) -> list[tuple[int, float, float]]:
        """(rank, its seconds a step, the median's) of the window that has just ended; nothing before it has."""
        told = self._told()
        steps = [now[1] - before[1] for now, before in zip(told, self._from, strict=True)]
        if min(steps) < 0:  # started anew
            self._from = told
        if len(told) < 2 or min(steps) < self._limits.window:
            return []
        means = [(now[0] - old[0]) / (now[1] - old[1]) for now, old in zip(told, self._from, strict=True)]
        self._from = told
        usual = statistics.median_low(means)
        return [(rank, mean, usual) for rank, mean in enumerate(means) if mean > self._limits.slow * usual]

    def _told(self) -> list[tuple[float, float]]:
        return [(self._beats.read(r, "own_s"), self._beats.read(r, "steps")) for r in range(self._beats.world_size)]


class Losses:
    """How many seconds of work failures cost: from when the state that a run goes on from was there, until it is again.

    What the leader saves and where it begins is followed from its heartbeats.
    """

    def __init__(self, beats: Heartbeats) -> None:
        self._beats, self._there = beats, dict[int, float]()
        self._told = 0.0

    def look(self) -> None:
        """Remember what rank 0 saved."""
        if at := self._beats.read(0, "saved_at"):
            self._there[int(self._beats.read(0, "saved_step"))] = at

    def recovered(self) -> bool:
        """Whether rank 0 learns steps (again)."""
        return self._beats.read(0, "first_at") > 0

    def begun(self, failed_at: float) -> tuple[int, float]:
        """The step that rank 0 went on from, and the seconds lost through the failure before; called once a start."""
        step, at = int(self._beats.read(0, "first_step")), self._beats.read(0, "first_at")
        lost = max(0.0, at - self._there.get(step, failed_at) - self._told)
        self._there = {one: when for one, when in self._there.items() if one < step} | {step: at}
        self._told = 0.0
        return step, lost

    def failed_again(self, failed_at: float, now: float) -> float:
        """Seconds that a failure cost whose restart failed too."""
        self._told += now - failed_at
        return now - failed_at


def process_state(pid: int) -> str:
    """The kernel's letter for a process's state: R running, S sleeping, D waiting for a disk, T stopped; else "?"."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "?"

"""What the ranks of a run tell their supervisor at every step, and what it may order: a small file in shared memory.

    file [R ranks x fields] of float64; every field has one writer, so nothing is locked

A rank is always in one *phase*: it starts, learns steps, measures held-out loss, saves (or loads), or ends. How long
phases of a kind have taken tells the supervisor after which silence a rank hangs. Times are those of the monotonic
clock, which all processes of a machine share.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

PHASES = ("starting", "step", "validation", "saving", "ending")
ORDERS = ("flip", "nan")
"""Faults that a supervisor can order (`puna chaos`): a flipped bit of a parameter; gradients that are no numbers."""

_FIELDS = (
    *("step", "at", "phase", "own_s", "steps"),
    *("saved_step", "saved_at", "failed_saves", "first_step", "first_at"),
    *("order", "order_seed", "orders_given", "orders_done"),
    *(f"{phase}_{what}" for phase in PHASES for what in ("times", "seconds")),
)
_AT = {name: number for number, name in enumerate(_FIELDS)}


class Heartbeats:
    """The file of all ranks. `read(rank, field)` gives what a rank wrote last; fields are listed in this module."""

    def __init__(self, path: Path, world_size: int, create: bool = False) -> None:
        self.path, self.world_size = path, world_size
        if create:
            np.zeros((world_size, len(_FIELDS))).tofile(path)
        self._table: npt.NDArray[np.float64] = np.memmap(path, np.float64, "r+", shape=(world_size, len(_FIELDS)))

    def read(self, rank: int, field: str) -> float:
        """A field of a rank."""
        return float(self._table[rank, _AT[field]])

    def write(self, rank: int, **values: float) -> None:
        """Set fields of a rank."""
        for name, value in values.items():
            self._table[rank, _AT[name]] = value

    def clear(self, rank: int) -> None:
        """Forget what a rank told: it is started anew. How long its phases took stays known."""
        kept = [_AT[f"{phase}_{what}"] for phase in PHASES for what in ("times", "seconds")]
        row = np.zeros(len(_FIELDS))
        row[kept] = self._table[rank, kept]
        row[_AT["at"]] = time.monotonic()
        self._table[rank] = row

    def mean_s(self, phase: str) -> float | None:
        """Mean seconds of a phase over all ranks and attempts; None if none has ended yet."""
        times = float(self._table[:, _AT[f"{phase}_times"]].sum())
        return float(self._table[:, _AT[f"{phase}_seconds"]].sum()) / times if times else None

    def order(self, rank: int, name: str, seed: int) -> None:
        """Tell a rank to put a fault into itself at its next chance."""
        given = self.read(rank, "orders_given") + 1
        self.write(rank, order=ORDERS.index(name), order_seed=seed)
        self.write(rank, orders_given=given)


class Pulse:
    """The rank's side. Without a file (nobody supervises this process) all of it costs nothing and does nothing."""

    def __init__(self, beats: Heartbeats | None = None, rank: int = 0) -> None:
        self._beats, self._rank, self._since, self._own = beats, rank, time.monotonic(), own_seconds()
        self._phase = "starting"

    @classmethod
    def of_environment(cls) -> "Pulse":
        """Of the file that the supervisor named in PUNA_HEARTBEATS."""
        path = os.environ.get("PUNA_HEARTBEATS")
        if not path:
            return cls()
        return cls(Heartbeats(Path(path), int(os.environ["WORLD_SIZE"])), int(os.environ["RANK"]))

    def enter(self, phase: str, step: int | None = None) -> None:
        """A phase ends and the next one begins; `step` steps are learned."""
        if self._beats is None:
            return
        now, was, beats, rank = time.monotonic(), self._phase, self._beats, self._rank
        if was == "starting":  # it began when the supervisor wrote the row, long before this object was made
            self._since = beats.read(rank, "at")
        told = {f"{was}_times": beats.read(rank, f"{was}_times") + 1}
        told[f"{was}_seconds"] = beats.read(rank, f"{was}_seconds") + now - self._since
        if was == "step":
            own = own_seconds()
            told |= {"own_s": beats.read(rank, "own_s") + own - self._own, "steps": beats.read(rank, "steps") + 1}
        if was == "starting" and step is not None:
            told |= {"first_step": step, "first_at": now}
        self._phase, self._since, self._own = phase, now, own_seconds()
        if step is not None:
            told["step"] = step
        beats.write(rank, **told, phase=PHASES.index(phase), at=now)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase within another one."""
        before = self._phase
        self.enter(name)
        try:
            yield
        finally:
            self.enter(before)

    def saved(self, step: int) -> None:
        """The checkpoint of `step` stands."""
        if self._beats is not None:
            self._beats.write(self._rank, saved_step=step, saved_at=time.monotonic())

    def could_not_save(self) -> None:
        """There was no room for a checkpoint."""
        if self._beats is not None:
            self._beats.write(self._rank, failed_saves=self._beats.read(self._rank, "failed_saves") + 1)

    def ordered(self, name: str) -> int | None:
        """The seed of a fault that was ordered, once; None if there is none of this name."""
        if self._beats is None or self._beats.read(self._rank, "orders_given") == self._done():
            return None
        if ORDERS[int(self._beats.read(self._rank, "order"))] != name:
            return None
        self._beats.write(self._rank, orders_done=self._done() + 1)
        return int(self._beats.read(self._rank, "order_seed"))

    def _done(self) -> float:
        assert self._beats is not None
        return self._beats.read(self._rank, "orders_done")


def own_seconds() -> float:
    """Seconds that this thread ran or waited for a core; not those that it slept in a collective, for others or a disk.

    From Linux's scheduler statistics, so that a core shared with a noisy neighbour counts as slow; elsewhere CPU time.
    """
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            ran, waited, _ = file.read().split()
        return (int(ran) + int(waited)) / 1e9
    except (OSError, ValueError):
        return time.thread_time()

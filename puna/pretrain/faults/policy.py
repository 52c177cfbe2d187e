"""What goes wrong while a model learns, and what is done about it.

A step whose loss or gradients are no numbers, or whose gradients are far larger than usual, is computed once more from
the same weights before anything is learned from it. Sound then, the machine had erred. If not, its batch is passed
over; after `skips` of these in a row the weights are not trusted either: back to the last checkpoint, and past those
batches. What happened is written down at once (incidents.jsonl), so that a run that is killed knows it too.
"""

import collections
import contextlib
import json
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from puna.base.config import Config, Hardware
from puna.base.output import StageOutput
from puna.base.records import append_jsonl, write_jsonl

INCIDENTS = "incidents.jsonl"
_FEWEST = 20
"""Steps before which nobody knows what gradients are usual."""

Found = Literal[
    "interrupted", "preempted", "not a number", "gradient spike", "flipped bit", "damaged checkpoint", "full disk"
]
Cause = Found | Literal["killed", "crashed", "hung", "frozen", "straggler"]
"""What the loop finds, and what a supervisor does."""
Action = Literal[
    "resumed",
    "computed again",
    "passed over",
    "rolled back",
    "restored",
    "used the one before",
    "went on",
    "started again",
    "named",
]


class FaultConfig(Config):
    """spike: gradients this many times their median norm over the last `window` steps count as a fault (0: none do, and
    only what is no number is one). skips: batches in a row that may be passed over before the run goes back to its last
    checkpoint; rollbacks: how often it may. seal_every: after so many steps weights and optimizer are hashed, to be
    compared before the next one uses them (0: never). supervised: train in a process of its own that is started again
    when it dies or hangs; where several train it is always so. failure_s: mean time between failures, for
    `checkpoint_interval_s: auto` (0: as often as Llama 3's machines). preflight: where several train, compare the nodes
    before the first step, and put bad ones in quarantine; spares: slots of this machine that take their place."""

    spike: float = Field(default=0.0, ge=0)
    window: int = Field(default=100, ge=_FEWEST)
    skips: int = Field(default=3, ge=0)
    rollbacks: int = Field(default=2, ge=0)
    seal_every: Annotated[int, Hardware] = Field(default=1, ge=0)
    supervised: Annotated[bool, Hardware] = False
    failure_s: Annotated[float, Hardware] = Field(default=0.0, ge=0)
    preflight: Annotated[bool, Hardware] = False
    spares: Annotated[int, Hardware] = Field(default=0, ge=0)


@dataclass(frozen=True)
class Incident:
    """step: after which it happened, counted from 0. lost_s: seconds of work that count for nothing. at: UTC."""

    step: int
    cause: Cause
    action: Action
    lost_s: float
    detail: str
    attempt: int
    at: str

    @classmethod
    def now(cls, step: int, cause: Cause, action: Action, lost_s: float, detail: str, attempt: int) -> "Incident":
        """One that happens at this moment."""
        return cls(step, cause, action, lost_s, detail, attempt, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


class Faults:
    """The incidents of one run, and the steps that it passes over for good. As a context: whatever ends the run, what
    could not be written down before is tried once more."""

    def __init__(self, config: FaultConfig, out: StageOutput) -> None:
        self.config, self._out, self._path = config, out, out.state / INCIDENTS
        self.incidents = [Incident(**row) for row in _whole_rows(self._path, out.writes)]
        self._unwritten: list[Incident] = []
        self.passed = {one.step for one in self.incidents if one.action == "passed over"}

    def __enter__(self) -> "Faults":
        return self

    def __exit__(self, *error: object) -> None:
        self.write()

    def add(self, step: int, cause: Cause, action: Action, lost_s: float, detail: str = "") -> None:
        """Write an incident down, for good."""
        one = Incident.now(step, cause, action, lost_s, detail, self._out.attempt)
        self.incidents.append(one)
        if action == "passed over":
            self.passed.add(step)
        if not self._out.writes:
            return
        self._unwritten.append(one)
        self.write()

    def write(self) -> None:
        """Write down what could not be before."""
        with contextlib.suppress(OSError):  # a full disk: with the next one, or at the end
            while self._unwritten:
                append_incident(self._path, self._unwritten[0])
                del self._unwritten[0]

    def cause(self, row: Mapping[str, float], log: list[dict[str, float]]) -> Cause | None:
        """Why nothing should be learned from a step with this loss and gradient norm; None if it is sound."""
        if not math.isfinite(row["loss"]) or not math.isfinite(row["grad_norm"]):
            return "not a number"
        before = [one["grad_norm"] for one in log[-self.config.window :]]
        is_known = self.config.spike > 0 and len(before) >= _FEWEST
        return (
            "gradient spike" if is_known and row["grad_norm"] > self.config.spike * statistics.median(before) else None
        )

    @property
    def rollbacks(self) -> int:
        """How often this run went back, killed attempts included."""
        return sum(one.action == "rolled back" for one in self.incidents)

    def finish(self) -> None:
        """Put the incidents beside the manifest and into the report: by cause, and how much of the time counted."""
        if not self._out.writes or not (self.incidents or self._path.exists()):
            return
        self.write()
        # A supervisor adds to the file too.
        self.incidents = [Incident(**row) for row in _whole_rows(self._path, mend=False)] + self._unwritten
        # Beside the manifest and not one of the artifact's files: those are the same however often a run was killed.
        write_jsonl(self._out.path / INCIDENTS, [asdict(one) for one in self.incidents])
        lost = collections.Counter[tuple[str, str]]()
        counts = collections.Counter((one.cause, one.action) for one in self.incidents)
        for one in self.incidents:
            lost[one.cause, one.action] += one.lost_s  # type: ignore[assignment]
        effective = max(0.0, 1 - sum(lost.values()) / max(1e-9, self._out.seconds))
        self._out.metric(incidents=len(self.incidents), effective_time=effective)
        rows = [[*key, count, f"{lost[key]:.1f} s"] for key, count in sorted(counts.items())]
        title = f"Incidents, effective training time {effective:.1%}"
        self._out.panel("table", title, columns=["cause", "what was done", "times", "lost"], rows=rows)


def append_incident(path: Path, incident: Incident) -> None:
    """Add a line to a file of incidents, for good, or nothing. Raises OSError if there is no room for it."""
    append_jsonl(path, asdict(incident))


class Held:
    """What a backward pass may change beside gradients (the routers' biases), to be put back before it runs again."""

    def __init__(self, model: nn.Module) -> None:
        self._tensors: list[Tensor] = [one for one in model.parameters() if not one.requires_grad]
        self._kept = [one.detach().clone() for one in self._tensors]

    def put_back(self) -> None:
        for one, kept in zip(self._tensors, self._kept, strict=True):
            one.data.copy_(kept)


def _whole_rows(path: Path, mend: bool) -> list[dict[str, Any]]:
    """The lines of a file of incidents; one that a kill cut off is none, and taken out of it if `mend`."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if mend:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]

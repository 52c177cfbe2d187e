"""What a run of training can go back to, and when it does.

step -> sealed -> saved now and then | broken seal -> restored    steps passed over in a row -> rolled back
"""

import shutil
import time
from collections.abc import Callable
from typing import Any

from puna.base.errors import DiskFullError, MachineError, RunError
from puna.base.output import StageOutput
from puna.parallel.heartbeat import Pulse
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.faults.policy import Cause, Faults
from puna.pretrain.faults.seal import Seal
from puna.pretrain.interval import Interval

_MOST_FLIPS = 3
Log = list[dict[str, float]]


class Recovery:
    """The checkpoints of one run: of nested tensors `state`, and of its `log`, which goes back with them.

    agree: true on every rank if it is true on one.
    """

    def __init__(
        self,
        out: StageOutput,
        state: dict[str, Any],
        faults: Faults,
        seal: Seal,
        pulse: Pulse,
        interval: Interval,
        checkpoints: Checkpoints,
        agree: Callable[[bool], bool],
    ) -> None:
        self.log: Log = []
        self._out, self._state, self._faults, self._agree = out, state, faults, agree
        self._seal, self._pulse, self._interval, self._checkpoints = seal, pulse, interval, checkpoints

    def resumed(self, num_steps: int) -> int:
        """The step to go on from: that of the newest checkpoint, or 0."""
        seconds = self._out.seconds
        found = self._loaded()
        step, kept = found or (0, {"log": []})
        if self._out.attempt > 1 and not self._out.restarts and step < num_steps:
            cause: Cause = "preempted" if kept.get("is_stopped") else "interrupted"
            self._faults.add(step, cause, "resumed", max(0.0, seconds - kept.get("seconds", 0.0)))
        return self._back_at(step, kept)

    def restored(self, step: int) -> int:
        """The step to go on from after a bit has flipped in memory before `step`: nothing is passed over."""
        before = f"before step {step}"
        try:
            with self._pulse.phase("saving"):
                found = self._loaded()
            if found is None:
                what = f"step {step}: weights or optimizer changed in memory"
                raise MachineError(f"{what}, and there is no checkpoint yet; the same command begins anew")
        except MachineError:
            self._faults.add(0, "flipped bit", "restored", 0.0, before)
            raise
        back, kept = found
        self._faults.add(back, "flipped bit", "restored", max(0.0, self._out.seconds - kept["seconds"]), before)
        if sum(one.cause == "flipped bit" and one.step == back for one in self._faults.incidents) > _MOST_FLIPS:
            times = _MOST_FLIPS + 1
            raise RunError(f"step {step}: memory changed {times} times after step {back}; use another machine")
        return self._back_at(back, kept)

    def rolled_back(self, step: int) -> int:
        """As `restored`, after steps that could not be learned from; what led here again is not used twice."""
        last, faults = self._faults.incidents[-1], self._faults
        message = f"step {step}: {last.detail}, computed twice, and so were steps before it"
        message += "; lower lr or look at the data"
        if faults.rollbacks >= faults.config.rollbacks:
            raise RunError(message)
        used = [one.step for one in faults.incidents if one.action == "rolled back"]
        with self._pulse.phase("saving"):
            found = self._loaded(below=used[-1] if used else None)
        if found is None:
            raise RunError(message)
        back, kept = found
        lost = max(0.0, self._out.seconds - kept.get("seconds", 0.0))
        faults.add(back, last.cause, "rolled back", lost, f"from step {step}")
        return self._back_at(back, kept)

    def save(self, step: int, is_stopped: bool = False, is_last: bool = False) -> bool:
        """Make a checkpoint; if there is no room the one before stands, and the next interval tries again (False).

        Nor is one made of weights that changed in memory since the step: the next step finds that and goes back.
        The last one, and one that the run is left after, are waited for. Raises DiskFullError if it is the last.
        """
        if not is_last and self._agree(self._seal.is_broken()):
            return False
        # With the wait for the one before: where writing takes longer than an interval, that is what saving costs.
        began, kept = time.monotonic(), {"log": self.log, "seconds": self._out.seconds, "is_stopped": is_stopped}
        try:
            with self._pulse.phase("saving"):
                self._settle()
                self._checkpoints.save(step, self._state, {**kept, **self._sealed()})
                if is_stopped or is_last:
                    self._checkpoints.wait()
        except DiskFullError as error:
            if is_last:
                raise
            self._went_on(step, error)
            return False
        finally:
            self._interval.saved(time.monotonic() - began)
        return True

    def check_end(self, num_steps: int) -> None:
        """Before the last checkpoint. Raises MachineError if weights changed in memory after the last step."""
        if self._agree(self._seal.is_broken()):
            self._faults.add(num_steps, "flipped bit", "restored", 0.0, "after the last step")
            raise MachineError("weights changed in memory after the last step; the same command goes on")

    def _settle(self) -> None:
        """Wait for the checkpoint before; that it found no room is an incident."""
        try:
            self._checkpoints.wait()
        except DiskFullError as error:
            self._went_on(self._checkpoints.last, error)
        else:
            self._faults.write()

    def _went_on(self, step: int, error: DiskFullError) -> None:
        self._pulse.could_not_save()
        self._faults.add(step, "full disk", "went on", 0.0, str(error))

    def _loaded(self, below: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """The newest checkpoint that is whole and whose weights are those that were sealed; others are incidents.

        Raises MachineError if only weights of a bad one were loaded: the first ones are gone.
        """
        self._settle()
        is_spoiled = False
        while True:
            found = self._checkpoints.load(self._state, below)
            damaged = list(self._checkpoints.damaged)
            is_sound = found is None or not self._is_one() or found[1].get("seal") in (None, str(self._seal.value()))
            if found and not is_sound:
                damaged.append(found[0])
                below, is_spoiled = found[0], True
                shutil.rmtree(self._out.state / f"step-{found[0]}", ignore_errors=True)
            for one in damaged:
                self._faults.add(one, "damaged checkpoint", "used the one before", 0.0)
            if is_sound and found is None and is_spoiled:
                what = "the only checkpoint holds other weights than were learned"
                raise MachineError(f"{what}, and is removed; the same command begins anew")
            if is_sound:
                return found

    def _back_at(self, step: int, kept: dict[str, Any]) -> int:
        self.log = kept["log"]
        self._seal.take(step)
        return step

    def _sealed(self) -> dict[str, str]:
        """What a checkpoint keeps of the seal: of one process alone, as another layout divides tensors otherwise."""
        return {"seal": str(self._seal.taken)} if self._is_one() else {}

    def _is_one(self) -> bool:
        return self._out.mesh.world_size == 1

"""Ranks of one machine under a supervisor: started, watched, and started again when one of them dies or hangs.

    launch -> rank 0 .. R-1 (processes, with torchrun's environment) -> function(send, *arguments)

A rank that dies takes all others with it, and all start again: what they resume from is their own affair (a
checkpoint). Ranks are forked from a server that has imported torch and the function's module, so that a start costs a
tenth of a second. A hung rank leaves its stacks, and with several ranks the flight recorder of their collectives, in
`folder` before it is killed. Ranks do not outlive the supervisor.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from puna.base.errors import InputError, RunError, StoppedError
from puna.base.machine import told_to_stop
from puna.parallel.heartbeat import Heartbeats
from puna.parallel.preflight import slot_name
from puna.parallel.watchdog import Limits, Losses, Silent, Stragglers, Watchdog

HUNG = "hung"
"""Of a run's folder: the traces that hung ranks left."""
_POLL_S = 0.05
_GRACE_S = 0.5
"""After a first death: what the other ranks die of, their reports, and stacks of hung ones arrive."""

EventCause = Literal["killed", "crashed", "hung", "frozen", "straggler"]


@dataclass(frozen=True)
class Event:
    """Something that a supervisor saw. step: that the run goes on from; lost_s: seconds of work that it cost."""

    cause: EventCause
    rank: int
    step: int
    lost_s: float
    detail: str


@dataclass(frozen=True)
class _Failure:
    cause: EventCause
    rank: int
    step: int
    at: float
    detail: str


def launch(
    function: str,
    arguments: Sequence[Any],
    world_size: int,
    folder: Path,
    on_message: Callable[[Any], None] = lambda message: None,
    on_event: Callable[[Event], None] = lambda event: None,
    limits: Limits = Limits(),
    started: Callable[[Heartbeats, dict[int, int]], None] = lambda beats, pids: None,
    preload: Sequence[str] = (),
    slots: Callable[[], Sequence[int]] | None = None,
) -> Any:
    """Run `function` ("module:name", called with `send` and the arguments, picklable) on every rank; rank 0's result.

    What rank 0 gives to `send` comes to `on_message`, every failure and straggler to `on_event`; `started` is told the
    heartbeats and process numbers of each start. Modules of `preload` are imported once for all starts; `slots` says
    at each start which slots of the machine (LOCAL_RANK) the ranks take.

    Raises the PunaError that a rank raised (bad input, a diverged run, StoppedError after SIGTERM, when ranks have
    saved and left), and RunError if they fail again and again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_preloaded(function, preload))
    beats = Heartbeats(folder / "heartbeats", world_size, create=True)
    losses, failure = Losses(beats), None
    best, in_vain, restarts = -1, 0, 0
    with told_to_stop() as stop:
        while True:
            places = slots() if slots else range(world_size)
            with _World(function, arguments, beats, folder, restarts, places) as world:
                started(beats, world.pids)
                ended = _watch(world, beats, limits, losses, failure, stop, on_message, on_event)
            if not isinstance(ended, _Failure):
                return ended[0]
            if stop.is_set():
                raise StoppedError(f"asked to stop: {ended.detail}; the same command goes on from the last checkpoint")
            if failure and not losses.recovered():
                on_event(_event(failure, failure.step, losses.failed_again(failure.at, ended.at)))
            in_vain = 0 if ended.step > best else in_vain + 1
            best, failure, restarts = max(best, ended.step), ended, restarts + 1
            if in_vain >= limits.restarts:
                raise RunError(f"{in_vain + 1} starts ended at step {best} or before: {ended.detail}")


def _watch(
    world: "_World",
    beats: Heartbeats,
    limits: Limits,
    losses: Losses,
    before: _Failure | None,
    stop: threading.Event,
    on_message: Callable[[Any], None],
    on_event: Callable[[Event], None],
) -> dict[int, Any] | _Failure:
    """What every rank returned, or the first failure of one. `before` is the failure that led to this start."""
    watchdog, stragglers = Watchdog(beats, limits, time.monotonic()), Stragglers(beats, limits)
    is_begun = is_told = False
    while True:
        for message in world.messages(_POLL_S):
            on_message(message)
        losses.look()
        if not is_begun and losses.recovered():
            is_begun = True
            step, lost = losses.begun(before.at if before else time.monotonic())
            if before:
                on_event(_event(before, step, lost))
        if stop.is_set() and not is_told:
            is_told = True
            world.signal(signal.SIGTERM)
        if len(world.results) == beats.world_size:
            return world.results
        if dead := world.dead():
            return dead
        if late := watchdog.silent(world.running(), time.monotonic()):
            return world.hung(late)
        for rank, own, usual in stragglers.found():
            detail = f"rank {rank}: {own:.3g} s of its own a step, the median of the ranks {usual:.3g} s"
            on_event(Event("straggler", rank, int(beats.read(rank, "step")), 0.0, detail))


def _event(failure: _Failure, step: int, lost_s: float) -> Event:
    return Event(failure.cause, failure.rank, step, lost_s, failure.detail)


class _World:
    """The processes of one start, ended for certain when the block ends."""

    def __init__(
        self,
        function: str,
        arguments: Sequence[Any],
        beats: Heartbeats,
        folder: Path,
        restarts: int,
        slots: Sequence[int],
    ) -> None:
        self._beats, self._folder, self._errors = beats, folder, dict[int, tuple[float, str]]()
        self.results: dict[int, Any] = {}
        context = multiprocessing.get_context("forkserver")
        port = _free_port()
        self._processes, self._ends = list[Any](), list[Connection]()
        for rank in range(beats.world_size):
            beats.clear(rank)
            ours, theirs = context.Pipe()
            environment = _environment(rank, beats, port, restarts, slots[rank])
            process = context.Process(
                target=_serve, args=(function, pickle.dumps(arguments), rank, environment, theirs, folder)
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._ends.append(ours)
        self.pids: dict[int, int] = {rank: process.pid for rank, process in enumerate(self._processes)}

    def __enter__(self) -> "_World":
        return self

    def __exit__(self, *error: object) -> None:
        if len(self.results) == len(self._processes):
            for process in self._processes:
                process.join(_GRACE_S * 4)
        for process in self._processes:
            process.kill()
            process.join()
            process.close()
        for end in self._ends:
            end.close()

    def running(self) -> dict[int, int]:
        """Process numbers of the ranks that have not returned yet."""
        return {rank: pid for rank, pid in self.pids.items() if rank not in self.results}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all ranks that run."""
        for rank, pid in self.running().items():
            if self._processes[rank].exitcode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def messages(self, timeout_s: float) -> Iterator[Any]:
        """What rank 0 sent; results and errors are put away. Raises what a rank raised on purpose."""
        open_ends = {rank: end for rank, end in enumerate(self._ends) if not end.closed}
        deadline = time.monotonic() + timeout_s
        if not open_ends:
            time.sleep(timeout_s)
        while open_ends and (ready := wait(list(open_ends.values()), max(0.0, deadline - time.monotonic()))):
            for rank in [rank for rank, end in open_ends.items() if end in ready]:
                try:
                    kind, value = open_ends[rank].recv()
                except (EOFError, OSError):
                    open_ends.pop(rank).close()
                    continue
                if kind == "message":
                    if rank == 0:
                        yield value
                elif kind == "result":
                    self.results[rank] = value
                elif kind == "refused":
                    raise value
                else:
                    self._errors[rank] = value
            if time.monotonic() >= deadline:
                return

    def dead(self) -> _Failure | None:
        """The failure if a rank ended without a result: one that a signal killed before one that an error ended, and
        of these the first: errors of the others are mostly that it is gone."""
        if not self._fallen():
            return None
        if len(self._processes) > 1:
            time.sleep(_GRACE_S)
        for _ in self.messages(0.0):
            pass
        fallen = self._fallen()
        for rank, status in fallen.items():
            if status < 0:
                return self._failure("killed", rank, f"rank {rank} was killed by {_signal_name(-status)}")
        if self._errors:
            rank = min(self._errors, key=lambda one: self._errors[one][0])
            return self._failure("crashed", rank, self._errors[rank][1])
        rank, status = min(fallen.items())
        return self._failure("crashed", rank, f"rank {rank} ended with status {status}")

    def hung(self, late: Silent) -> _Failure:
        """The failure of a hung rank, whose stacks are saved first."""
        self.signal(signal.SIGUSR1)
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.send("dump")
        time.sleep(_GRACE_S)
        self._keep_traces()
        what = "is stopped by a signal" if late.stopped else "hangs"
        place = "" if late.stopped else f"; its stacks are in {self._folder / HUNG / stacks_name(late.rank)}"
        detail = f"rank {late.rank} {what}: silent for {late.seconds:.1f} s in {late.phase}{place}"
        return self._failure("frozen" if late.stopped else "hung", late.rank, detail)

    def _keep_traces(self) -> None:
        """Ranks that start again write anew: what those that hung left is put aside."""
        (self._folder / HUNG).mkdir(exist_ok=True)
        for rank in self.pids:
            for name in (stacks_name(rank), recorder_name(rank)):
                if (self._folder / name).exists():
                    os.replace(self._folder / name, self._folder / HUNG / name)

    def _fallen(self) -> dict[int, int]:
        """Exit statuses of ranks that ended without a result."""
        ended = {rank: self._processes[rank].exitcode for rank in self.running()}
        return {rank: status for rank, status in ended.items() if status is not None}

    def _failure(self, cause: EventCause, rank: int, detail: str) -> _Failure:
        return _Failure(cause, rank, int(self._beats.read(rank, "step")), time.monotonic(), detail)


def stacks_name(rank: int) -> str:
    """The file with the stacks of a rank that hung."""
    return f"stacks-{rank}.txt"


def recorder_name(rank: int) -> str:
    """The file with the flight recorder of a rank when one hung."""
    return f"flight-recorder-{rank}.json"


def _serve(
    function: str, arguments: bytes, rank: int, environment: dict[str, str], end: Connection, folder: Path
) -> None:
    """A rank: the function with torchrun's environment, its result or error to the supervisor."""
    _let_server_end()
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to all; the supervisor decides
    os.environ |= environment
    stacks = open(folder / stacks_name(rank), "w")  # noqa: SIM115  it stays open while the process lives
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    threading.Thread(target=_listen, args=(end, folder / recorder_name(rank)), daemon=True).start()
    answer: tuple[str, Any]
    try:
        module, _, name = function.partition(":")
        value = getattr(importlib.import_module(module), name)(
            lambda message: end.send(("message", message)), *pickle.loads(arguments)
        )
        answer = ("result", value)
    except (InputError, RunError, StoppedError) as error:
        answer = ("refused", error)
    except BaseException as error:
        at, path = time.monotonic(), folder / f"error-{rank}.txt"
        path.write_text(traceback.format_exc(), encoding="utf-8")
        line = " ".join(f"{type(error).__name__}: {error}".split())
        answer = ("error", (at, f"rank {rank}: {line[:300]} (the whole in {path})"))
    end.send(answer)
    _leave_world()
    if answer[0] == "error":
        sys.exit(1)


def _listen(end: Connection, recorder: Path) -> None:
    """Beside the function: end this process when the supervisor is gone, write the flight recorder when asked."""
    while True:
        try:
            end.recv()
        except (EOFError, OSError):
            os._exit(1)
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            from torch._C._distributed_c10d import _dump_fr_trace_json  # type: ignore[attr-defined]

            recorder.write_text(str(_dump_fr_trace_json()))


def _leave_world() -> None:
    torch = sys.modules.get("torch.distributed")
    if torch is not None and torch.is_available() and torch.is_initialized():
        with contextlib.suppress(Exception):
            torch.destroy_process_group()


def _let_server_end() -> None:
    """The server ends when nobody holds the pipe any more that says the supervisor lives; every process that it forks
    inherits that pipe, and a stopped one would hold it for ever."""
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    held = getattr(server, "_forkserver_alive_fd", None)
    if held is not None:
        server._forkserver_alive_fd = None
        os.close(held)


def _die_with_parent() -> None:
    """Linux: be killed when the server that forked this process ends, which ends with the supervisor; a stopped
    process too, whose threads see nothing."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _environment(rank: int, beats: Heartbeats, port: int, restarts: int, slot: int) -> dict[str, str]:
    """What torchrun sets too, and where the heartbeats go."""
    size = str(beats.world_size)
    values = {"RANK": str(rank), "LOCAL_RANK": str(slot), "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    values |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PUNA_HEARTBEATS": str(beats.path)}
    values |= {"TORCHELASTIC_RESTART_COUNT": str(restarts), "PUNA_NODE": slot_name(slot)}
    return {**values, "TORCH_FR_BUFFER_SIZE": os.environ.get("TORCH_FR_BUFFER_SIZE", "2000")}


def _preloaded(function: str, more: Sequence[str]) -> list[str]:
    """Modules that the server imports before it forks: `puna.cli` too where it is the program, as ranks import it."""
    program = ["puna.cli"] if "puna.cli" in sys.modules else []
    return ["torch", "torch.distributed", function.partition(":")[0], *more, *program]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return name + (" (the kernel's, if memory ran out)" if number == signal.SIGKILL else "")

"""A training loop of one number for the tests of the supervisor: ranks add up, rank 0 saves after every third step."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from puna.base.errors import ConfigError, StoppedError
from puna.parallel.heartbeat import Pulse

SAVE_EVERY = 3


def train(send: Callable[[Any], None], folder: Path, num_steps: int, faults: dict[str, tuple[str, int, int]]) -> float:
    """x <- x / 2 + the sum over ranks of (rank + 1) * step. `faults`: name of a file that is made when the fault was
    done -> (what, rank, step): it happens once, or always if the name begins with "always"."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    pulse = Pulse.of_environment()
    if world_size > 1:
        dist.init_process_group("gloo", rank=rank, world_size=world_size)
    saved = folder / "saved.json"
    step, x = json.loads(saved.read_text()) if saved.exists() else (0, 0.0)
    pulse.enter("step", step)
    while step < num_steps:
        for name, (what, who, when) in faults.items():
            if who == rank and when == step and not (folder / name).exists():
                if not name.startswith("always"):
                    (folder / name).touch()
                _do(what)
        part = torch.tensor((rank + 1.0) * step, dtype=torch.float64)
        halt = torch.tensor(float(stop.is_set()))
        if world_size > 1:
            dist.all_reduce(part)
            dist.all_reduce(halt)
        x, step = x / 2 + part.item(), step + 1
        pulse.enter("step", step)
        if rank == 0 and (step % SAVE_EVERY == 0 or halt.item()):
            with pulse.phase("saving"):
                saved.with_suffix(".tmp").write_text(json.dumps((step, x)))
                os.replace(saved.with_suffix(".tmp"), saved)
            pulse.saved(step)
        send({"rank": rank, "step": step})
        if halt.item():
            raise StoppedError(f"asked to stop: saved after step {step}; the same command goes on")
    return x


def expected(num_steps: int, world_size: int) -> float:
    x = 0.0
    for step in range(num_steps):
        x = x / 2 + sum((rank + 1.0) * step for rank in range(world_size))
    return x


def orphan(send: Callable[[Any], None], path: Path) -> None:
    """Write the process's number, then wait for ever."""
    path.with_suffix(".tmp").write_text(str(os.getpid()))
    os.replace(path.with_suffix(".tmp"), path)
    time.sleep(600)


def _do(what: str) -> None:
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "hang":
        threading.Event().wait(600)
    elif what == "raise":
        raise ValueError("the wheel\ncame off")
    elif what == "refuse":
        raise ConfigError("lr: expected less, came more")
    elif what == "stop":
        os.kill(os.getppid(), 0)
    elif what == "burn":
        until = time.thread_time() + 0.3
        while time.thread_time() < until:
            pass

"""Processes that act together in a test: started once, asked often."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist

_TIMEOUT_S = 120
_PRELOADED = ["torch._dynamo", "torch.distributed.tensor.parallel", "torch.distributed.pipelining", "sympy"]
"""Imported once, before ranks are forked: the first DTensor of each would take seconds for them."""
_MOST_CALLS = 16
"""Of one world: gloo has threads for each process group that a call makes, and they poll for ever."""


class Ranks:
    """A world of gloo processes with one thread each.

    `call(function, *args)` runs a function of a module's top level on every rank and returns what they return, in order
    (plain values and CPU tensors). If one of them raises, its traceback is raised here and the world begins anew.
    """

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self._processes: list[Any] = []
        self._ends: list[Connection] = []
        self._calls = 0

    def call(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        if self._calls == _MOST_CALLS:
            self.close()
        if not self._processes:
            self._start()
        self._calls += 1
        for end in self._ends:
            end.send((function, args))
        results: dict[int, Any] = {}
        while len(results) < self.world_size:
            missing = [end for rank, end in enumerate(self._ends) if rank not in results]
            ready = wait(missing, timeout=_TIMEOUT_S)
            if not ready:
                self.close()
                raise TimeoutError(
                    f"{function.__name__}: no answer of ranks {sorted(set(range(self.world_size)) - set(results))}"
                )
            for end in ready:
                rank = self._ends.index(end)  # type: ignore[arg-type]
                try:
                    good, value = end.recv()  # type: ignore[union-attr]
                except EOFError:
                    good, value = False, "its process ended"
                if not good:
                    self.close()
                    raise AssertionError(f"rank {rank} of {self.world_size}: {value}")
                results[rank] = value
        return [results[rank] for rank in range(self.world_size)]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.join()
        self._processes, self._ends, self._calls = [], [], 0

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.parallel.ranks", "puna.pretrain.run", *_PRELOADED])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for rank in range(self.world_size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, self.world_size, port, theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._ends.append(ours)


def _serve(rank: int, world_size: int, port: int, end: Connection) -> None:
    """A rank: joins the world, then answers calls until its pipe closes."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    while True:
        try:
            function, args = end.recv()
        except EOFError:
            return
        try:
            answer = (True, function(*args))
        except BaseException:
            answer = (False, traceback.format_exc())
        end.send(answer)

"""One batch divided among processes of one thread: gloo ranks on this machine that add up their gradients.

B rows, T tokens.
"""

import os
import socket
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from benchmarks.interleave import compare, peak_gflops
from benchmarks.trainers import LR, agree, drawn, flops_per_token, row
from puna.base.config import Mesh, num_cores
from puna.base.machine import prepare_machine
from puna.model import Llama, LlamaConfig
from puna.parallel.mesh import World as RankWorld
from puna.pretrain.divided import Divided
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import Batch
from puna.pretrain.loop import LoopConfig, gradients
from puna.pretrain.loss import LossConfig
from puna.pretrain.optim import Optimizer

ROWS = 12
"""Rows a batch: one, two, three and four processes take the same number each."""
TOKENS = 512
MICRO_BATCH = 4
WORLDS = (1, 2, 3, 4)


def processes(shape: LlamaConfig, quick: bool) -> list[dict[str, Any]]:
    """Steps of several processes beside those of one, a thread each; and of one process with all cores."""
    steps, turns = (1, 2) if quick else (4, 5)
    one, rows = World(1, 1, shape), []
    for size in WORLDS:
        name = f"{size} processes" if size > 1 else f"1 process, {num_cores()} threads"
        world = World(size, 1 if size > 1 else num_cores(), shape)
        one.begin_anew()
        found = compare(lambda world=world: world.train(steps), lambda: one.train(steps), turns)
        share = flops_per_token(shape, TOKENS) * found["ours"] / 1e9 / peak_gflops()
        rows.append(row(name, "1 process", found, agree(world.losses, one.losses), share))
        world.close()
    one.close()
    return rows


class World:
    """Ranks with the same weights, started once; they sleep until they are asked to train."""

    def __init__(self, size: int, threads: int, shape: LlamaConfig) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        self._ends, self._processes, self.losses = [], [], list[float]()
        for rank in range(size):
            end, other = context.Pipe()
            process = context.Process(target=_serve, args=(rank, size, threads, port, shape, other), daemon=True)
            process.start()
            other.close()
            self._ends.append(end)
            self._processes.append(process)

    def train(self, steps: int) -> float:
        """So many optimizer steps; the tokens that they learned."""
        for end in self._ends:
            end.send(steps)
        parts = [end.recv() for end in self._ends]
        self.losses += parts[0]
        return float(steps * ROWS * TOKENS)

    def begin_anew(self) -> None:
        """Take the first weights again, and no losses."""
        for end in self._ends:
            end.send(0)
            end.recv()
        self.losses.clear()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.join()


class Rank:
    """One process of a world: all weights, its rows of each batch, one sum of all gradients (mesh.replicas)."""

    def __init__(self, size: int, shape: LlamaConfig, row_tokens: int = TOKENS, micro_batch: int = MICRO_BATCH) -> None:
        self._config = LoopConfig(micro_batch=micro_batch)
        self._world = RankWorld(Mesh(replicas=size), torch.device("cpu"))
        settings = (row_tokens, micro_batch, LossConfig(), ExpertsConfig())
        self._divided = Divided(shape, self._world, Llama(shape).named_parameters(), *settings)
        self._backward = self._divided.backward()
        self.model = self._divided.model
        self._optimizer = Optimizer(self.model, self._config)

    def step(self, batch: Batch) -> float:
        """An optimizer step; the mean loss of the whole batch."""
        own = (self._world.own(one) for one in (batch.tokens, batch.targets, batch.positions, batch.documents))
        row = gradients(self.model, Batch(*own), self._config, self._backward, self._divided.together())
        self._optimizer.step(LR)
        return row["loss"]


def _serve(rank: int, size: int, threads: int, port: int, shape: LlamaConfig, end: Connection) -> None:
    """A rank: so many steps for every number that comes, first weights again for a 0."""
    prepare_machine(threads)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=size)
    batches, done, one = drawn(shape, ROWS, TOKENS, count=8), 0, Rank(size, shape)
    while True:
        steps, losses = end.recv(), []
        if not steps:
            one, done = Rank(size, shape), 0
        for _ in range(steps):
            losses.append(one.step(batches[done % len(batches)]))
            done += 1
        end.send(losses)

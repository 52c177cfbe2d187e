"""One batch divided among processes of one thread: gloo ranks on this machine that add up their gradients.

B rows, T tokens.
"""

import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn

from benchmarks.interleave import compare, peak_gflops
from benchmarks.trainers import LR, agree, drawn, flops_per_token, row
from puna.base.config import num_cores
from puna.base.machine import prepare_machine
from puna.model import Llama, LlamaConfig
from puna.pretrain.loader import Batch
from puna.pretrain.loop import LoopConfig, plain_loss
from puna.pretrain.optim import Optimizer

ROWS = 12
"""Rows a batch: one, two, three and four processes take the same number each."""
TOKENS = 512
MICRO_BATCH = 4
WORLDS = (1, 2, 3, 4)

Step = Callable[[nn.Module, Optimizer, Batch, int, LoopConfig], float]
"""An optimizer step of one rank on its rows of a batch with so many targets in all; its part of the mean loss."""


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
        self.losses += [sum(losses) for losses in zip(*parts)]
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


def data_parallel_step(model: nn.Module, optimizer: Optimizer, batch: Batch, targets: int, config: LoopConfig) -> float:
    """Every rank has all weights, its rows of the batch, and one all-reduce of all gradients at the end."""
    total = 0.0
    for part in batch.split(config.micro_batch):
        loss = plain_loss(model, part)[0] / targets
        loss.backward()
        total += loss.item()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([one.numel() for one in gradients])):
        gradient.copy_(summed.view_as(gradient))
    nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step(LR)
    return total


def _serve(
    rank: int, size: int, threads: int, port: int, shape: LlamaConfig, end: Connection, step: Step = data_parallel_step
) -> None:
    """A rank: so many steps for every number that comes, first weights again for a 0."""
    prepare_machine(threads)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=size)
    batches, config, done = drawn(shape, ROWS, TOKENS, count=8), LoopConfig(micro_batch=MICRO_BATCH), 0
    model, optimizer = _beginning(shape, config)
    while True:
        steps, losses = end.recv(), []
        if not steps:
            model, optimizer = _beginning(shape, config)
            done = 0
        for _ in range(steps):
            batch = batches[done % len(batches)]
            mine = batch.split(ROWS // size)[rank]
            losses.append(step(model, optimizer, mine, batch.num_targets, config))
            done += 1
        end.send(losses)


def _beginning(shape: LlamaConfig, config: LoopConfig) -> tuple[Llama, Optimizer]:
    model = Llama(shape)
    return model, Optimizer(model, config)

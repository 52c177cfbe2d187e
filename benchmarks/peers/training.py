"""The training loop of a peer, plain PyTorch as its users write it, driven over a pipe by benchmarks/train.py.

A worker says what its model is; this file is read in the peer's own environment and knows nothing of puna.

B rows, T tokens.
"""

import ctypes
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Build = Callable[[dict[str, Any], dict[str, Tensor]], tuple[nn.Module, Callable[..., Tensor]]]
"""From the sizes of a Llama and its weights by Hugging Face's names: the model, and its mean loss of (tokens, targets,
mask): each [B, T], the mask of real tokens None where all of them are. Targets of -100 are not learned."""


class Training:
    """One model and the optimizer that puna uses too: fused AdamW, betas .9/.95, decay .1 on matrices, clip 1."""

    def __init__(self, build: Build) -> None:
        self._build = build

    def prepare(self, threads: int, allocator: bool) -> int:
        """Set the threads; with `allocator` also glibc's thresholds as puna does, which is no peer's habit."""
        torch.set_num_threads(threads)
        if allocator:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-3, 1 << 30)
            libc.mallopt(-1, (1 << 31) - 1)
        return torch.get_num_threads()

    def load(self, shape: dict[str, Any], weights: str, compiled: bool, half: bool = False) -> int:
        """Make the model, with products in bfloat16 if `half`; its number of parameters."""
        self._model, loss = self._build(shape, torch.load(weights))
        run = torch.compile(loss) if compiled else loss

        def in_dtype(*batch: Tensor | None) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                found: Tensor = run(*batch)
            return found

        self._loss = in_dtype
        parameters = list(self._model.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
        return sum(p.numel() for p in parameters)

    def batches(self, path: str) -> int:
        """Read the batches to train on, in turn and without end."""
        found = torch.load(path)
        self._batches: Iterator[tuple[Tensor, Tensor, Tensor | None]] = itertools.cycle(found)
        return len(found)

    def losses(self, count: int) -> list[float]:
        """The mean loss of each of the next batches, without learning from them."""
        with torch.no_grad():
            return [self._loss(*next(self._batches)).item() for _ in range(count)]

    def train(self, steps: int) -> dict[str, Any]:
        """So many optimizer steps: the loss of each, and over how many targets they went."""
        losses, targets = [], 0
        for tokens, wanted, mask in itertools.islice(self._batches, steps):
            loss = self._loss(tokens, wanted, mask)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
            targets += int((wanted != -100).sum())
        return {"losses": losses, "targets": targets}


def serve(build: Build) -> None:
    """Answer requests until the pipe closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    training = Training(build)
    for request in sys.stdin:
        verb, arguments = json.loads(request)
        print(json.dumps(getattr(training, verb)(**arguments)), file=answers, flush=True)

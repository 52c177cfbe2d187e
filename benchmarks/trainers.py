"""Trainers to run beside each other: our loop in this process, and those of peers in processes of their own.

B rows, T tokens.
"""

import copy
import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peer import Peer
from puna.model import Llama, LlamaConfig
from puna.model.compiled import compile_layers
from puna.model.convert.huggingface import huggingface_name
from puna.pretrain.computing import has_compiler
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import Batch
from puna.pretrain.loop import LoopConfig, train_step
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining
from puna.pretrain.optim import Optimizer

LR = 1e-3
PYTHON = {"transformers": Path(sys.executable)}
"""Peers that run in our own environment."""


class Ours:
    """Our training step, over `batches` in turn and without end, on a copy of `model`. `losses`: of every step so far.

    compiled: layers through torch.compile, if there is a C++ compiler; dtype: of the products.
    """

    def __init__(
        self,
        model: Llama,
        batches: list[Batch],
        micro_batch: int,
        compiled: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        model = copy.deepcopy(model)
        if compiled and has_compiler():
            compile_layers(model)
        self.model, self._batches = model, itertools.cycle(batches)
        self._config = LoopConfig(micro_batch=micro_batch)
        self._optimizer = Optimizer(model, self._config)
        self._backward = pretraining(micro_batch, LossConfig(), ExpertsConfig(), dtype=dtype)
        self.losses: list[float] = []

    def train(self, steps: int) -> float:
        """So many optimizer steps; the targets that they learned."""
        targets = 0.0
        for batch in itertools.islice(self._batches, steps):
            row = train_step(self.model, self._optimizer, batch, LR, self._config, self._backward)
            self.losses.append(row["loss"])
            targets += row["targets"]
        return targets


@dataclass(frozen=True)
class Kind:
    """Which peer, and how: through torch.compile, with glibc's thresholds raised as ours, with products in bfloat16."""

    peer: str
    compiled: bool = False
    allocator: bool = False
    half: bool = False

    def __str__(self) -> str:
        return " ".join([self.peer, *["compiled"] * self.compiled, *["with our allocator"] * self.allocator])


class Theirs:
    """A peer's training step in a process of its own. Raises FileNotFoundError if the peer is not installed."""

    def __init__(self, kind: Kind, folder: Path, threads: int) -> None:
        self._peer = Peer(kind.peer, PYTHON.get(kind.peer))
        self._peer.ask("prepare", threads=threads, allocator=kind.allocator)
        how = {"compiled": kind.compiled, "half": kind.half}
        self._peer.ask("load", **torch.load(folder / "shape"), weights=str(folder / "weights"), **how)
        self.losses: list[float] = []

    def read(self, batches: Path) -> "Theirs":
        """Train on these from now on."""
        self._peer.ask("batches", path=str(batches))
        return self

    def train(self, steps: int) -> float:
        """As `Ours.train`."""
        answer = self._peer.ask("train", steps=steps)
        self.losses += answer["losses"]
        return float(answer["targets"])

    def measure(self, count: int) -> list[float]:
        """The mean loss of each of the next batches, without learning from them."""
        found: list[float] = self._peer.ask("losses", count=count)
        return found

    def close(self) -> None:
        """End its process."""
        self._peer.__exit__(None, None, None)


def write_model(model: Llama, folder: Path) -> None:
    """What `Theirs` begins with: the shape, and the weights by Hugging Face's names."""
    torch.save({"shape": asdict(model.config)}, folder / "shape")
    torch.save({huggingface_name(n): p.detach().clone() for n, p in model.named_parameters()}, folder / "weights")


def write_batches(batches: list[Batch], path: Path) -> None:
    """The same batches for a peer: whole rows, without a mask."""
    torch.save([(batch.tokens, batch.targets, None) for batch in batches], path)


def drawn(shape: LlamaConfig, rows: int, tokens: int, count: int) -> list[Batch]:
    """Batches [B, T] of random tokens, each row one document."""
    generator = torch.Generator().manual_seed(0)
    return [whole_rows(torch.randint(shape.vocab_size, (rows, tokens + 1), generator=generator)) for _ in range(count)]


def whole_rows(ids: Tensor) -> Batch:
    """The batch [B, T] of ids [B, T + 1]: each row one document, each token the target of the one before it."""
    rows, tokens = ids.shape[0], ids.shape[1] - 1
    positions = torch.arange(tokens).expand(rows, tokens)
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), positions, torch.zeros_like(positions))


def flops_per_token(shape: LlamaConfig, seen: float) -> float:
    """Of a training step: 6 a parameter, and 6 L H C a token of the document of `seen` tokens, causal."""
    return 6 * (shape.num_met_parameters() + shape.layers * shape.heads * shape.head_dim * seen)


def row(
    case: str, peer: str, found: dict[str, Any], same: bool, share: float, unit: str = "tokens/s"
) -> dict[str, Any]:
    """A row of results. same: whether the results are; share: our part of the matmul peak of the same minutes."""
    names = {"bench": "train", "case": case, "peer_name": peer, "unit": unit}
    return {**names, **found, "same_result": same, "peak_fraction": share}


def agree(ours: list[float], theirs: list[float], limit: float = 1e-3) -> bool:
    """Whether losses of the same steps are the same: to `limit`, relative, of the first ones that both have."""
    pairs: Iterator[tuple[float, float]] = zip(ours[:_COMPARED], theirs[:_COMPARED])
    return all(abs(a - b) <= limit * abs(b) for a, b in pairs) and bool(ours and theirs)


_COMPARED = 20
"""Steps whose losses are compared; rounding grows with every step that follows."""

"""Training steps (forward, backward, clip, AdamW) of our loop beside transformers and litgpt: same weights and data.

python -m benchmarks.train [--case nano|S|M|packed|length|processes] [--data DIR] [--dtype bfloat16] [--quick] [--json]

fp32 on all cores, in turns; ours with compiled layers, and eager beside it. Peers run in processes of their own, each
as its users run it: eager and through torch.compile (compiling is not timed), whole batches at once. `--allocator`:
and once more with the allocator's settings that our loop makes and they do not. `--dtype bfloat16`: products of the
shapes in bf16 for all, where cores have hardware for it. `--quick`: eager peers, fewer and shorter turns, nothing
recorded.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.interleave import compare_all, peak_gflops, publish
from benchmarks.peer import skip
from benchmarks.train_processes import processes
from benchmarks.train_text import length, packed
from benchmarks.trainers import Kind, Ours, Theirs, agree, drawn, flops_per_token, row, write_batches, write_model
from puna.base.config import num_cores
from puna.base.machine import prepare_machine
from puna.model import Llama, LlamaConfig


@dataclass(frozen=True)
class Case:
    """A shape (D, L, H, K, F, V), a batch, the rows of it that go through our model at once, and steps a turn."""

    sizes: tuple[int, int, int, int, int, int]
    rows: int
    tokens: int
    micro_batch: int
    steps: int

    @property
    def shape(self) -> LlamaConfig:
        return LlamaConfig(*self.sizes, max_position=self.tokens)


CASES = {
    "nano": Case((128, 4, 4, 2, 352, 2048), 8, 256, 8, 12),
    "S": Case((192, 6, 6, 2, 512, 4096), 8, 512, 4, 2),
    "M": Case((512, 8, 8, 4, 1408, 8192), 4, 512, 4, 1),
}
TURNS = 11


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    default = Path(os.environ.get("PUNA_SHARED_DATA", "../shared/data"))
    parser.add_argument("--case", choices=[*CASES, "packed", "length", "processes"], help="one case only")
    parser.add_argument("--data", type=Path, default=default, help="texts for packed and length ($PUNA_SHARED_DATA)")
    parser.add_argument("--allocator", action="store_true", help="peers with our allocator's settings too")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of nano, S and M, for all")
    parser.add_argument("--quick", action="store_true", help="at most a minute a case, nothing recorded")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    options = parser.parse_args()
    prepare_machine(num_cores())
    shape = CASES["S"].shape
    others: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "packed": lambda: packed(shape, options.data, options.quick),
        "length": lambda: length(shape, options.data, options.quick),
        "processes": lambda: processes(shape, options.quick),
    }
    for name in [options.case] if options.case else [*CASES, *others]:
        if name in ("packed", "length") and not options.data.is_dir():
            skip(FileNotFoundError(f"{name}: expected texts at {options.data}; give --data"))
            continue
        dtype = getattr(torch, options.dtype)
        found = others[name]() if name in others else beside_peers(name, options.quick, options.allocator, dtype)
        publish(found, options.quick)


def beside_peers(name: str, quick: bool, allocator: bool, dtype: torch.dtype = torch.float32) -> list[dict[str, Any]]:
    """Our steps of a case beside those of every peer that is installed: a row for each."""
    case = CASES[name]
    model, batches = Llama(case.shape), drawn(case.shape, case.rows, case.tokens, count=20)
    ways = [(compiled, own) for own in (False, True)[: 1 + allocator] for compiled in (False, True)[: 2 - quick]]
    half = dtype == torch.bfloat16
    kinds = [Kind(peer, *way, half) for way in ways for peer in ("transformers", "litgpt")]
    turns, steps = (2, max(1, case.steps // 3)) if quick else (TURNS, case.steps)
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as open_peers:
        peers = started(kinds, model, Path(folder), open_peers)
        write_batches(batches, Path(folder) / "batches")
        ours, eager = (Ours(model, batches, case.micro_batch, compiled, dtype) for compiled in (True, False))
        trainers: dict[str, Ours | Theirs] = {"ours, eager": eager, **peers}
        works = {kind: (lambda trainer=trainer: trainer.train(steps)) for kind, trainer in trainers.items()}
        for peer in peers.values():
            peer.read(Path(folder) / "batches")
        found = compare_all(
            lambda: ours.train(steps), works, turns, after_turn=lambda: peaks.append(peak_gflops(dtype))
        )
    share = flops_per_token(case.shape, case.tokens) / 1e9 / statistics.median(peaks)
    title, limit = (f"{name} bfloat16", 1e-2) if half else (name, 1e-3)
    return [
        row(title, peer, rates, agree(ours.losses, trainers[peer].losses, limit), share * rates["ours"])
        for peer, rates in found.items()
    ]


def started(kinds: list[Kind], model: Llama, folder: Path, stack: contextlib.ExitStack) -> dict[str, Theirs]:
    """The peers with the weights of `model`, ended with `stack`; one that is not installed is named and left out."""
    write_model(model, folder)
    peers = {}
    for kind in kinds:
        try:
            peers[str(kind)] = stack.enter_context(contextlib.closing(Theirs(kind, folder, num_cores())))
        except FileNotFoundError as error:
            skip(error)
    return peers


if __name__ == "__main__":
    main()

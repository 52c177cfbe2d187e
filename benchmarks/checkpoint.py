"""How long training stands still for a checkpoint, at once and in the background, and whether memory stays flat.

    python -m benchmarks.checkpoint [--saves 50] [--few 8] [--folder FOLDER]

Between saves nothing is trained: the next waits until the one before is written, and that wait is not counted.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from puna.base.machine import prepare_machine
from puna.model import Llama, LlamaConfig
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.optim import Optimizer, OptimizerConfig

SHAPES = {
    "1M": LlamaConfig(dim=128, layers=4, heads=4, kv_heads=2, ffn_dim=352, vocab_size=2048, max_position=1024),
    "50M": LlamaConfig(dim=512, layers=14, heads=8, kv_heads=4, ffn_dim=1536, vocab_size=16384, max_position=1024),
}
ROW = {"step": 1, "tokens": 2048, "loss": 3.123456789, "targets": 1811, "lr": 0.001, "grad_norm": 0.5123456}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--saves", type=int, default=50)
    parser.add_argument("--few", type=int, default=8, help="saves of the larger model, and of those at once")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    prepare_machine(1)
    for name, shape in SHAPES.items():
        for background in (False, True):
            folder = Path(tempfile.mkdtemp(dir=options.folder))
            try:
                many = name == "1M" and background
                measure(name, shape, background, folder, options.saves if many else options.few)
            finally:
                shutil.rmtree(folder)


def measure(name: str, shape: LlamaConfig, background: bool, folder: Path, saves: int) -> None:
    model = Llama(shape)
    tensors: dict[str, Any] = {"model": dict(model.named_parameters())}
    tensors["optimizer"] = Optimizer(model, OptimizerConfig()).tensors()
    log = {"log": [ROW] * 1200, "seconds": 1.0}
    still, busy, whole, resident = [], [], [], []
    with Checkpoints(folder, background=background) as checkpoints:
        for step in range(1, saves + 1):
            with torch.no_grad():
                next(model.parameters()).add_(1.0)
            start, cpu = time.perf_counter(), time.thread_time()
            checkpoints.save(step, tensors, log)
            still.append(time.perf_counter() - start)
            busy.append(time.thread_time() - cpu)
            checkpoints.wait()
            whole.append(time.perf_counter() - start)
            resident.append(_resident_mib())
    how = "in the background" if background else "at once"
    after = ", ".join(f"{resident[i]:.0f}" for i in (0, 1, saves // 2, saves - 1))
    print(
        f"{name} ({model.config.num_parameters():,} parameters), {how}, {saves} saves: stands still "
        f"{1e3 * statistics.median(still):.1f} ms (first {1e3 * still[0]:.1f}, most {1e3 * max(still[1:]):.1f}), of it "
        f"{1e3 * statistics.median(busy):.1f} ms of CPU, "
        f"written after {1e3 * statistics.median(whole):.0f} ms; MiB resident after saves 1, 2, half, all: {after}",
        flush=True,
    )


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


if __name__ == "__main__":
    main()

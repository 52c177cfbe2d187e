"""What the hash against silent corruption costs: python -m benchmarks.seal

A seal is taken and compared once a step, so a step pays twice the time below. One thread, CPU seconds: other work on
the machine does not count.
"""

import time

import torch

from puna.pretrain.faults.seal import Seal

_TIMES = 7


def main() -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    for layers, dim in ((4, 128), (24, 576)):
        shapes = [(dim, dim)] * 4 + [(dim, 3 * dim)] * 3
        count = sum(a * b for a, b in shapes) * layers
        held = {f"{i}": {f"{j}": torch.ones(s) for j, s in enumerate(shapes)} for i in range(3 * layers)}
        seal, best = Seal(held, 1), float("inf")
        for _ in range(_TIMES):
            began = time.thread_time()
            seal.value()
            best = min(best, time.thread_time() - began)
        num_bytes = 12 * count
        print(
            f"{count / 1e6:.1f}M parameters with AdamW ({num_bytes / 1e6:,.0f} MB): {best * 1e3:.2f} ms a hash, "
            f"{num_bytes / best / 1e9:.1f} GB/s"
        )


if __name__ == "__main__":
    main()

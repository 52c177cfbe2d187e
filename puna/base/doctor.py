"""What this machine can do, measured rather than assumed."""

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from puna.base.config import num_cores

_SIZE = 1024
_SLOW_GFLOPS = 5.0
_TIMES = 15  # the best of so many products: one of them is not disturbed by what else runs


def examine() -> dict[str, Any]:
    """Cores, memory, disk, accelerators, and the measured speed of each dtype's matrix product in GFLOP/s."""
    speeds = {name: matmul_gflops(dtype) for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))}
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cores": num_cores(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "float32_gflops": round(speeds["float32"], 1),
        "bfloat16_gflops": round(speeds["bfloat16"], 1),
        "fastest_dtype": max(speeds, key=lambda name: speeds[name]),
        "copy_gb_per_s": round(copy_gb_per_s(), 1),
        "compiler": shutil.which("c++") or shutil.which("g++") or "none (torch.compile is off)",
    }


def matmul_gflops(dtype: torch.dtype, device: str = "cpu") -> float:
    """Measured speed of a square matrix product, best of fifteen, in GFLOP/s: of size 1024, on an accelerator 8192.

    A dtype that is very slow (bfloat16 without hardware for it) is measured at size 128, or it would take minutes.
    """
    if device != "cpu":
        return _best_gflops(dtype, 8 * _SIZE, device)
    if dtype == torch.float32:  # no CPU is slow at it; a first small product, with cold threads, would only seem so
        return _best_gflops(dtype, _SIZE, device)
    small = _best_gflops(dtype, _SIZE // 8, device)
    return small if small < _SLOW_GFLOPS else _best_gflops(dtype, _SIZE, device)


def _best_gflops(dtype: torch.dtype, size: int, device: str) -> float:
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(_TIMES):
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # which waits for the accelerator
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def copy_gb_per_s() -> float:
    """Measured memory bandwidth of a copy (bytes read and written) in GB/s."""
    source = torch.ones(32 << 20)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.numel() * 4 / best / 1e9


def memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

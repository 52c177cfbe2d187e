"""Ours and a peer in turn (A B A B ...), so that a machine whose speed drifts is fair to both."""

import datetime
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from puna.base.doctor import matmul_gflops

RESULTS = Path(__file__).with_name("RESULTS.md")


def compare(ours: Callable[[], float], peer: Callable[[], float], runs: int, warm_up: int = 1) -> dict[str, Any]:
    """Medians of work per second of both, each call returning the work it did, and the ratio pair by pair."""
    pairs = []
    for number in range(runs + warm_up):
        rates = [_rate(ours), _rate(peer)]
        if number >= warm_up:
            pairs.append(rates)
    ratios = [a / b for a, b in pairs]
    return {
        "ours": statistics.median(a for a, _ in pairs),
        "peer": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "runs": runs,
    }


def peak_gflops(dtype: torch.dtype = torch.float32, device: str = "cpu") -> float:
    """The matmul peak of this minute, which speeds are given as a fraction of."""
    return matmul_gflops(dtype, device)


def publish(rows: list[dict[str, Any]], quick: bool, device: str = "cpu") -> None:
    """Print one JSON object a row; a full run also adds a dated table to RESULTS.md."""
    for row in rows:
        print(json.dumps(row))
    if quick:
        return
    commit = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True).stdout.strip()
    where = (
        f"{platform.machine()}, {torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    )
    where += f", torch {torch.__version__}"
    lines = [f"\n## {datetime.date.today()}, commit {commit or 'unknown'}, {where}\n"]
    lines += [
        "| bench | case | ours | peer | unit | ratio (min to max) | same result | of peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        ratio = f"{r['ratio']:.2f} ({r['ratio_min']:.2f} to {r['ratio_max']:.2f})"
        lines.append(
            f"| {r['bench']} | {r['case']} | {r['ours']:,.0f} | {r['peer']:,.0f} ({r['peer_name']}) | {r['unit']} "
            f"| {ratio} "
            f"| {'yes' if r['same_result'] else 'NO'} | {r['peak_fraction']:.2f} |"
        )
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _rate(work: Callable[[], float]) -> float:
    start = time.perf_counter()
    amount = work()
    return amount / (time.perf_counter() - start)

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
_ANSWERS = {True: "yes", False: "NO", None: "not compared"}
"""Whether both did the same, as RESULTS.md says it."""


def compare(ours: Callable[[], float], peer: Callable[[], float], runs: int, warm_up: int = 1) -> dict[str, Any]:
    """Medians of work per second of both, each call returning the work it did, and the ratio pair by pair."""
    return compare_all(ours, {"": peer}, runs, warm_up)[""]


def compare_all(
    ours: Callable[[], float],
    peers: dict[str, Callable[[], float]],
    runs: int,
    warm_up: int = 1,
    after_turn: Callable[[], object] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """The same beside several peers by name, in turns of all of them; `after_turn` is not timed."""
    turns = []
    for number in range(runs + warm_up):
        rates = {"ours": _rate(ours)} | {f"peer {name}": _rate(work) for name, work in peers.items()}
        if number >= warm_up:
            turns.append(rates)
            after_turn()
    mine = [turn["ours"] for turn in turns]
    rows = {}
    for name in peers:
        theirs = [turn[f"peer {name}"] for turn in turns]
        ratios = [a / b for a, b in zip(mine, theirs)]
        rows[name] = {
            "ours": statistics.median(mine),
            "peer": statistics.median(theirs),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "runs": runs,
        }
    return rows


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
            f"| {_ANSWERS[r['same_result']]} | {r['peak_fraction']:.2f} |"
        )
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _rate(work: Callable[[], float]) -> float:
    start = time.perf_counter()
    amount = work()
    return amount / (time.perf_counter() - start)

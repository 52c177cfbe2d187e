"""Before ranks start: is each node fit? Disk, memory, clock, matrix products (speed and result), bandwidth to peers.

    checks (this node) -> with several: all nodes' figures beside each other -> the unfit are put in quarantine

A check says what was expected, what came, and the verdict. A node is a host, or under a supervisor of one machine a
slot of it (one accelerator, "host:3"). Nodes in quarantine are a file of the run: their ranks leave with a clear line,
so that torchrun (--nnodes MIN:MAX) takes a spare host, and the supervisor takes a spare slot.
"""

import os
import shutil
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from puna.base.config import Config
from puna.base.doctor import memory_bytes
from puna.base.errors import ArtifactError, MachineError
from puna.base.files import read_json, write_json
from puna.base.rng import generator

QUARANTINE = "quarantine.json"
_SIZE, _TIMES = 256, 5
_BANDWIDTH_BYTES = 1 << 20
_MODULUS, _NUM_SIGNS = 7, 16


class PreflightConfig(Config):
    """What a node must have. Times of the clock and speeds are compared with the median of the nodes: `clock_s` apart
    at most, at least `speed_share` of it."""

    disk_gb: float = 1.0
    memory_gb: float = 0.5
    clock_s: float = 5.0
    speed_share: float = 0.5


@dataclass(frozen=True)
class Check:
    """One check of one node."""

    node: str
    name: str
    expected: str
    came: str
    is_good: bool

    def line(self) -> str:
        """As it is shown."""
        return f"{self.node}: {self.name}: expected {self.expected}, came {self.came}"


@dataclass(frozen=True)
class Figures:
    """What a node measured of itself."""

    node: str
    disk_gb: float
    memory_gb: float
    clock_s: float
    gflops: float
    is_right: bool
    peer_gb_per_s: float = 0.0


def node_name() -> str:
    """This process's node: its slot under a supervisor, else the host."""
    return os.environ.get("PUNA_NODE") or socket.gethostname()


def slot_name(slot: int) -> str:
    """A slot of this machine as a node."""
    return f"{socket.gethostname()}:{slot}"


def measure(folder: Path) -> Figures:
    """This node's figures; `folder` is where a run writes. Where ranks are joined, an all-reduce's bandwidth too."""
    gflops, is_right = _products()
    together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    bandwidth = _bandwidth() if together else 0.0  # after which all ranks are at the same place
    return Figures(
        node_name(),
        shutil.disk_usage(folder).free / 1e9,
        available_memory_bytes() / 1e9,
        time.time(),
        gflops,
        is_right,
        bandwidth,
    )


def judge(figures: Sequence[Figures], config: PreflightConfig = PreflightConfig()) -> list[Check]:
    """All checks of all nodes; clocks and speeds against the median."""
    clock = statistics.median(one.clock_s for one in figures)
    gflops = statistics.median(one.gflops for one in figures) * config.speed_share
    peers = statistics.median(one.peer_gb_per_s for one in figures) * config.speed_share
    checks = []
    for one in figures:
        rows = [
            ("disk", f"{config.disk_gb:.3g} GB", f"{one.disk_gb:.1f} GB", one.disk_gb >= config.disk_gb),
            ("memory", f"{config.memory_gb:.3g} GB", f"{one.memory_gb:.1f} GB", one.memory_gb >= config.memory_gb),
            ("matrix product", "the exact result", "it" if one.is_right else "another", one.is_right),
            ("matrix speed", f"{gflops:.3g} GFLOP/s", f"{one.gflops:.3g} GFLOP/s", one.gflops >= gflops),
        ]
        if len(figures) > 1:
            apart = abs(one.clock_s - clock)
            rows.append(("clock", f"within {config.clock_s:.3g} s", f"{apart:.2f} s apart", apart <= config.clock_s))
            speed = one.peer_gb_per_s
            rows.append(("peers", f"{peers:.3g} GB/s", f"{speed:.3g} GB/s", speed >= peers))
        checks += [Check(one.node, name, expected, came, good) for name, expected, came, good in rows]
    return checks


def preflight(folder: Path, run: Path, config: PreflightConfig = PreflightConfig()) -> list[Check]:
    """Measure, compare with the other ranks' nodes, put the unfit in quarantine; all checks.

    In a process group every rank calls it and gets the same. Raises MachineError on the ranks of an unfit node, and of
    one that is in quarantine already.
    """
    node = node_name()
    held = quarantined(run)
    if node in held:
        raise MachineError(f"{node} is in quarantine ({held[node]}): use another, or take it out of {run / QUARANTINE}")
    mine, figures = measure(folder), list[Figures]()
    if dist.is_available() and dist.is_initialized():
        found: list[Figures | None] = [None] * dist.get_world_size()
        dist.all_gather_object(found, mine)
        figures = [one for one in found if one]
    else:
        figures = [mine]
    checks = judge(figures, config)
    bad = [one for one in checks if not one.is_good]
    if bad and figures[0].node == node:
        for one in bad:
            quarantine(run, one.node, one.line())
    if len(figures) > 1:
        dist.barrier()  # nobody leaves before it is written
    for one in bad:
        if one.node == node:
            raise MachineError(f"{one.line()}; the node is in quarantine, use a spare")
    return checks


def quarantined(run: Path) -> dict[str, str]:
    """Nodes in quarantine, with the reason."""
    if not (run / QUARANTINE).exists():
        return {}
    held = read_json(run / QUARANTINE)
    if not isinstance(held, dict):
        raise ArtifactError(f"{run / QUARANTINE}: expected nodes with reasons, came {type(held).__name__}")
    return held


def quarantine(run: Path, node: str, reason: str) -> None:
    """Put a node in quarantine for this run."""
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / QUARANTINE, {**quarantined(run), node: reason})


def fit_slots(num_slots: int, num_needed: int, run: Path) -> list[int]:
    """The first slots of this machine that are not in quarantine: a spare takes the place of a bad one.

    Raises MachineError if too few are left.
    """
    held = quarantined(run)
    fit = [slot for slot in range(num_slots) if slot_name(slot) not in held]
    if len(fit) < num_needed:
        reasons = "; ".join(held[slot_name(slot)] for slot in range(num_slots) if slot not in fit)
        raise MachineError(f"expected {num_needed} fit slots of {num_slots}, came {len(fit)}: {reasons}")
    return fit[:num_needed]


def available_memory_bytes() -> int:
    """Memory that processes can still take: Linux's estimate, elsewhere all there is."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return memory_bytes()


def _products() -> tuple[float, bool]:
    """Best speed of a fixed product in GFLOP/s, and whether its result was right every time.

    Small whole numbers, so that float32 is exact in any order of the sums, and C = A B is checked by C x = A (B x) for
    random x of -1 and 1 in float64 (Freivalds 1977): an error escapes sixteen of them once in 65,536 times.
    """
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    size = _SIZE if device.type == "cpu" else 16 * _SIZE
    numbers = torch.arange(size)
    a = (numbers[:, None] * numbers[None, :] % _MODULUS).float()
    b = ((numbers[:, None] + 3 * numbers[None, :]) % _MODULUS).float()
    signs = torch.from_numpy(generator(0, "preflight").choice([-1.0, 1.0], (size, _NUM_SIGNS)))
    expected = a.double() @ (b.double() @ signs)
    there, back = a.to(device), b.to(device)
    best, is_right = float("inf"), True
    for _ in range(_TIMES):
        began = time.perf_counter()
        product = there @ back
        product[0, 0].item()  # waits for an accelerator
        best = min(best, time.perf_counter() - began)
        is_right = is_right and torch.equal(product.cpu().double() @ signs, expected)
    return 2 * size**3 / best / 1e9, is_right


def _bandwidth() -> float:
    """Of an all-reduce of a megabyte over all ranks, in GB/s, best of several; every rank calls it."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    value = torch.ones(_BANDWIDTH_BYTES // 4, device=device)
    best = float("inf")
    for _ in range(_TIMES):
        began = time.perf_counter()
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        value[0].item()
        best = min(best, time.perf_counter() - began)
    return _BANDWIDTH_BYTES / best / 1e9

"""How fast a run learns, and how much of what the machine can do that is: tokens a second, MFU, memory.

What is measured depends on the machine and the day, so none of it is in the training log, which is the same however
often a run was killed: it is shown while it runs, and its rows (`speed.jsonl`) lie beside the manifest.
"""

import contextlib
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from puna.base.doctor import matmul_gflops
from puna.base.output import StageOutput
from puna.base.records import append_jsonl, read_jsonl, write_jsonl

SPEED = "speed.jsonl"
_INTERVAL_S = 20.0
_FEWEST_ROWS = 4
_WORTH_FLOPS = 1e12
"""Of a whole run: to measure the peak takes 3e10, which a smaller run would notice."""


@dataclass(frozen=True)
class Work:
    """What steps cost: FLOPs of one token, and the tokens of a step, padding included; the dtype of the products."""

    flops_a_token: float
    tokens_at: Callable[[int], int]
    dtype: torch.dtype = torch.float32


class Speed:
    """The speed of one run. Steps are told by `add`; `now` is for the live view, `finish` for manifest and report.

    MFU (Chowdhery 2022, appendix B) is the FLOPs that the model needs for the tokens of a second, padding included, by
    those of the machine's own matrix product, measured at the start with the run's threads and dtype, times the
    processes. Without `work`, or in a run too small to measure that, there is none.
    """

    def __init__(self, model: nn.Module, out: StageOutput, work: Work | None, num_steps: int) -> None:
        self._out, self._work, self._path = out, work, out.state / SPEED
        self._earlier = _whole_rows(self._path)
        total = work.flops_a_token * work.tokens_at(0) * num_steps if work else 0.0
        self._peak = _peak_flops(model, work.dtype) * out.mesh.world_size if work and total >= _WORTH_FLOPS else 0.0
        self._started = self._told = time.monotonic()
        self._rows: list[dict[str, float]] = []
        self._learned = self._tokens = 0.0
        self._last = (0.0, 0.0)
        self._shown: dict[str, float | str] = {}

    def add(self, step: int, targets: float) -> None:
        """A step was learned, with so many targets."""
        self._learned += targets
        self._tokens += self._work.tokens_at(step) if self._work else targets
        now = time.monotonic()
        if now - self._told >= _INTERVAL_S:
            learned, tokens = self._learned - self._last[0], self._tokens - self._last[1]
            self._write({"step": step + 1, **self._rates(learned, tokens, now - self._told)})
            self._told, self._last = now, (self._learned, self._tokens)

    def now(self) -> dict[str, float | str]:
        """For a line: tokens a second since the start, MFU, memory."""
        rates = self._rates(self._learned, self._tokens, time.monotonic() - self._started)
        shown: dict[str, float | str] = {"tokens_per_s": round(rates["useful_tokens_per_s"])}
        if "mfu" in rates:
            shown["mfu"] = f"{rates['mfu']:.0%}"
        return {**shown, "memory": f"{rates['peak_memory_bytes'] / 2**30:.2f} GiB"}

    def finish(self) -> None:
        """Metrics of the whole run, or of its last attempt; the rows beside the manifest, and a panel of them."""
        if self._tokens:
            rates = self._rates(self._learned, self._tokens, time.monotonic() - self._started)
            del rates["peak_memory_bytes"]  # of the whole stage it is in the manifest
            self._out.metric(**rates)
        rows = [*self._earlier, *self._rows]
        if len(rows) >= _FEWEST_ROWS:  # of a shorter run the mean says as much
            write_jsonl(self._out.path / SPEED, rows)
            self._out.panels.append(_panel(rows))

    def _rates(self, learned: float, tokens: float, seconds: float) -> dict[str, float]:
        seconds = max(seconds, 1e-9)
        rates = {"tokens_per_s": tokens / seconds, "useful_tokens_per_s": learned / seconds}
        if self._work and self._peak:
            rates["mfu"] = tokens * self._work.flops_a_token / seconds / self._peak
        return {**rates, "peak_memory_bytes": float(_peak_memory_bytes())}

    def _write(self, row: dict[str, float]) -> None:
        if not self._out.writes:
            return
        row = {"seconds": round(self._out.seconds, 3), "attempt": self._out.attempt, **row}
        self._rows.append(row)
        with contextlib.suppress(OSError):  # a full disk: no reason to end, the row is in memory
            append_jsonl(self._path, row)


def _peak_flops(model: nn.Module, dtype: torch.dtype) -> float:
    """FLOP/s of a matrix product on the model's device, as measured now."""
    with torch.random.fork_rng():  # what training draws must not depend on it
        return 1e9 * matmul_gflops(dtype, next(model.parameters()).device.type)


def _peak_memory_bytes() -> int:
    """The most that this process has held: of the accelerator if it uses one, otherwise of main memory."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _whole_rows(path: Any) -> list[dict[str, Any]]:
    """The rows of earlier attempts; one that a kill cut off is taken away, so that the next begins a line."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return list(read_jsonl(path))


def _panel(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = {"tokens_per_s": "all", "useful_tokens_per_s": "without padding"}
    xs = [row["seconds"] for row in rows]
    series = [{"name": label, "x": xs, "y": [row[name] for row in rows]} for name, label in names.items()]
    title = "Tokens a second"
    if "mfu" in rows[-1]:
        title += f" (MFU {sum(row['mfu'] for row in rows) / len(rows):.0%})"
    return {"kind": "lines", "title": title, "x_label": "seconds of the stage", "y_label": "tokens/s", "series": series}

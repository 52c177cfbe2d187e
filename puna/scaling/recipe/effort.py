"""What a piece of work consists of, and the seconds that it takes on a machine.

On cores a second is made of three things: matrix products, at a share of the speed that `puna doctor` measures, calls
of a layer, and the interpreter's work on rows. Their costs are few constants, set on one lap of the village
(recipes/nano.yaml) and one ladder; docs/scaling.md says how other runs came out.
"""

import time
from dataclasses import dataclass, replace

from puna.model.config import LlamaConfig
from puna.model.flops import forward_flops
from puna.scaling.count import inner_matrices

_NEWTON_SCHULZ = 5


@dataclass(frozen=True)
class Effort:
    """flops: of matrix products. calls: of a layer with packed rows. reads: bytes of weights read to decode. spread,
    alone: seconds of one reference core, on rows that workers share or that only one does.
    """

    flops: float = 0.0
    calls: float = 0.0
    reads: float = 0.0
    spread: float = 0.0
    alone: float = 0.0

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(*(a + b for a, b in zip(self._parts(), other._parts(), strict=True)))

    def __mul__(self, times: float) -> "Effort":
        return Effort(*(part * times for part in self._parts()))

    def _parts(self) -> tuple[float, ...]:
        return self.flops, self.calls, self.reads, self.spread, self.alone


@dataclass(frozen=True)
class Machine:
    """Cores with what was measured of them; interpreter: seconds that one spends where the reference spends one."""

    flops: float
    cores: int
    memory_bytes: float
    interpreter: float = 1.0

    def with_cores(self, cores: int) -> "Machine":
        """One with more or fewer of the same cores."""
        share = cores / self.cores
        return replace(self, cores=cores, flops=self.flops * share)

    def with_threads(self, threads: int) -> "Machine":
        """The same where models use so many cores."""
        share = min(threads, self.cores) / self.cores
        return replace(self, flops=self.flops * share)

    def seconds(self, effort: Effort, workers: int = 0) -> float:
        """Of all cores together; `workers` share what can be shared (0: a worker for each core)."""
        compute = effort.flops / (self.flops * MATMUL_SHARE)
        rows = effort.spread / min(workers or self.cores, self.cores) + effort.alone
        return compute + self.interpreter * (CALL_SECONDS * effort.calls + rows)


MATMUL_SHARE = 0.45
CALL_SECONDS = 3e-3
DECODE_SECONDS = 1e-3  # of one layer and token, whatever the number of rows
ROW_SECONDS, TOKEN_SECONDS = 1e-4, 3e-5
_LOOP_SECONDS = 0.06  # of `_loop` on the reference


def measure_machine() -> Machine:
    """This machine; takes about a second."""
    import torch

    from puna.base.config import num_cores
    from puna.base.doctor import matmul_gflops, memory_bytes

    return Machine(
        1e9 * matmul_gflops(torch.float32),
        num_cores(),
        memory_bytes(),
        min(_loop() for _ in range(5)) / _LOOP_SECONDS,
    )


def forward(model: LlamaConfig, tokens: float, row_tokens: float, at_once: float) -> Effort:
    """A pass of `tokens` in rows of `row_tokens`, `at_once` together."""
    if not tokens:
        return Effort()
    sequence = max(1, round(row_tokens))
    flops = forward_flops(model, sequence, "causal")
    return Effort(tokens * flops, model.layers * max(1.0, tokens / at_once))


def training(
    model: LlamaConfig, tokens: float, row_tokens: float, at_once: float, batch_tokens: float, optimizer: str
) -> Effort:
    """Forward, backward, and the optimizer's steps."""
    return forward(model, tokens, row_tokens, at_once) * 3 + steps(model, optimizer) * (tokens / batch_tokens)


def steps(model: LlamaConfig, optimizer: str) -> Effort:
    """One step of an optimizer. Muon turns each matrix by Newton's and Schulz's iteration, three products each time."""
    flops = _muon_flops(model) if optimizer == "muon" else 0.0
    return Effort(flops, calls=1)


def decoding(model: LlamaConfig, rows: float, prompt: float, answer: float, at_once: float) -> Effort:
    """`rows` answers of `answer` tokens to prompts of `prompt` tokens, `at_once` growing together."""
    if not rows:
        return Effort()
    together = min(rows, at_once)
    steps = rows * answer / together
    tokens, reads = rows * (prompt + answer), 4 * model.num_parameters() * steps
    flops = tokens * forward_flops(model, max(1, round(prompt + answer)), "causal")
    alone = ROW_SECONDS * rows + TOKEN_SECONDS * rows * answer + DECODE_SECONDS * model.layers * steps
    return Effort(flops, reads=reads, alone=alone)


def _muon_flops(model: LlamaConfig) -> float:
    """Of all inner matrices [m, n], m <= n: three products, 4 m^2 n + 2 m^3, each iteration."""
    heads, kv_heads = model.heads * model.head_dim, model.kv_heads * model.head_dim
    shapes = [(model.dim, heads)] * 2 + [(model.dim, kv_heads)] * 2 + [(model.dim, model.ffn_dim)] * 3
    one = sum(4 * min(s) ** 2 * max(s) + 2 * min(s) ** 3 for s in shapes)
    dense = model.layers * sum(rows * columns for rows, columns in shapes)
    return _NEWTON_SCHULZ * model.layers * one * max(1.0, inner_matrices(model) / dense)


def _loop() -> float:
    began = time.perf_counter()
    words = [f"{number:x}" for number in range(100_000)]
    counts: dict[str, int] = {}
    for word in words:
        counts[word[:3]] = counts.get(word[:3], 0) + len(word)
    return time.perf_counter() - began

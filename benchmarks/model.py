"""The model alone beside transformers' Llama: same weights, tokens and precision, forward or forward and backward.

python -m benchmarks.model [--case S-forward|M-forward|S-backward|M-backward] [--compiled] [--quick] [--json]
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.interleave import compare, peak_gflops, publish
from benchmarks.train import copy_weights, their_model
from puna.base.config import num_cores
from puna.base.machine import prepare_machine
from puna.model import Llama, LlamaConfig
from puna.model.convert.huggingface import huggingface_name

# Shape (D, L, H, K, F, V), rows, tokens a row
SIZES = {"S": ((192, 6, 6, 2, 512, 4096), 8, 512), "M": ((512, 8, 8, 4, 1408, 8192), 4, 512)}
CASES = [f"{size}-{what}" for what in ("forward", "backward") for size in SIZES]
LOGITS, GRADIENTS = 1e-5, 1e-4
"""How far, relative to the norm, results may be apart and still be the same."""


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--case", choices=CASES, help="one case only")
    parser.add_argument("--compiled", action="store_true", help="both through torch.compile; compiling is not timed")
    parser.add_argument("--quick", action="store_true", help="fewer runs, nothing recorded")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    options = parser.parse_args()
    prepare_machine(num_cores())
    cases = [options.case] if options.case else CASES
    publish([_case(name, options.compiled, runs=3 if options.quick else 9) for name in cases], options.quick)


def _case(name: str, compiled: bool, runs: int) -> dict[str, Any]:
    size, what = name.split("-")
    (dim, layers, heads, kv_heads, ffn, vocab), rows, tokens = SIZES[size]
    shape = LlamaConfig(dim, layers, heads, kv_heads, ffn, vocab, max_position=tokens)
    ours, theirs = Llama(shape), their_model(shape)
    copy_weights(ours, theirs)
    drawn = torch.randint(vocab, (rows, tokens + 1), generator=torch.Generator().manual_seed(0))
    forwards = [_logits(model, compiled) for model in (ours, theirs)]
    work = _forward if what == "forward" else _backward
    result = compare(*(work(forward, drawn) for forward in forwards), runs=runs)
    same = _logits_agree(forwards, drawn) and (what == "forward" or _gradients_agree(ours, theirs))
    flops = (2 if what == "forward" else 6) * (shape.num_parameters() + layers * dim * tokens) * result["ours"]
    names = {"bench": "model", "case": name + (" compiled" if compiled else ""), "peer_name": "transformers"}
    return {**names, "unit": "tokens/s", **result, "same_result": same, "peak_fraction": flops / 1e9 / peak_gflops()}


def _logits(model: nn.Module, compiled: bool) -> Callable[[Tensor], Tensor]:
    """Tokens to logits; the gradients of the parameters stay with `model`."""
    run: Callable[..., Any] = torch.compile(model) if compiled else model
    return run if isinstance(model, Llama) else lambda tokens: run(input_ids=tokens, use_cache=False).logits


def _forward(logits: Callable[[Tensor], Tensor], drawn: Tensor) -> Callable[[], float]:
    def work() -> float:
        with torch.no_grad():
            logits(drawn[:, :-1])
        return float(drawn[:, 1:].numel())

    return work


def _backward(logits: Callable[[Tensor], Tensor], drawn: Tensor) -> Callable[[], float]:
    """Loss and gradients. Gradients add up from call to call, in both alike, so that none is allocated anew."""

    def work() -> float:
        F.cross_entropy(logits(drawn[:, :-1]).flatten(0, 1), drawn[:, 1:].flatten()).backward()
        return float(drawn[:, 1:].numel())

    return work


def _logits_agree(forwards: list[Callable[[Tensor], Tensor]], drawn: Tensor) -> bool:
    with torch.no_grad():
        ours, theirs = (forward(drawn[:, :-1]) for forward in forwards)
    return _relative(ours, theirs) <= LOGITS


def _gradients_agree(ours: nn.Module, theirs: nn.Module) -> bool:
    expected = dict(theirs.named_parameters())
    pairs = ((p.grad, expected[huggingface_name(name)].grad) for name, p in ours.named_parameters())
    return all(a is not None and b is not None and _relative(a, b) <= GRADIENTS for a, b in pairs)


def _relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


if __name__ == "__main__":
    main()

"""The model alone beside transformers' Llama: same weights, tokens and precision, forward or forward and backward.

python -m benchmarks.model [--case S-forward|M-forward|S-backward|M-backward] [--compiled] [--quick] [--json]
    [--device cuda [--dtype bfloat16]]      with two cases more: L-forward and L-backward, of Llama 3.2 1B's shape
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM

from benchmarks.interleave import compare, peak_gflops, publish
from puna.base.config import num_cores
from puna.base.machine import prepare_machine
from puna.model import Llama, LlamaConfig
from puna.model.convert.huggingface import huggingface_name

# Shape (D, L, H, K, F, V), rows, tokens a row
SIZES = {
    "S": ((192, 6, 6, 2, 512, 4096), 8, 512),
    "M": ((512, 8, 8, 4, 1408, 8192), 4, 512),
    "L": ((2048, 16, 32, 8, 8192, 128_256), 4, 2048),  # for an accelerator
}
CASES = [f"{size}-{what}" for what in ("forward", "backward") for size in SIZES]
LOGITS, GRADIENTS = 1e-5, 1e-4
"""How far, relative to the norm, fp32 results may be apart and still be the same. In bfloat16 both are off, and our
logits may be at most a tenth further from those of fp32 than the peer's."""


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--case", choices=CASES, help="one case only")
    parser.add_argument("--compiled", action="store_true", help="both through torch.compile; compiling is not timed")
    parser.add_argument("--quick", action="store_true", help="fewer runs, nothing recorded")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of weights and sums")
    options = parser.parse_args()
    prepare_machine(num_cores())
    cases = [options.case] if options.case else [c for c in CASES if c[0] != "L" or options.device != "cpu"]
    place = (getattr(torch, options.dtype), options.device)
    runs = 3 if options.quick else 9
    publish([_case(name, options.compiled, runs, *place) for name in cases], options.quick, options.device)


def _case(name: str, compiled: bool, runs: int, dtype: torch.dtype, device: str) -> dict[str, Any]:
    size, what = name.split("-")
    (dim, layers, heads, kv_heads, ffn, vocab), rows, tokens = SIZES[size]
    shape = LlamaConfig(dim, layers, heads, kv_heads, ffn, vocab, max_position=tokens)
    with torch.device(device):
        ours, theirs = Llama(shape).to(dtype), their_model(shape).to(dtype)
    ours.initialise(0, 0.02)
    copy_weights(ours, theirs)
    drawn = torch.randint(vocab, (rows, tokens + 1), generator=torch.Generator().manual_seed(0)).to(device)
    forwards = [_logits(model, compiled) for model in (ours, theirs)]
    work = _forward if what == "forward" else _backward
    result = compare(*(work(forward, drawn) for forward in forwards), runs=runs, warm_up=2)
    if dtype == torch.float32:
        same = _logits_agree(forwards, drawn) and (what == "forward" or _gradients_agree(ours, theirs))
    else:
        same = _as_near_to_fp32(ours, forwards, drawn)
    flops = (2 if what == "forward" else 6) * (shape.num_parameters() + layers * dim * tokens) * result["ours"]
    case = " ".join([name, *(["compiled"] if compiled else []), *([] if device == "cpu" else [str(dtype)[6:]])])
    names = {"bench": "model", "case": case, "peer_name": "transformers"}
    share = flops / 1e9 / peak_gflops(dtype, device)
    return {**names, "unit": "tokens/s", **result, "same_result": same, "peak_fraction": share}


def their_model(shape: LlamaConfig) -> LlamaForCausalLM:
    """transformers' Llama of the same shape, with weights of its own."""
    return LlamaForCausalLM(
        TheirConfig(
            hidden_size=shape.dim,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            intermediate_size=shape.ffn_dim,
            vocab_size=shape.vocab_size,
            max_position_embeddings=shape.max_position,
            rms_norm_eps=shape.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            tie_word_embeddings=shape.tied,
            attn_implementation="sdpa",
        )
    )


def copy_weights(ours: Llama, theirs: LlamaForCausalLM) -> None:
    """Give `theirs` the weights of `ours`."""
    target = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            target[huggingface_name(name)].copy_(parameter)


def _logits(model: nn.Module, compiled: bool) -> Callable[[Tensor], Tensor]:
    """Tokens to logits; the gradients of the parameters stay with `model`."""
    run: Callable[..., Any] = torch.compile(model) if compiled else model
    return run if isinstance(model, Llama) else lambda tokens: run(input_ids=tokens, use_cache=False).logits


def _forward(logits: Callable[[Tensor], Tensor], drawn: Tensor) -> Callable[[], float]:
    def work() -> float:
        with torch.no_grad():
            logits(drawn[:, :-1])
        _wait(drawn)
        return float(drawn[:, 1:].numel())

    return work


def _backward(logits: Callable[[Tensor], Tensor], drawn: Tensor) -> Callable[[], float]:
    """Loss and gradients. Gradients add up from call to call, in both alike, so that none is allocated anew."""

    def work() -> float:
        F.cross_entropy(logits(drawn[:, :-1]).flatten(0, 1), drawn[:, 1:].flatten()).backward()
        _wait(drawn)
        return float(drawn[:, 1:].numel())

    return work


def _wait(drawn: Tensor) -> None:
    if drawn.is_cuda:
        torch.cuda.synchronize()


def _logits_agree(forwards: list[Callable[[Tensor], Tensor]], drawn: Tensor) -> bool:
    with torch.no_grad():
        ours, theirs = (forward(drawn[:, :-1]) for forward in forwards)
    return _relative(ours, theirs) <= LOGITS


def _as_near_to_fp32(model: Llama, forwards: list[Callable[[Tensor], Tensor]], drawn: Tensor) -> bool:
    with torch.no_grad():
        exact = copy.deepcopy(model).float()(drawn[:1, :-1])
        ours, theirs = (_relative(forward(drawn[:, :-1])[:1], exact) for forward in forwards)
    return ours <= 1.1 * theirs


def _gradients_agree(ours: nn.Module, theirs: nn.Module) -> bool:
    expected = dict(theirs.named_parameters())
    pairs = ((p.grad, expected[huggingface_name(name)].grad) for name, p in ours.named_parameters())
    return all(a is not None and b is not None and _relative(a, b) <= GRADIENTS for a, b in pairs)


def _relative(a: Tensor, b: Tensor) -> float:
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


if __name__ == "__main__":
    main()

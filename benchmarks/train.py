"""Training steps (forward, backward, AdamW) of our loop beside transformers' Llama: same weights, data, precision.

python -m benchmarks.train [--case nano|S] [--quick] [--json]
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM

from benchmarks.interleave import compare, peak_gflops, publish
from puna.base.config import num_cores
from puna.base.machine import prepare_machine
from puna.model import Llama, LlamaConfig
from puna.model.convert.huggingface import huggingface_name
from puna.pretrain.loader import Batch
from puna.pretrain.loop import LoopConfig, language_modelling, train_step
from puna.pretrain.optim import Optimizer

# (D, L, H, K, F, V), rows, tokens a row
CASES = {"nano": ((128, 4, 4, 2, 352, 2048), 8, 256), "S": ((192, 6, 6, 2, 512, 4096), 8, 512)}


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--case", choices=[*CASES], help="one case only")
    parser.add_argument("--quick", action="store_true", help="fewer runs, nothing recorded")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    options = parser.parse_args()
    prepare_machine(num_cores())
    cases = [options.case] if options.case else list(CASES)
    publish(
        [_case(name, runs=3 if options.quick else 7, steps=4 if options.quick else 10) for name in cases], options.quick
    )


def _case(name: str, runs: int, steps: int) -> dict[str, Any]:
    (dim, layers, heads, kv_heads, ffn, vocab), rows, tokens = CASES[name]
    shape = LlamaConfig(dim, layers, heads, kv_heads, ffn, vocab, max_position=tokens)
    ours, theirs = Llama(shape), their_model(shape)
    copy_weights(ours, theirs)
    drawn = torch.randint(vocab, (rows, tokens + 1), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(tokens).expand(rows, tokens)
    batch = Batch(drawn[:, :-1], drawn[:, 1:], positions, torch.zeros(rows, tokens, dtype=torch.int64))
    config = LoopConfig(micro_batch=rows)
    our_step, our_losses = _our_step(ours, batch, config, steps)
    their_step, their_losses = _their_step(theirs, batch, config, steps)
    result = compare(our_step, their_step, runs)
    same = all(abs(a - b) <= 1e-3 * abs(b) for a, b in zip(our_losses, their_losses))
    flops = 6 * (shape.num_parameters() + layers * dim * tokens) * result["ours"]
    names = {"bench": "train", "case": name, "peer_name": "transformers", "unit": "tokens/s"}
    return {**names, **result, "same_result": same, "peak_fraction": flops / 1e9 / peak_gflops()}


def _our_step(model: Llama, batch: Batch, config: LoopConfig, steps: int) -> tuple[Callable[[], float], list[float]]:
    optimizer = Optimizer(model, config)
    losses: list[float] = []

    def work() -> float:
        for _ in range(steps):
            losses.append(
                train_step(model, optimizer, batch, 1e-3, config, language_modelling(config.micro_batch))["loss"]
            )
        return float(steps * batch.tokens.numel())

    return work, losses


def _their_step(
    model: LlamaForCausalLM, batch: Batch, config: LoopConfig, steps: int
) -> tuple[Callable[[], float], list[float]]:
    optimizer = Optimizer(model, config)
    losses: list[float] = []

    def work() -> float:
        for _ in range(steps):
            logits = model(input_ids=batch.tokens, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step(1e-3)
            losses.append(loss.item())
        return float(steps * batch.tokens.numel())

    return work, losses


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


if __name__ == "__main__":
    main()

"""Counts against PyTorch's own counter, the module's tensors, and what was published."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from puna.base.errors import ConfigError
from puna.model import PRESETS, Llama, LlamaConfig
from puna.model.flops import forward_flops, matmul_weights, training_flops
from puna.pretrain.optim import Optimizer, OptimizerConfig
from puna.scaling.count import (
    checkpoint_bytes,
    inner_matrices,
    kv_cache_bytes,
    weight_bytes,
)

SMALL = [
    LlamaConfig(dim=48, layers=3, heads=4, kv_heads=2, ffn_dim=96, vocab_size=67),
    LlamaConfig(dim=32, layers=1, heads=2, kv_heads=1, ffn_dim=80, vocab_size=50, tied=False, head_dim=24),
]
EXPERTS = LlamaConfig(
    dim=32, layers=2, heads=2, kv_heads=1, ffn_dim=48, vocab_size=50, num_experts=4, experts_per_token=2
)


@pytest.mark.parametrize("config", SMALL)
def test_full_count_equals_pytorchs_counter_forward_and_backward(config: LlamaConfig) -> None:
    rows, sequence = 2, 16
    model, tokens = Llama(config), torch.zeros(2, 16, dtype=torch.int64)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        logits = model(tokens)
    assert counter.get_total_flops() == forward_flops(config, sequence, "full") * rows * sequence
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens).sum().backward()
    assert counter.get_total_flops() == training_flops(config, sequence, "full") * rows * sequence
    assert logits.shape[-1] == config.vocab_size


def test_experts_count_those_that_a_token_uses() -> None:
    model, counter = Llama(EXPERTS), FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
        model(torch.arange(16)[None])
    assert counter.get_total_flops() == forward_flops(EXPERTS, 16, "full") * 16


def test_causal_counts_the_pairs_that_are_not_masked() -> None:
    config, sequence = SMALL[0], 11
    pairs = sum(1 for query in range(sequence) for key in range(sequence) if key <= query)
    attention = 4 * config.layers * config.heads * config.head_dim * pairs
    expected = 2 * matmul_weights(config) * sequence + attention
    assert forward_flops(config, sequence, "causal") * sequence == expected


def test_405b_takes_the_published_flops() -> None:
    config = PRESETS["405B"]
    assert 15.6e12 * training_flops(config, 8192) == pytest.approx(3.8e25, rel=0.02)
    # Attention included, the ways to count are within 8% of each other at 8,192 tokens.
    assert 15.6e12 * training_flops(config, 8192, "causal") == pytest.approx(3.8e25, rel=0.05)
    assert training_flops(config, 8192, "full") / training_flops(config, 8192) == pytest.approx(1.08, abs=0.02)


@pytest.mark.parametrize("name", ["8B", "70B", "405B"])
def test_matrix_weights_are_all_but_embedding_and_norms(name: str) -> None:
    with torch.device("meta"):
        model = Llama(PRESETS[name])
    expected = sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and not n.startswith("embedding"))
    assert matmul_weights(PRESETS[name]) == expected
    inner = sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and ".layers." in f".{n}")
    assert inner_matrices(PRESETS[name]) == inner


@pytest.mark.parametrize("config", [*SMALL, EXPERTS])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_checkpoints_hold_weights_and_what_the_optimizer_keeps(config: LlamaConfig, optimizer: str) -> None:
    model = Llama(config)
    state = Optimizer(model, OptimizerConfig(optimizer=optimizer)).tensors()  # type: ignore[arg-type]
    kept = [tensor for one in state.values() for name, tensor in one.items() if name != "step"]
    assert checkpoint_bytes(config, optimizer) == sum(tensor.nbytes for tensor in [*model.parameters(), *kept])


def test_bytes_as_published() -> None:
    assert kv_cache_bytes(PRESETS["8B"]) == 131_072  # 128 KiB a token in bf16
    assert kv_cache_bytes(PRESETS["70B"]) == 327_680
    assert weight_bytes(PRESETS["8B"]) == 16_060_522_496  # the size of its safetensors files, headers aside


def test_unknown_names_are_told() -> None:
    for call in (
        lambda: forward_flops(SMALL[0], 8, "8nd"),
        lambda: checkpoint_bytes(SMALL[0], "sgd"),
        lambda: weight_bytes(SMALL[0], "int3"),
    ):
        with pytest.raises(ConfigError, match="expected .*, came"):
            call()
    with pytest.raises(ConfigError, match="sequence: expected a number above 0"):
        forward_flops(SMALL[0], 0)

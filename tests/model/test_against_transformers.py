"""Fifty random shapes: logits and gradients are those of transformers' Llama with the same weights, in fp32.

Each shape is tried plain, padded, packed and through a cache. What packing must equal is transformers on each document
alone; what the cache must equal is transformers on the whole text at once.
"""

import random
from dataclasses import dataclass
from functools import cache

import pytest
import torch
import transformers
from torch import Tensor

from puna.model import PRESETS, Llama, LlamaConfig, SlotCache
from puna.model.convert.huggingface import huggingface_name

LOGITS, GRADIENTS = 1e-5, 1e-4
SEEDS = range(50)


@dataclass(frozen=True)
class Case:
    """A shape, and what is fed to it: `lengths` of the documents of a row, or of the rows of a padded batch."""

    config: LlamaConfig
    lengths: list[int]
    tokens: Tensor
    targets: Tensor


@cache
def drawn(seed: int) -> Case:
    """A case of small sizes; every second has Llama 3.1's frequency scaling, with lengths on both sides of it."""
    draw = random.Random(seed)
    kv_heads = draw.choice([1, 2, 3])
    heads = kv_heads * draw.choice([1, 1, 2, 4])
    original = draw.choice([8, 16])
    scaling = {"rope_type": "llama3", "factor": draw.choice([2.0, 8.0, 32.0]), "low_freq_factor": 1.0,
               "high_freq_factor": draw.choice([2.0, 4.0]), "original_max_position_embeddings": original}  # fmt: skip
    config = LlamaConfig(
        dim=heads * draw.choice([4, 6, 8]),  # transformers wants a multiple even where head_dim is given
        layers=draw.choice([1, 2, 3]),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=draw.choice([4, 8, 10]),
        ffn_dim=draw.choice([16, 33, 80]),
        vocab_size=draw.choice([11, 64, 131]),
        max_position=64,
        rope_theta=draw.choice([100.0, 10_000.0, 500_000.0]),
        rope_scaling=scaling if seed % 2 else None,
        norm_eps=draw.choice([1e-6, 1e-5, 1e-3]),
        tied=draw.random() < 0.5,
    )
    lengths = [draw.randint(1, 20) for _ in range(draw.randint(2, 4))]
    generator = torch.Generator().manual_seed(seed)
    tokens, targets = torch.randint(config.vocab_size, (2, sum(lengths)), generator=generator)
    return Case(config, lengths, tokens, targets)


@cache
def models(seed: int) -> tuple[Llama, transformers.LlamaForCausalLM]:
    config = drawn(seed).config
    ours = Llama(config)
    ours.initialise(seed, std=0.2)  # large enough that attention is far from uniform
    theirs = transformers.LlamaForCausalLM(their_config(config))
    target = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if parameter.dim() == 1:  # norms of one would hide a norm that is left out
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
            target[huggingface_name(name)].copy_(parameter)
    return ours, theirs


def their_config(config: LlamaConfig) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        hidden_size=config.dim,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        intermediate_size=config.ffn_dim,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", **(config.rope_scaling or {}), "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tied,
        attn_implementation="sdpa",
    )


def assert_same(ours: Tensor, theirs: Tensor, targets: Tensor, seed: int) -> None:
    """Logits [N, V] of N tokens, then the gradients of their mean cross-entropy in every parameter."""
    assert relative(ours, theirs) <= LOGITS
    model, reference = models(seed)
    named = {huggingface_name(name): parameter for name, parameter in model.named_parameters()}
    found = gradients(ours, targets, named)
    expected = gradients(theirs, targets, {name: p for name, p in reference.named_parameters() if name in named})
    for name, gradient in found.items():
        assert relative(gradient, expected[name]) <= GRADIENTS, name


def gradients(logits: Tensor, targets: Tensor, named: dict[str, torch.nn.Parameter]) -> dict[str, Tensor]:
    loss = torch.nn.functional.cross_entropy(logits, targets)
    return dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=False)))


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("seed", SEEDS)
def test_plain(seed: int) -> None:
    case, (ours, theirs) = drawn(seed), models(seed)
    rows = case.tokens[None].repeat(2, 1)
    rows[1] = rows[1].flip(0)
    targets = case.targets.repeat(2)
    assert_same(ours(rows).flatten(0, 1), theirs(rows, use_cache=False).logits.flatten(0, 1), targets, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_padded(seed: int) -> None:
    """Rows of unequal length, padded on the right (even seeds) or the left: the same at every token that is real."""
    case, (ours, theirs) = drawn(seed), models(seed)
    longest = max(case.lengths)
    shape = (len(case.lengths), longest)
    real, tokens = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.int64)
    for row, part in enumerate(case.tokens.split(case.lengths)):
        span = slice(longest - len(part), longest) if seed % 2 else slice(0, len(part))
        real[row, span], tokens[row, span] = True, part
    positions = (real.cumsum(1) - 1).clamp(min=0)
    mine = ours(tokens, positions=positions, documents=real.long() - 1)
    other = theirs(tokens, attention_mask=real.long(), position_ids=positions, use_cache=False).logits
    assert_same(mine[real], other[real], case.targets, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_packed(seed: int) -> None:
    case, (ours, theirs) = drawn(seed), models(seed)
    documents = torch.repeat_interleave(torch.arange(len(case.lengths)), torch.tensor(case.lengths))[None]
    positions = torch.cat([torch.arange(length) for length in case.lengths])[None]
    packed = ours(case.tokens[None], positions=positions, documents=documents)[0]
    alone = [theirs(part[None], use_cache=False).logits[0] for part in case.tokens.split(case.lengths)]
    assert_same(packed, torch.cat(alone), case.targets, seed)


@pytest.mark.parametrize("seed", SEEDS)
@torch.no_grad()
def test_cached(seed: int) -> None:
    """A prompt at once, then token by token."""
    case, (ours, theirs) = drawn(seed), models(seed)
    text = case.tokens[None, :24]
    stored = SlotCache(case.config, 1, text.shape[1])
    prompt = min(case.lengths[0], text.shape[1])
    steps = [text[:, :prompt], *text[:, prompt:].split(1, dim=1)]
    stepwise = torch.cat([ours(step, cache=stored) for step in steps if step.shape[1]], dim=1)
    assert relative(stepwise, theirs(text, use_cache=False).logits) <= LOGITS


def test_the_shapes_differ_in_everything_that_matters() -> None:
    configs = [drawn(seed).config for seed in SEEDS]
    assert {config.tied for config in configs} == {True, False}
    assert {config.rope_scaling is None for config in configs} == {True, False}
    assert {1, 2, 4} <= {config.heads // config.kv_heads for config in configs}
    assert any(config.heads * config.head_dim != config.dim for config in configs)
    assert len({repr(config) for config in configs}) == len(SEEDS)


@pytest.mark.parametrize("name", PRESETS)
def test_transformers_counts_the_parameters_of_a_preset_alike(name: str) -> None:
    with torch.device("meta"):
        theirs = transformers.LlamaForCausalLM(their_config(PRESETS[name]))
    assert theirs.num_parameters() == PRESETS[name].num_parameters()

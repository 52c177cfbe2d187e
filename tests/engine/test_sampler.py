"""Philox against the published test vectors; top-k and top-p against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.engine.request import SamplingParams, Sequence
from puna.engine.sampler import Sampler, philox, uniform

# Random123's kat_vectors for philox4x32-10: counter, key -> words.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint64)[:, None]


def test_philox_gives_the_published_words() -> None:
    counters = np.hstack([words(counter) for counter, _, _ in KNOWN])
    keys = np.hstack([words(key) for _, key, _ in KNOWN])
    np.testing.assert_array_equal(philox(counters, keys), np.hstack([words(out) for _, _, out in KNOWN]))


def test_uniform_is_uniform_and_uncorrelated() -> None:
    positions = np.arange(20_000, dtype=np.uint64)
    zeros = np.zeros_like(positions)
    streams = [
        uniform(zeros, zeros, positions),
        uniform(zeros, zeros + 1, positions),
        uniform(zeros + 1, zeros, positions),
    ]
    for stream in streams:
        assert stream.min() >= 0 and stream.max() < 1
        assert abs(stream.mean() - 0.5) < 4 / np.sqrt(12 * len(stream))
        assert np.histogram(stream, 16, (0, 1))[0].std() < 100
    assert np.abs(np.corrcoef(streams) - np.eye(3)).max() < 0.03
    assert uniform(np.array([2**64 - 1], np.uint64), zeros[:1], zeros[:1])[0] != streams[0][0]


def sampler_of(*params: SamplingParams) -> Sampler:
    return Sampler([Sequence([0], p, sample=i) for i, p in enumerate(params)])


def reference_kept(logits: np.ndarray, p: SamplingParams) -> set[int]:
    """Ids that may be drawn, by sorting and adding."""
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    if p.top_k:
        order = order[: p.top_k]
    weights = np.exp((logits[order] - logits.max()) / p.temperature)
    weights /= weights.sum()
    kept, total = set(), 0.0
    for token, weight in zip(order, weights):
        kept.add(token)
        total += weight
        if total >= p.top_p:
            break
    return kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 2), st.floats(0.05, 0.97) | st.just(1.0), st.integers(0, 12))
def test_only_allowed_tokens_are_drawn_and_all_of_them(seed: int, temperature: float, top_p: float, top_k: int) -> None:
    logits = np.random.default_rng(seed).normal(size=9)
    params = SamplingParams(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed)
    kept = reference_kept(logits, params)
    free = SamplingParams(temperature=temperature, seed=seed)  # a neighbour without limits keeps all
    batch = torch.tensor(np.stack([logits, logits, logits]), dtype=torch.float32)
    sampler = sampler_of(params, free, SamplingParams())
    scaled = sampler._cut(batch / sampler.temperature)
    assert set(torch.isfinite(scaled[0]).nonzero()[:, 0].tolist()) == kept
    assert bool(torch.isfinite(scaled[1]).all())
    drawn = sampler.sample(batch, [seed, seed, seed])
    assert int(drawn[0]) in kept
    assert int(drawn[2]) == int(logits.argmax())


def test_a_draw_is_the_inverse_of_the_cumulative_sum() -> None:
    probabilities = torch.tensor([[0.1, 0.0, 0.6, 0.3, 0.0]])
    sampler = sampler_of(SamplingParams(temperature=1.0, seed=9))
    for position in range(200):
        noise = uniform(np.array([9], np.uint64), np.array([0], np.uint64), np.array([position], np.uint64))[0]
        expected = 0 if noise < 0.1 else 2 if noise < 0.7 else 3
        assert int(sampler.sample(probabilities.log(), [position])) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"seed": -1},
        {"n": 0},
        {"stop": ("",)},
        {"stop": "text"},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SamplingParams(**wrong)

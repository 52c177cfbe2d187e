import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.model import Llama, LlamaConfig, SlotCache

CONFIG = LlamaConfig(dim=24, layers=2, heads=4, kv_heads=2, ffn_dim=32, vocab_size=50, rope_theta=10_000.0)
MODEL = Llama(CONFIG)
MODEL.initialise(0, std=0.2)


def feed(cache, texts, counts):
    """Add the next counts[b] tokens of each text; the logits of each row's real tokens."""
    starts = cache.lengths.tolist()
    positions = cache.extend(counts)
    tokens = torch.full(positions.shape, 49)  # padding is a real id, so that it would be noticed
    for row, (start, count) in enumerate(zip(starts, counts)):
        tokens[row, :count] = texts[row][start : start + count]
    logits = MODEL(tokens, positions, cache=cache)
    return [logits[row, :count] for row, count in enumerate(counts)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=5))
@torch.no_grad()
def test_rows_growing_at_their_own_pace_equal_full_forwards(steps):
    texts = [torch.randint(0, 50, (31,), generator=torch.Generator().manual_seed(row)) for row in range(3)]
    cache = SlotCache(CONFIG, 3, 30)
    outputs = [[], [], []]
    for counts in steps:
        for row, logits in enumerate(feed(cache, texts, counts) if max(counts) else [torch.zeros(0, 50)] * 3):
            outputs[row].append(logits)
    for row, text in enumerate(texts):
        length = sum(counts[row] for counts in steps)
        if length:
            torch.testing.assert_close(torch.cat(outputs[row]), MODEL(text[None, :length])[0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_a_cache_numbers_positions_itself():
    tokens = torch.arange(20)[None]
    cache = SlotCache(CONFIG, 1, 20)
    parts = [MODEL(part, cache=cache) for part in tokens.split([8, 1, 1, 10], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), MODEL(tokens), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_a_part_of_the_rows_can_be_computed_alone_and_rows_be_moved():
    texts = [torch.randint(0, 50, (15,), generator=torch.Generator().manual_seed(row)) for row in range(4)]
    cache = SlotCache(CONFIG, 4, 15)
    feed(cache.rows(0, 2), texts[:2], [5, 9])
    feed(cache.rows(2, 4), texts[2:], [3, 4])
    assert cache.lengths.tolist() == [5, 9, 3, 4]
    cache.copy_rows([3], [0])  # row 0 is done, the last one fills its place
    cache.reset(3)
    assert cache.lengths.tolist() == [4, 9, 3, 0]
    moved = [texts[3], texts[1], texts[2]]
    logits = feed(cache.rows(0, 3), moved, [2, 1, 5])
    for text, length, row in zip(moved, (6, 10, 8), logits):
        torch.testing.assert_close(row, MODEL(text[None, :length])[0, -len(row) :], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_rows_can_be_permuted_forked_and_cut_back():
    texts = [torch.randint(0, 50, (12,), generator=torch.Generator().manual_seed(row)) for row in range(3)]
    cache = SlotCache(CONFIG, 3, 12)
    feed(cache, texts, [4, 6, 2])
    cache.copy_rows([1, 0, 0], [0, 1, 2])
    assert cache.lengths.tolist() == [6, 4, 4]
    cache.truncate(0, 3)
    for text, logits in zip((texts[1], texts[0], texts[0]), feed(cache, [texts[1], texts[0], texts[0]], [2, 3, 3])):
        length = 5 if text is texts[1] else 7
        torch.testing.assert_close(logits, MODEL(text[None, :length])[0, -len(logits) :], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_of_a_row_that_is_nearly_full_goes_nowhere():
    texts = [torch.randint(0, 50, (9,), generator=torch.Generator().manual_seed(row)) for row in range(2)]
    cache = SlotCache(CONFIG, 2, 8)
    feed(cache, texts, [0, 7])
    for text, logits in zip(texts, feed(cache, texts, [6, 1])):
        length = 6 if text is texts[0] else 8
        torch.testing.assert_close(logits, MODEL(text[None, :length])[0, -len(logits) :], atol=2e-5, rtol=1e-4)


def test_a_full_row_is_refused():
    cache = SlotCache(CONFIG, 2, 4)
    cache.extend([4, 1])
    with pytest.raises(ValueError, match="at most 4 tokens, came 5"):
        cache.extend([1, 1])
    assert cache.lengths.tolist() == [4, 1]
    with pytest.raises(ValueError, match="at most 1, came 2"):
        cache.truncate(1, 2)

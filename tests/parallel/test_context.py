"""Rows divided over ranks beside the whole rows in one process."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from puna.base.errors import ConfigError
from puna.model import Llama, LlamaConfig
from puna.model.attention import document_mask
from puna.parallel.context import ContextCache, gathered_rows, own_chunks, whole_rows
from tests.parallel.ranks import Ranks

CONFIG = LlamaConfig(dim=24, layers=2, heads=4, kv_heads=2, ffn_dim=40, vocab_size=67, rope_theta=10_000.0)
Fields = dict[str, Tensor]


def packed(lengths: list[list[int]], row_tokens: int, seed: int = 0) -> Fields:
    """Rows of documents of these lengths, padded; what the loader makes."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), row_tokens)
    fields = {name: torch.zeros(shape, dtype=torch.int64) for name in ("tokens", "positions")}
    fields |= {"targets": torch.full(shape, -100), "documents": torch.full(shape, -1)}
    for row, sizes in enumerate(lengths):
        at = 0
        for number, size in enumerate(sizes):
            span = slice(at, at + size)
            drawn = torch.randint(CONFIG.vocab_size, (size + 1,), generator=generator)
            fields["tokens"][row, span], fields["targets"][row, span] = drawn[:-1], drawn[1:]
            fields["positions"][row, span] = torch.arange(size)
            fields["documents"][row, span] = number
            at += size
    return fields


def model_of(config: LlamaConfig, dtype: torch.dtype) -> Llama:
    model = Llama(config)
    model.initialise(4, std=0.3)
    return model.to(dtype)


def outcome(model: Llama, fields: Fields, documents: Tensor | None, cache: ContextCache | None) -> dict[str, Tensor]:
    """Logits, the summed loss and its gradients."""
    logits = model(fields["tokens"], fields["positions"], documents, cache)
    loss = F.cross_entropy(logits.flatten(0, 1), fields["targets"].flatten(), reduction="sum")
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"logits": logits.detach(), "loss": loss.detach(), **gradients}


def on_a_rank(config: LlamaConfig, dtype: torch.dtype, fields: Fields) -> dict[str, Tensor]:
    rank, size = dist.get_rank(), dist.get_world_size()
    own = {name: own_chunks(field, rank, size) for name, field in fields.items()}
    return outcome(model_of(config, dtype), own, None, ContextCache(fields["documents"]))


def check(world: Ranks, fields: Fields, config: LlamaConfig = CONFIG, dtype: torch.dtype = torch.float32) -> None:
    """Logits joined, loss and gradients summed over the ranks are those of one process."""
    close, far = (1e-5, 1e-4) if dtype == torch.float32 else (1e-9, 1e-9)
    expected = outcome(model_of(config, dtype), fields, fields["documents"], None)
    found = world.call(on_a_rank, config, dtype, fields)
    logits = whole_rows([one["logits"] for one in found])
    assert_close(logits, expected.pop("logits"), close, "logits")
    for name, value in expected.items():
        assert_close(sum(one[name] for one in found), value, far, name)


def assert_close(found: Any, expected: Tensor, limit: float, name: str) -> None:
    # Queries of documents of one token have no gradient but rounding.
    assert (found - expected).norm() <= limit * expected.norm() + 1e-12, name


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_ranks_have_a_chunk_from_either_end_and_joined_they_are_the_row(size: int) -> None:
    field = torch.arange(2 * 24 * 5).view(2, 24, 5)
    parts = [own_chunks(field, rank, size) for rank in range(size)]
    assert torch.equal(whole_rows(parts), field)
    number = torch.arange(2 * size).repeat_interleave(24 // (2 * size))[None]
    for rank in range(size):
        assert set(own_chunks(number, rank, size).flatten().tolist()) == {rank, 2 * size - 1 - rank}


def test_a_row_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"row_tokens: expected a multiple of 2 \* mesh.context = 8, came 20"):
        own_chunks(torch.zeros(1, 20), 0, 4)


# Documents that cross chunks, one of a whole row, some of one token, padding within a chunk and beyond it.
PACKING = [[11, 13], [24], [5, 1, 9, 9], [10, 3], [1] * 24, [2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [2, 4])
def test_logits_loss_and_gradients_are_those_of_one_process(
    ranks: Callable[[int], Ranks], size: int, dtype: torch.dtype
) -> None:
    check(ranks(size), packed(PACKING, 24), dtype=dtype)


@pytest.mark.parametrize("heads, kv_heads", [(4, 1), (6, 3)])
def test_any_number_of_queries_may_share_a_key(ranks: Callable[[int], Ranks], heads: int, kv_heads: int) -> None:
    config = LlamaConfig(**{**CONFIG.to_dict(), "heads": heads, "kv_heads": kv_heads, "head_dim": 6, "tied": False})
    check(ranks(2), packed([[7, 12], [16]], 24), config, torch.float64)


@st.composite
def packings(draw: st.DrawFn) -> list[list[int]]:
    """One to three rows of 16 tokens: sizes of documents, perhaps with padding behind them."""
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        borders = draw(st.sets(st.integers(1, 16), min_size=1))
        rows.append(np.diff(sorted(borders), prepend=0).tolist())
    return rows


@settings(max_examples=10)
@given(lengths=packings(), size=st.sampled_from([2, 4]), seed=st.integers(0, 1000))
def test_any_packing_is_that_of_one_process(
    ranks: Callable[[int], Ranks], lengths: list[list[int]], size: int, seed: int
) -> None:
    check(ranks(size), packed(lengths, 16, seed), dtype=torch.float64)


def visible(documents: Tensor) -> Tensor:
    return ContextCache(documents).mask()


@pytest.mark.parametrize("size", [2, 4])
def test_a_mask_is_the_ranks_rows_of_the_whole_and_causal_work_is_even(
    ranks: Callable[[int], Ranks], size: int
) -> None:
    causal = torch.zeros(1, 48, dtype=torch.int64)
    counts = [int(mask.sum()) for mask in ranks(size).call(visible, causal)]
    assert counts == [48 * 49 // 2 // size] * size
    documents = packed([[5, 20, 9], [30, 18]], 48)["documents"]
    masks = ranks(size).call(visible, documents)
    whole = document_mask(documents)[:, 0]
    assert torch.equal(whole_rows([mask[:, 0] for mask in masks]), whole)


def spans(documents: Tensor) -> list[tuple[slice, slice]]:
    return ContextCache(documents).spans()


@pytest.mark.parametrize("size", [2, 4])
def test_only_what_is_seen_is_computed_and_causal_products_are_even(ranks: Callable[[int], Ranks], size: int) -> None:
    chunk = 48 // (2 * size)
    for rank, found in enumerate(ranks(size).call(spans, torch.zeros(2, 48, dtype=torch.int64))):
        ends = ((rank + 1) * chunk, (2 * size - rank) * chunk)
        assert found == [(slice(chunk), slice(0, ends[0])), (slice(chunk, 2 * chunk), slice(0, ends[1]))]
        assert sum(seen.stop - seen.start for _, seen in found) == (2 * size + 1) * chunk
    documents = packed([[5, 20, 9], [18, 30]], 48)["documents"]
    calls = zip(ranks(size).call(visible, documents), ranks(size).call(spans, documents), strict=True)
    for mask, found in calls:
        for tokens, seen in found:
            outside = mask[:, :, tokens].clone()
            outside[..., seen] = False
            assert not outside.any() and mask[:, :, tokens, seen].any(2).any(0)[0, [0, -1]].all()


def fetched(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    rank = dist.get_rank()
    part = (torch.arange(8.0) + 100 * rank).view(1, 4, 2).to(dtype).requires_grad_()
    rows = gathered_rows(part, None)
    weight = (torch.arange(16.0).view(1, 8, 2) * (rank + 1)).to(dtype)
    (rows * weight).sum().backward()
    return rows.detach(), part.grad, weight


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_gathered_rows_are_all_parts_and_the_gradient_is_summed(
    ranks: Callable[[int], Ranks], dtype: torch.dtype
) -> None:
    found = ranks(2).call(fetched, dtype)
    parts = [(torch.arange(8.0) + 100 * rank).view(1, 4, 2).to(dtype) for rank in range(2)]
    weight = (found[0][2].double() + found[1][2].double()).to(dtype)
    for rank, (rows, slope, _) in enumerate(found):
        assert rows.dtype == slope.dtype == dtype
        assert torch.equal(rows, whole_rows(parts))
        assert torch.equal(slope, own_chunks(weight, rank, 2))


def without_positions(documents: Tensor) -> None:
    cache = ContextCache(documents)
    model_of(CONFIG, torch.float32)(own_chunks(documents, dist.get_rank(), dist.get_world_size()), cache=cache)


def test_positions_must_be_given(ranks: Callable[[int], Ranks]) -> None:
    with pytest.raises(AssertionError, match="ValueError: expected the positions of the rank's own chunks"):
        ranks(2).call(without_positions, torch.zeros(1, 8, dtype=torch.int64))

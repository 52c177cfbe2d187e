import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.model import SlotCache
from puna.model.attention import AttentionContext, attend, document_mask, document_starts
from puna.model.config import PRESETS


def brute_force(q, k, v, documents):
    """Softmax attention by loops, one query at a time."""
    out = torch.zeros_like(q)
    group = q.shape[2] // k.shape[2]
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            for t in range(q.shape[1]):
                seen = [s for s in range(t + 1) if documents is None or documents[b, s] == documents[b, t]]
                scores = k[b, seen, h // group] @ q[b, t, h] / math.sqrt(q.shape[3])
                out[b, t, h] = scores.softmax(0) @ v[b, seen, h // group]
    return out


@pytest.mark.parametrize("packed", [False, True])
def test_attend_is_softmax_attention_in_double(packed):
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(2, 9, 6, 4, dtype=torch.float64, generator=generator)
    k, v = (torch.randn(2, 9, 3, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2], [5, 5, 5, 5, 5, 5, 1, 1, 5]]) if packed else None
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    context = AttentionContext.of(tokens, None, documents, None)
    torch.testing.assert_close(attend(q, k, v, context, 0), brute_force(q, k, v, documents), atol=1e-9, rtol=1e-9)


@given(st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(0, 2**32))
def test_document_by_document_is_attention_under_the_mask(lengths, seed):
    """Outputs and gradients, rows padded to one length by a document of their own."""
    num_tokens = max(map(sum, lengths))
    rows = [[i for i, n in enumerate(row) for _ in range(n)] for row in lengths]
    documents = torch.tensor([row + [-1] * (num_tokens - len(row)) for row in rows])
    generator = torch.Generator().manual_seed(seed)
    shapes = ((*documents.shape, heads, 8) for heads in (4, 2, 2))
    qkv = [torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in shapes]
    slope = torch.randn((*documents.shape, 4, 8), dtype=torch.float64, generator=generator)
    found: list[list[torch.Tensor]] = []
    starts = document_starts(documents)
    assert starts is not None
    pieces = torch.diff(starts, append=torch.tensor([documents.numel()])).tolist()
    for context in (
        AttentionContext(documents, documents, None, None, pieces),
        AttentionContext(documents, documents, None, document_mask(documents)),
    ):
        out = attend(*qkv, context, 0)
        found.append([out, *torch.autograd.grad(out, qkv, slope)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)


def test_long_documents_are_computed_one_by_one_and_others_under_a_mask():
    def context(*rows):
        documents = torch.tensor([[number for number, n in row for _ in range(n)] for row in rows])
        return AttentionContext.of(torch.zeros_like(documents), None, documents, None)

    assert context([(0, 40), (1, 60)], [(0, 100)]).pieces == [40, 60, 100]
    assert context([(7, 50), (8, 50)], [(8, 100)]).pieces == [50, 50, 100]  # rows never see each other
    assert context([(0, 3), (1, 5)]).pieces is None and context([(0, 3), (1, 5)]).mask is not None
    assert context([(0, 40), (1, 60), (0, 40)]).pieces is None  # a document in two pieces is still one


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_of_one_document_each_are_computed_together_without_a_mask(rows):
    documents = torch.arange(rows)[:, None].expand(rows, 5).contiguous()
    context = AttentionContext.of(torch.zeros_like(documents), None, documents, None)
    assert context.pieces is None and context.mask is None
    documents[-1, -1] = -1  # padding is a document of its own
    context = AttentionContext.of(torch.zeros_like(documents), None, documents, None)
    assert context.mask is not None


@pytest.mark.parametrize("kv_heads", [2, 8])
def test_the_kernel_of_lengths_is_called_as_this_torch_wants_it(kv_heads):
    """Without numbers, on the meta device; what it computes is shown on a GPU (tests/test_gpu.py)."""
    shapes = ((2, 16, heads, 32) for heads in (8, kv_heads, kv_heads))
    q, k, v = (torch.empty(shape, device="meta", dtype=torch.bfloat16, requires_grad=True) for shape in shapes)
    documents, offsets = (torch.empty(size, device="meta", dtype=torch.int32) for size in ((2, 16), (4,)))
    out = attend(q, k, v, AttentionContext(documents, documents, None, None, offsets=offsets), 0)
    out.sum().backward()
    assert out.shape == q.shape and k.grad.shape == v.grad.shape == k.shape


def test_heads_that_the_kernel_of_lengths_does_not_take_are_masked():
    documents = torch.tensor([[0, 0, 0, 1, 1, 1]])
    q, k, v = (torch.randn(1, 6, heads, 12) for heads in (4, 2, 2))
    offsets = torch.tensor([0, 3, 6], dtype=torch.int32)
    found = attend(q, k, v, AttentionContext(documents, documents, None, None, offsets=offsets), 0)
    masked = AttentionContext(documents, documents, None, document_mask(documents))
    torch.testing.assert_close(found, attend(q, k, v, masked, 0), rtol=0, atol=0)


def test_documents_and_a_cache_together_are_refused():
    tokens = torch.zeros(1, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="came both"):
        AttentionContext.of(tokens, None, tokens, SlotCache(PRESETS["nano"], 1, 4))

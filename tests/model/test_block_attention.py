"""Attention by blocks of queries: torch's own result and gradients, and only where it is the better choice."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from puna.model import Llama, LlamaConfig, block_attention
from puna.model.attention import AttentionContext, attend


@pytest.fixture(autouse=True)
def narrow_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores without AVX-512, whatever these are."""
    monkeypatch.setattr(block_attention, "HAS_WIDE_VECTORS", False)


def drawn(rows: int, tokens: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, tokens, n, width) for n in (heads, kv_heads, kv_heads, heads)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def by_torch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (one.transpose(1, 2) for one in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)


@pytest.mark.parametrize("tokens", [384, 500, 512])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (4, 1)])
def test_result_and_gradients_are_those_of_torch(tokens: int, heads: int, kv_heads: int) -> None:
    *inputs, slope = drawn(2, tokens, heads, kv_heads, 8, torch.float32)
    found = []
    for attention in (block_attention.block_attention, by_torch):
        leaves = [one.clone().requires_grad_() for one in inputs]
        out = attention(*leaves)
        out.backward(slope)
        found.append([out.detach(), *(one.grad for one in leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_attention, "_BLOCK", 3)
    *inputs, _ = drawn(2, 7, 4, 2, 3, torch.float64)
    leaves = [one.requires_grad_() for one in inputs]
    assert torch.autograd.gradcheck(block_attention.block_attention, leaves)


def test_only_rows_of_the_right_length_that_are_learned_from_are_computed_so() -> None:
    q, *_ = drawn(1, 384, 2, 1, 4, torch.float32)
    assert not block_attention.suits(q)  # nothing to learn
    q.requires_grad_()
    assert block_attention.suits(q)
    with torch.no_grad():
        assert not block_attention.suits(q)
    assert not block_attention.suits(q[:, :383]) and not block_attention.suits(q.bfloat16())
    longer = torch.cat([q] * 3, dim=1)
    assert block_attention.suits(longer[:, :1024]) and not block_attention.suits(longer[:, :1025])


def test_cores_with_wide_vectors_have_a_faster_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    q = drawn(1, 512, 2, 1, 4, torch.float32)[0].requires_grad_()
    assert block_attention.suits(q) and block_attention.kept_probabilities(2, 512) > 0
    monkeypatch.setattr(block_attention, "HAS_WIDE_VECTORS", True)
    assert not block_attention.suits(q) and block_attention.kept_probabilities(2, 512) == 0.0


@pytest.mark.parametrize("lengths", [[512], [400, 112], [100, 412]])
def test_whole_rows_and_long_documents_are_what_the_mask_gives(
    lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(
        "puna.model.attention.block_attention",
        lambda *parts: (calls.append(parts[0].shape[1]), block_attention.block_attention(*parts))[1],
    )
    q, k, v, slope = drawn(2, 512, 4, 2, 8, torch.float32)
    documents = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)]).expand(2, 512)
    q.requires_grad_()
    context = AttentionContext.of(documents, documents, documents, None)
    out = attend(q, k, v, context, 0)
    out.backward(slope)
    assert calls == ([512] if lengths == [512] else [max(lengths)] * 2)
    expected = q.detach().clone().requires_grad_()
    mask = (documents[:, :, None] == documents[:, None]).tril()[:, None]
    heads = [one.transpose(1, 2) for one in (expected, k, v)]
    F.scaled_dot_product_attention(*heads, attn_mask=mask, enable_gqa=True).transpose(1, 2).backward(slope)
    torch.testing.assert_close(q.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_a_model_learns_the_same_from_it() -> None:
    config = LlamaConfig(32, 2, 4, 2, 48, 64, max_position=512)
    tokens = torch.randint(64, (2, 512), generator=torch.Generator().manual_seed(1))
    grads = []
    for shortest in (384, 10_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(block_attention, "SHORTEST", shortest)
            model = Llama(config)
            model(tokens).square().mean().backward()
            grads.append(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-8)

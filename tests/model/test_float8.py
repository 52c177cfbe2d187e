"""Products in 8 bits: what they are, by hand; gradients near bf16's; nothing changes where nothing is learned."""

import dataclasses

import pytest
import torch
from torch import nn

from puna.model import Llama, LlamaConfig
from puna.model.compiled import compile_layers
from puna.model.float8 import Float8Linear, _product, _scaled, use_float8
from puna.pretrain.computing import has_compiler

SHAPE = LlamaConfig(dim=64, layers=2, heads=4, kv_heads=2, ffn_dim=128, vocab_size=96, max_position=64)


def rounded(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What 8 bits keep of `x` with one scale, in float64."""
    scale = x.abs().max() / torch.finfo(dtype).max
    return (x / scale).to(dtype).double() * scale.double()


def linear(num_in: int, num_out: int) -> nn.Linear:
    one = nn.Linear(num_in, num_out, bias=False)
    one.__class__ = Float8Linear
    return one


@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e5])
def test_products_are_those_of_rounded_factors(magnitude: float) -> None:
    """Forward e4m3 by e4m3; both gradients e5m2 by e4m3. In fp32 out, sums are near float64's."""
    torch.manual_seed(0)
    one, x = linear(48, 32), (torch.randn(3, 16, 48) * magnitude).requires_grad_()
    out = one(x)
    slope = torch.randn_like(out)
    out.backward(slope)
    with torch.no_grad():
        x8 = rounded(x.flatten(0, 1), torch.float8_e4m3fn)
        weight8, slope8 = (
            rounded(one.weight, torch.float8_e4m3fn),
            rounded(slope.flatten(0, 1), torch.float8_e5m2),
        )
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(out.flatten(0, 1) / magnitude, (x8 @ weight8.T / magnitude).float(), **close)
    assert x.grad is not None and one.weight.grad is not None
    torch.testing.assert_close(x.grad.flatten(0, 1), (slope8 @ weight8).float(), **close)
    torch.testing.assert_close(one.weight.grad / magnitude, (slope8.T @ x8 / magnitude).float(), **close)


def test_on_cores_they_are_torch_s_own() -> None:
    x, weight = torch.randn(32, 48), torch.randn(64, 48)
    (x8, x_scale), (weight8, weight_scale) = _scaled(x, torch.float8_e5m2), _scaled(weight, torch.float8_e4m3fn)
    factors = (x8, weight8.t(), x_scale, weight_scale)
    expected = torch._scaled_mm(*factors[:2], scale_a=x_scale, scale_b=weight_scale, out_dtype=torch.float32)
    torch.testing.assert_close(_product(*factors, torch.float32), expected, rtol=1e-5, atol=1e-5)


def learned(model: Llama, tokens: torch.Tensor) -> tuple[torch.Tensor, float]:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.hidden(tokens)
        loss = nn.functional.cross_entropy((hidden @ model.output_weight.T).float().flatten(0, 1), tokens.flatten())
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), loss.item()


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.skipif(not has_compiler(), reason="no C++ compiler"))]
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")  # torch.compile does
def test_gradients_are_near_those_in_bf16(compiled: bool) -> None:
    tokens = torch.randint(96, (2, 32), generator=torch.Generator().manual_seed(1))
    plain, eight = Llama(SHAPE), Llama(SHAPE)
    for model in (plain, eight):
        model.initialise(0, std=0.1)
    assert use_float8(eight) == 2 * 7
    if compiled:
        compile_layers(eight)
    expected, loss = learned(plain, tokens)
    found, loss8 = learned(eight, tokens)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in eight.parameters())
    assert torch.cosine_similarity(expected, found, dim=0) > 0.98
    assert loss8 == pytest.approx(loss, rel=2e-2) and loss8 != loss


def test_nothing_changes_where_nothing_is_learned_or_sizes_do_not_fit() -> None:
    plain, eight = Llama(SHAPE), Llama(SHAPE)
    use_float8(eight)
    tokens = torch.arange(32).view(2, 16)
    with torch.no_grad():
        assert torch.equal(plain(tokens), eight(tokens))
    assert list(plain.state_dict()) == list(eight.state_dict())
    odd = Llama(dataclasses.replace(SHAPE, ffn_dim=72))
    assert use_float8(odd) == 2 * 4  # the attention's alone


@pytest.mark.parametrize("count", [1, 15, 17, 40])
def test_any_number_of_tokens_is_filled_up(count: int) -> None:
    """With zeros, which change no scale and no sum."""
    torch.manual_seed(0)
    one, x = linear(16, 32), torch.randn(48, 16)
    outs = [one(part.requires_grad_()) for part in (x[:count].clone(), x[:count].clone().repeat(16, 1))]
    torch.testing.assert_close(outs[0], outs[1][:count], rtol=0, atol=1e-6)
    outs[0].sum().backward()
    assert one.weight.grad is not None
    alone = one.weight.grad.clone()
    one.weight.grad = None
    (outs[1].sum() / 16).backward()
    torch.testing.assert_close(alone, one.weight.grad, rtol=1e-4, atol=1e-5)


def test_experts_learn_in_8_bits_and_their_router_does_not() -> None:
    model = Llama(dataclasses.replace(SHAPE, num_experts=4, experts_per_token=2))
    assert use_float8(model) == 2 * (4 + 4 * 3)
    names = [name for name, one in model.named_modules() if isinstance(one, Float8Linear)]
    assert not any("router" in name for name in names)
    plain = Llama(model.config)
    tokens = torch.tensor([[3, 3, 3, 3]])  # some expert gets none of them, and no expert gets sixteen
    (found, loss8), (expected, loss) = learned(model, tokens), learned(plain, tokens)
    assert torch.cosine_similarity(expected, found, dim=0) > 0.98 and loss8 == pytest.approx(loss, rel=2e-2)


def test_what_is_no_number_stays_none() -> None:
    """A loss that is no number is found by the loop; 8 bits must not hide it."""
    one, x = linear(16, 16), torch.randn(16, 16)
    x[3, 4] = float("inf")
    assert not one(x).isfinite().all()
    x[3, 4] = float("nan")
    assert not one(x).isfinite().all()

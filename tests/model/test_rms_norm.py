"""RMSNorm beside torch's, and its gradient beside finite differences."""

import pytest
import torch
import torch.nn.functional as F

from puna.model.rms_norm import rms_norm


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(len(shape))).requires_grad_()


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_gradients_are_those_of_finite_differences(shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(lambda x, weight: rms_norm(x, weight, 0.1), (drawn(*shape), drawn(shape[-1])))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
def test_it_is_torchs_rms_norm_whatever_the_strides(order: tuple[int, int, int]) -> None:
    x, weight = drawn(4, 7, 24, dtype=torch.float32), drawn(24, dtype=torch.float32)
    slope = drawn(7, 4, 24, dtype=torch.float32).detach().permute(1, 0, 2).permute(order)
    found, expected = (
        (out, *torch.autograd.grad(out, (x, weight), slope))
        for out in (rms_norm(x.permute(order), weight, 1e-5), F.rms_norm(x.permute(order), (24,), weight, 1e-5))
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=2e-6)


def test_bfloat16_is_left_to_torch() -> None:
    x, weight = drawn(3, 64).bfloat16(), drawn(64).bfloat16()
    assert torch.equal(rms_norm(x, weight, 1e-5), F.rms_norm(x, (64,), weight, 1e-5))

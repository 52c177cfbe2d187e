"""Products of the layers' matrices in 8 bits: twice the rate of bf16's on hardware that has them (Micikevicius 2022).

    x, weight -> e4m3, each by its own largest number -> product in bf16, with both scales
    slope -> e5m2, which has more range -> gradients of x and of weight

Scales are found anew at every product ("dynamic"), one for a whole tensor. Embedding, output matrix, norms, attention,
weights as they are kept, optimizer and losses are not touched.

N tokens, I and O numbers in and out.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.model.llama import Layer, Llama

_VALUES, _SLOPES = torch.float8_e4m3fn, torch.float8_e5m2
_MULTIPLE = 16
"""What sizes have to be multiples of for the hardware."""
_TINY = 1e-12


def use_float8(model: Llama) -> int:
    """Compute the layers' matrices in 8 bits from now on, where gradients are wanted; in place. How many those are.

    Without gradients (validation, generation) they are what they were; experts' routers stay, and so do matrices whose
    numbers in or out are no multiple of 16.
    """
    count = 0
    for layer in model.layers.children():
        assert isinstance(layer, Layer)
        for name, module in layer.named_modules():
            if type(module) is not nn.Linear or name.endswith("router"):
                continue
            if module.in_features % _MULTIPLE == module.out_features % _MULTIPLE == 0:
                module.__class__ = Float8Linear
                count += 1
    return count


def has_float8(device: torch.device) -> bool:
    """Whether a device has such products; cores compute the same in fp32."""
    return device.type == "cpu" or torch.cuda.get_device_capability(device) >= (8, 9)


class Float8Linear(nn.Linear):
    """A linear layer without bias whose products are in 8 bits while it learns."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] to [..., O], in autocast's dtype if that is on."""
        tokens = x.flatten(0, -2)
        if not torch.is_grad_enabled() or not len(tokens):  # an expert that no token reaches
            return F.linear(x, self.weight)
        kind, count = x.device.type, len(tokens)
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        if count % _MULTIPLE:
            tokens = F.pad(tokens, (0, 0, 0, -count % _MULTIPLE))
        product: Tensor = _Float8Product.apply(tokens, self.weight, dtype)
        return product[:count].unflatten(0, x.shape[:-1])


class _Float8Product(torch.autograd.Function):
    """x [N, I] by weight [O, I] transposed: [N, O]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        (x8, x_scale), (weight8, weight_scale) = _scaled(x, _VALUES), _scaled(weight, _VALUES)
        # The weight itself, which is there anyhow or, sharded, is fetched again: its 8 bits would be one more copy.
        ctx.save_for_backward(x8, x_scale, weight)
        ctx.x_dtype = x.dtype
        return _product(x8, weight8.t(), x_scale, weight_scale, dtype, is_fast=True)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        x8, x_scale, weight = ctx.saved_tensors
        (weight8, weight_scale), (slope8, slope_scale) = _scaled(weight, _VALUES), _scaled(slope, _SLOPES)
        # The hardware wants its second factor column by column.
        of_x = _product(slope8, _by_columns(weight8), slope_scale, weight_scale, ctx.x_dtype)
        of_weight = _product(slope8.t().contiguous(), _by_columns(x8), slope_scale, x_scale, weight.dtype)
        return of_x, of_weight, None


def _scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`x` in 8 bits, its largest number on the largest there is, and the factor that takes that back."""
    scale = x.abs().amax().float().clamp(min=_TINY) / torch.finfo(dtype).max
    return (x.float() / scale).to(dtype).contiguous(), scale


def _product(
    a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, dtype: torch.dtype, is_fast: bool = False
) -> Tensor:
    """is_fast: sums of fewer bits, which is enough for values and too little for gradients."""
    if a.is_cuda:
        return torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=dtype, use_fast_accum=is_fast)
    # Cores have no such product, and torch's for them is a thousand times slower than this, which is the same one.
    return ((a.float() @ b.float()) * (a_scale * b_scale)).to(dtype)


def _by_columns(matrix: Tensor) -> Tensor:
    return matrix.t().contiguous().t()

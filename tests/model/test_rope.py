import pytest
import torch
from transformers import LlamaConfig as ReferenceConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from puna.model.config import LLAMA31_ROPE_SCALING, LLAMA32_ROPE_SCALING
from puna.model.rope import apply_rope, rope_frequencies, rope_tables


@pytest.mark.parametrize("scaling", [LLAMA31_ROPE_SCALING, LLAMA32_ROPE_SCALING])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_scaled_frequencies_are_those_of_transformers(scaling, head_dim):
    reference = ReferenceConfig(
        hidden_size=head_dim, num_attention_heads=1, rope_parameters={**scaling, "rope_theta": 500_000.0}
    )
    expected, attention_factor = ROPE_INIT_FUNCTIONS["llama3"](reference, "cpu")
    assert attention_factor == 1.0
    assert torch.equal(rope_frequencies(head_dim, 500_000.0, scaling), expected)


def test_scaling_keeps_short_waves_and_stretches_long_ones():
    plain, scaled = rope_frequencies(128, 500_000.0), rope_frequencies(128, 500_000.0, LLAMA31_ROPE_SCALING)
    assert torch.equal(scaled[:20], plain[:20])
    torch.testing.assert_close(scaled[-10:], plain[-10:] / 8)


def test_rope_is_a_rotation_of_channel_pairs():
    x = torch.randn(2, 5, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([[0, 1, 2, 3, 4], [7, 100, 3, 3, 0]])
    frequencies = rope_frequencies(8, 10_000.0)
    turned = apply_rope(x, *rope_tables(frequencies, positions, x.dtype))
    pairs = torch.complex(x[..., :4], x[..., 4:])
    angles = (positions.float()[..., None] * frequencies).double()[:, :, None]
    expected = pairs * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(turned, torch.cat([expected.real, expected.imag], -1), atol=1e-6, rtol=0)

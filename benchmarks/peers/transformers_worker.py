"""transformers' Llama for benchmarks/train.py; runs in our own environment, which has it for the tests."""

from typing import Any

import torch
import torch.nn.functional as F
import training
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM


def build(shape: dict[str, Any], weights: dict[str, Tensor]) -> tuple[nn.Module, Any]:
    """The model with SDPA attention, its default, and its loss."""
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=shape["dim"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            num_key_value_heads=shape["kv_heads"],
            intermediate_size=shape["ffn_dim"],
            vocab_size=shape["vocab_size"],
            max_position_embeddings=shape["max_position"],
            rms_norm_eps=shape["norm_eps"],
            rope_parameters={"rope_type": "default", "rope_theta": shape["rope_theta"]},
            tie_word_embeddings=True,
            attn_implementation="sdpa",
        )
    ).train()
    model.load_state_dict(weights, strict=False)
    model.tie_weights()

    def loss(tokens: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

    return model, loss


if __name__ == "__main__":
    torch.manual_seed(0)
    training.serve(build)

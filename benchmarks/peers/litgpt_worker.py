"""litgpt's Llama for benchmarks/train.py; runs in litgpt's own environment (litgpt.txt)."""

from typing import Any

import torch
import torch.nn.functional as F
import training
from litgpt.config import Config
from litgpt.model import GPT
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
from torch import Tensor, nn


def build(shape: dict[str, Any], weights: dict[str, Tensor]) -> tuple[nn.Module, Any]:
    """The model of its pretraining with tied embeddings, and its loss; it has no mask of padding."""
    config = Config(
        n_layer=shape["layers"],
        n_embd=shape["dim"],
        n_head=shape["heads"],
        n_query_groups=shape["kv_heads"],
        head_size=shape["head_dim"],
        intermediate_size=shape["ffn_dim"],
        vocab_size=shape["vocab_size"],
        padded_vocab_size=shape["vocab_size"],
        block_size=shape["max_position"],
        rotary_percentage=1.0,
        rope_base=int(shape["rope_theta"]),
        norm_class_name="RMSNorm",
        norm_eps=shape["norm_eps"],
        mlp_class_name="LLaMAMLP",
        parallel_residual=False,
        bias=False,
    )
    model = GPT(config)
    renamed: dict[str, Tensor] = {}
    copy_weights_hf_llama(config, {}, renamed, {**weights, "lm_head.weight": weights["model.embed_tokens.weight"]})
    model.load_state_dict(renamed)
    model.lm_head.weight = model.transformer.wte.weight

    def loss(tokens: Tensor, targets: Tensor, mask: None = None) -> Tensor:
        return F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), ignore_index=-100)

    return model, loss


if __name__ == "__main__":
    torch.manual_seed(0)
    training.serve(build)

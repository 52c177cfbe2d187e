"""A model with experts in Mixtral's spelling: names of tensors, and what config.json says beside a Llama's.

A router with a bias has no counterpart in Mixtral, which would drop it and choose other experts; such a folder is of a
`model_type` of its own, so that other programs refuse it instead of computing something else.
"""

from typing import Any

from puna.base.errors import ArtifactError
from puna.model.config import LlamaConfig

BIASED = "mixtral-router-bias"
MODEL_TYPES = ("mixtral", BIASED)
_EXPERT = {"gate": "w1", "up": "w3", "down": "w2"}


def mixtral_name(inner: str) -> str | None:
    """`feed_forward.experts.3.up` is block_sparse_moe.experts.3.w3; None for what is no part of a mixture."""
    if inner.startswith("feed_forward.router"):
        return "block_sparse_moe." + ("gate" if inner == "feed_forward.router" else "router_bias")
    if not inner.startswith("feed_forward.experts."):
        return None
    number, part = inner.removeprefix("feed_forward.experts.").split(".")
    return f"block_sparse_moe.experts.{number}.{_EXPERT[part]}"


def mixtral_to_json(config: LlamaConfig) -> dict[str, Any]:
    """What a Mixtral's config.json has, or has otherwise, than a Llama's; nothing for a dense model."""
    if config.num_experts == 1:
        return {}
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": BIASED if config.router_bias else "mixtral",
        "num_local_experts": config.num_experts,
        "num_experts_per_tok": config.experts_per_token,
        "router_aux_loss_coef": 0.0,
        "router_jitter_noise": 0.0,
        "output_router_logits": False,
        "sliding_window": None,
    }


def read_mixtral(values: dict[str, Any], where: object) -> dict[str, Any]:
    """The experts' part of a LlamaConfig from a config.json; nothing if that is of a dense model.

    Raises ArtifactError if the model attends in a window, which ours does not. Raises KeyError if a number is missing.
    """
    if values.get("model_type") not in MODEL_TYPES:
        return {}
    if values.get("sliding_window") is not None:
        raise ArtifactError(f"{where}: expected no sliding_window, came {values['sliding_window']}")
    return {
        "num_experts": values["num_local_experts"],
        "experts_per_token": values["num_experts_per_tok"],
        "router_bias": values["model_type"] == BIASED,
    }

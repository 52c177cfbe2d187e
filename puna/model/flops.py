"""FLOPs a token, from a shape: what a plan is reckoned with, and what a running model's speed is measured by.

Sizes: D model width, H query heads, C head width, T tokens of a sequence, L layers, V vocabulary.
"""

from collections.abc import Callable

from puna.base.errors import ConfigError
from puna.model.config import LlamaConfig


def training_flops(config: LlamaConfig, sequence: int, count: str = "6nd") -> float:
    """FLOPs that one token of training takes, three times `forward_flops`; recomputed activations do not count."""
    return 3 * forward_flops(config, sequence, count)


def forward_flops(config: LlamaConfig, sequence: int, count: str = "6nd") -> float:
    """FLOPs of one token forward, in a sequence of T, by the name of the way to count:

    6nd: 2 N, every active parameter, no attention; what Hoffmann 2022 and Llama 3 mean by C = 6 N D.
    full: 2 per weight of a matrix product (the output matrix too, no embedding or norm) and 4 L H C T for queries by
        keys and probabilities by values, masked ones too; Megatron's and PaLM's 12 L H C T of training.
    causal: the same with the (T + 1) / 2 keys that a token sees on average, 2 L H C (T + 1).

    Norms, RoPE, softmax and SiLU are left out, as everywhere. Raises ConfigError for another name.
    """
    if sequence < 1:
        raise ConfigError(f"sequence: expected a number above 0, came {sequence}")
    if count not in COUNTS:
        raise ConfigError(f"count: expected {', '.join(COUNTS)}, came {count!r}")
    return COUNTS[count](config, sequence)


def matmul_weights(config: LlamaConfig) -> int:
    """Weights that a token is multiplied by: those of the layers' matrices and of the output matrix, V D.

    Of experts those that one token uses, and the router's.
    """
    attention = 2 * config.dim * config.head_dim * (config.heads + config.kv_heads)
    feed_forward = 3 * config.dim * config.ffn_dim * config.experts_per_token
    router = config.dim * config.num_experts if config.num_experts > 1 else 0
    return config.layers * (attention + feed_forward + router) + config.vocab_size * config.dim


def _six_nd(config: LlamaConfig, sequence: int) -> float:
    return 2.0 * config.num_active_parameters()


def _full(config: LlamaConfig, sequence: int) -> float:
    return 2.0 * matmul_weights(config) + 4.0 * config.layers * config.heads * config.head_dim * sequence


def _causal(config: LlamaConfig, sequence: int) -> float:
    return 2.0 * matmul_weights(config) + 2.0 * config.layers * config.heads * config.head_dim * (sequence + 1)


COUNTS: dict[str, Callable[[LlamaConfig, int], float]] = {"6nd": _six_nd, "causal": _causal, "full": _full}
"""Ways to count FLOPs; see `forward_flops`."""

"""What a shape costs: parameters, FLOPs a token, bytes of caches and checkpoints.

Sizes: D model width, H query heads, K key/value heads, C head width, F feed-forward width, V vocabulary, L layers,
T tokens of a sequence.
"""

from collections.abc import Callable

from puna.base.errors import ConfigError
from puna.model.config import LlamaConfig
from puna.scaling.law import FLOPS_PER_WEIGHT
from puna.scaling.numbers import positive

DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
OPTIMIZERS = ("adamw", "muon")


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
    positive("sequence", sequence)
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


def kv_cache_bytes(config: LlamaConfig, dtype: str = "bf16") -> int:
    """Bytes of keys and values that a server keeps for one token of context: 2 L K C values."""
    return 2 * config.layers * config.kv_heads * config.head_dim * dtype_bytes(dtype)


def weight_bytes(config: LlamaConfig, dtype: str = "bf16") -> int:
    """Bytes of a model to give away."""
    return config.num_parameters() * dtype_bytes(dtype)


def checkpoint_bytes(config: LlamaConfig, optimizer: str = "adamw") -> int:
    """Bytes of a state that training goes on from: weights in fp32 and what the optimizer keeps."""
    return 4 * (config.num_parameters() + optimizer_values(config, optimizer))


def optimizer_values(config: LlamaConfig, optimizer: str = "adamw") -> int:
    """Numbers an optimizer keeps beside the weights: AdamW two a weight, Muon one for each of the layers' matrices.

    With Muon embedding, output and norms are AdamW's. Raises ConfigError for another name.
    """
    if optimizer not in OPTIMIZERS:
        raise ConfigError(f"optimizer: expected {', '.join(OPTIMIZERS)}, came {optimizer!r}")
    both = 2 * config.num_parameters()
    return both - inner_matrices(config) if optimizer == "muon" else both


def inner_matrices(config: LlamaConfig) -> int:
    """Weights of the layers' matrices, all experts': parameters less embedding, output matrix and norms."""
    outer = (1 if config.tied else 2) * config.vocab_size * config.dim + config.dim
    vectors = 2 * config.dim + (config.num_experts if config.router_bias else 0)
    return config.num_parameters() - outer - config.layers * vectors


def dtype_bytes(dtype: str) -> int:
    """Bytes of one number. Raises ConfigError for an unknown name."""
    if dtype not in DTYPE_BYTES:
        raise ConfigError(f"dtype: expected {', '.join(DTYPE_BYTES)}, came {dtype!r}")
    return DTYPE_BYTES[dtype]


def _six_nd(config: LlamaConfig, sequence: int) -> float:
    return FLOPS_PER_WEIGHT / 3 * config.num_active_parameters()


def _full(config: LlamaConfig, sequence: int) -> float:
    return 2.0 * matmul_weights(config) + 4.0 * config.layers * config.heads * config.head_dim * sequence


def _causal(config: LlamaConfig, sequence: int) -> float:
    return 2.0 * matmul_weights(config) + 2.0 * config.layers * config.heads * config.head_dim * (sequence + 1)


COUNTS: dict[str, Callable[[LlamaConfig, int], float]] = {"6nd": _six_nd, "causal": _causal, "full": _full}
"""Ways to count FLOPs; see `forward_flops`."""

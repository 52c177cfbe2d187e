"""What a shape costs: bytes of weights, caches and checkpoints; its FLOPs are in puna/model/flops.py.

Sizes: K key/value heads, C head width, L layers.
"""

from puna.base.errors import ConfigError
from puna.model.config import LlamaConfig

DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
OPTIMIZERS = ("adamw", "muon")


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

"""Bytes that training takes on each device, by part, before anything is made.

Sizes: B rows and T tokens of a micro-batch, D model width, H query heads, K key/value heads, C head width,
F feed-forward width, V vocabulary, L layers.

What is kept for the backward pass is counted from `puna/model` as autograd keeps it, and measured in tests.
"""

import math
from dataclasses import dataclass

from puna.base.errors import ConfigError
from puna.model.block_attention import LONGEST, kept_probabilities
from puna.model.config import LlamaConfig
from puna.scaling.count import dtype_bytes, inner_matrices, optimizer_values
from puna.scaling.numbers import positive

RECOMPUTE = ("none", "pointwise", "layers")
"""What the backward pass computes again: nothing; norms, SiLU and its product, as compilers do, at hardly any cost; or
whole layers from their inputs, which costs a third of all compute."""

_HEAP, _HEAP_BASE = 1.30, 15e6
"""Resident bytes of a process on a CPU for each byte of its tensors, and beside them: glibc keeps pieces that were
given back. Set on eight models of 1M to 13M parameters on two days, which it misses by 7% at most (docs/scaling.md)."""


@dataclass(frozen=True)
class Split:
    """Over how many devices each thing is divided: tensors, the sequence, layers, and the batch.

    Weights and optimizer are divided over `context` and `data` too (FSDP). reshard: gathered weights are given back
    after each layer, and gradients divided after each micro-batch; without it both stay whole, as in Llama 3's section
    3.3.2. stages: parts of the layers that each of the `pipeline` ranks holds (V of the interleaved schedule).
    """

    tensor: int = 1
    context: int = 1
    pipeline: int = 1
    data: int = 1
    reshard: bool = False
    stages: int = 1

    def __post_init__(self) -> None:
        for name in ("tensor", "context", "pipeline", "data", "stages"):
            positive(name, getattr(self, name))

    @property
    def shards(self) -> int:
        """Devices that hold a part each of the same weights."""
        return self.context * self.data

    @property
    def gpus(self) -> int:
        """Devices in all."""
        return self.tensor * self.pipeline * self.shards


@dataclass(frozen=True)
class Memory:
    """Bytes on the device that needs most. `workspace`: what the end of a backward pass and the step take for a moment.

    accumulates: gradients of earlier micro-batches are there when the activations are at their height. heap, heap_base:
    what the process takes for each byte of a tensor and beside them; what a GPU's allocator keeps is left to whoever
    compares with its memory.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    workspace: float
    accumulates: bool
    heap: float = 1.0
    heap_base: float = 0.0

    @property
    def resident(self) -> float:
        """Bytes that the device must have."""
        return self.heap * self.peak + self.heap_base

    @property
    def peak(self) -> float:
        """Bytes of tensors at the worst moment: at the loss of a micro-batch, or when all gradients are whole."""
        at_loss = self.activations + self.logits + (self.gradients if self.accumulates else 0)
        return self.weights + self.optimizer + max(at_loss, self.gradients + self.workspace)


def training_memory(
    config: LlamaConfig,
    micro_batch: int,
    sequence: int,
    *,
    micro_batches: int = 1,
    split: Split = Split(),
    dtype: str = "bf16",
    optimizer: str = "adamw",
    recompute: str = "none",
    packed: bool = True,
    chunk_tokens: int = 0,
) -> Memory:
    """Memory of training steps of `micro_batches` times B = micro_batch rows of T = sequence tokens on each data rank.

    With bf16, products are in bf16 and master weights, moments and gradients in fp32 (Llama 3's gradients too, 3.3.2).
    packed: rows hold several documents. chunk_tokens: logits that exist at once (`LossConfig`; 0: all).

    Raises ConfigError for models with experts, whose activations depend on their load.
    """
    if config.num_experts > 1:
        raise ConfigError(f"num_experts: expected 1, came {config.num_experts}; memory of experts is not counted yet")
    if recompute not in RECOMPUTE:
        raise ConfigError(f"recompute: expected {', '.join(RECOMPUTE)}, came {recompute!r}")
    for name, value in (("micro_batch", micro_batch), ("sequence", sequence), ("micro_batches", micro_batches)):
        positive(name, value)
    held = stage_parameters(config, split)
    accumulates = micro_batches > 1
    weights, gradients = _weights_and_gradients(config, split, held, dtype, accumulates)
    kept = optimizer_values(config, optimizer) / config.num_parameters() + (0 if dtype == "fp32" else 1)
    tokens = micro_batch * sequence / split.context
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=4 * kept * held / split.shards,
        activations=_activations(config, split, tokens, sequence, micro_batches, dtype, recompute, packed),
        logits=_logits(config, split, tokens, dtype, chunk_tokens),
        workspace=_workspace(config, split, optimizer, dtype, accumulates),
        accumulates=accumulates,
        heap=_HEAP if dtype == "fp32" else 1.0,
        heap_base=_HEAP_BASE if dtype == "fp32" else 0.0,
    )


def stage_layers(config: LlamaConfig, split: Split) -> int:
    """Layers of the fullest pipeline rank; of several the first and the last hold one less (Llama 3, 3.3.2)."""
    return config.layers if split.pipeline == 1 else math.ceil((config.layers + 2) / split.pipeline)


def stage_parameters(config: LlamaConfig, split: Split) -> float:
    """Parameters of the fullest pipeline rank, divided over its tensor-parallel devices."""
    if split.pipeline == 1:
        return config.num_parameters() / split.tensor
    matrix = config.vocab_size * config.dim
    layer = (config.num_parameters() - (1 if config.tied else 2) * matrix - config.dim) / config.layers
    layers = stage_layers(config, split)
    # The ends hold the embedding or the output matrix for a layer.
    return max(layers * layer, (layers - 1) * layer + matrix + config.dim) / split.tensor


def activation_values(
    config: LlamaConfig, sequence: int, recompute: str = "none", packed: bool = True, on_cores: bool = False
) -> float:
    """Numbers that one layer keeps for each token until the backward pass.

    none: of each norm input, normalised and output (6 D); queries after RoPE, the attention's output (2 H C) and its
    log-sums (H); keys and values (2 K C); gate, up, SiLU and product (4 F). Packed documents are attended one by one
    and put together, so that the output is there twice. on_cores: documents of a middle length keep probabilities in
    place of log-sums (model/block_attention.py); counted are rows that are full of the longest of them.
    pointwise: inputs of the norms (2 D), queries, keys, values, output, gate and up. layers: the layer's input, D.
    """
    heads, kv_heads = config.heads * config.head_dim, config.kv_heads * config.head_dim
    if recompute == "layers":
        return config.dim
    if recompute == "pointwise":
        return 2 * (config.dim + heads + kv_heads + config.ffn_dim + 1) + config.heads
    inner = 6 * config.dim + 2 * heads + 2 * kv_heads + 4 * config.ffn_dim + 2
    by_kernel = inner + config.heads + (heads if packed else 0)
    probabilities = kept_probabilities(config.heads, min(sequence, LONGEST)) if on_cores else 0
    return max(by_kernel, inner + probabilities)


def _weights_and_gradients(
    config: LlamaConfig, split: Split, held: float, dtype: str, accumulates: bool
) -> tuple[float, float]:
    size = dtype_bytes(dtype)
    if split.shards == 1:
        # Masters in fp32 are the optimizer's where products are in another dtype.
        return size * held, 4 * held
    # Two gathered units: one in use, one on its way.
    unit = 2 * max(_layer(config), config.vocab_size * config.dim) / split.tensor
    own = 4 * held / split.shards if dtype == "fp32" else 0
    if split.reshard:
        return own + size * min(unit, held), 4 * (held / split.shards + min(unit, held))
    return own + size * held, 4 * (held if accumulates else held / split.shards + min(unit, held))


def _activations(
    config: LlamaConfig,
    split: Split,
    tokens: float,
    sequence: int,
    micro_batches: int,
    dtype: str,
    recompute: str,
    packed: bool,
) -> float:
    """Bytes at the height: all micro-batches in flight of the first pipeline rank's layers, and the last norm."""
    on_cores = dtype == "fp32" and split.context == 1
    layer = activation_values(config, sequence, recompute, packed, on_cores)
    in_flight = 1.0
    if split.pipeline > 1:
        # Interleaving keeps (P - 1) / (P V) more (Narayanan 2021; Korthikanti 2022, section 4.2.3).
        warm_up = split.pipeline * (1 + (split.pipeline - 1) / (split.pipeline * split.stages))
        in_flight = min(float(micro_batches), warm_up)
    values = layer * stage_layers(config, split) * in_flight
    if recompute == "layers":
        values += activation_values(config, sequence, "none", packed, on_cores)
    values += (3 if recompute == "none" else 2) * config.dim + config.head_dim
    return dtype_bytes(dtype) * values * tokens / split.tensor


def _logits(config: LlamaConfig, split: Split, tokens: float, dtype: str, chunk_tokens: int) -> float:
    """Bytes at the loss, or a moment later with the gradient of the output matrix.

    Log-probabilities and two gradients in fp32, beside the logits themselves in another dtype. In chunks: three of
    these, the gradient of the output matrix in fp32 and in another dtype a chunk's part of it, and the learned states
    with their gradient.
    """
    vocabulary, size = config.vocab_size / split.tensor, dtype_bytes(dtype)
    if chunk_tokens:
        states = 2 * size * tokens * config.dim
        part = 0 if dtype == "fp32" else size
        return 12 * min(chunk_tokens, tokens) * vocabulary + states + (4 + part) * vocabulary * config.dim
    at_loss = (12 if dtype == "fp32" else 12 + size) * tokens
    return vocabulary * max(at_loss, size * (tokens + config.dim))


def _workspace(config: LlamaConfig, split: Split, optimizer: str, dtype: str, accumulates: bool) -> float:
    """Bytes beside whole gradients: where those of the vocabulary are added up, or in Muon's step."""
    # Autograd adds up both uses of a tied matrix before it hands them on.
    copies = (2 if config.tied else 0) + (1 if accumulates else 0)
    vocabulary = copies * dtype_bytes(dtype) * config.vocab_size * config.dim
    return max(vocabulary, _muon_bytes(config, split) if optimizer == "muon" else 0) / split.tensor


def _muon_bytes(config: LlamaConfig, split: Split) -> float:
    """Matrices of one shape are turned together: a stack, iterates of Newton-Schulz, and their squares, in fp32."""
    heads, kv_heads = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = [(heads, config.dim), (kv_heads, config.dim), (kv_heads, config.dim), (config.dim, heads)]
    shapes += [(config.ffn_dim, config.dim), (config.ffn_dim, config.dim), (config.dim, config.ffn_dim)]
    layers = stage_layers(config, split)
    return max(
        4.0 * layers * shapes.count((rows, columns)) * (5 * rows * columns + min(rows, columns) ** 2)
        for rows, columns in shapes
    )


def _layer(config: LlamaConfig) -> float:
    return inner_matrices(config) / config.layers

"""How a model is laid out over devices: [TP, CP, PP, DP], the order of Llama 3 (section 3.3.2, figure 5).

    candidates -> those that fit the memory -> the one with the shortest estimated step

The estimate adds up what is not hidden behind compute: collectives of tensor and context parallelism, the pipeline's
bubble (PP - 1) / (V M), and what FSDP moves beyond the compute it is overlapped with.

T tokens of a sequence, M micro-batches of a step on each data rank, V stages of each pipeline rank.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from puna.base.errors import ConfigError
from puna.model.config import LlamaConfig
from puna.model.flops import training_flops
from puna.scaling.count import dtype_bytes
from puna.scaling.devices import Device
from puna.scaling.memory import RECOMPUTE, Memory, Split, stage_layers, stage_parameters, training_memory
from puna.scaling.numbers import positive, short

MATMUL_FRACTION = 0.54
"""Of the peak, while a layer computes. Chosen so that TP 8, PP 16, DP 64 gives 405B the 43% MFU that Llama 3 has
(table 4); its other two rows and `docs/scaling.md` are the check."""
LINK_FRACTION = 0.7
"""Of a link's bandwidth, in collectives of large messages."""
USABLE = 0.95
"""Of a device's memory: the rest is for communication buffers and fragments."""
_SHORTEST_CHUNK = 8192  # tokens; Llama 3 splits sequences of 131,072 by 16, and those of 8,192 not at all
_MAX_MICRO_BATCH = 64
_MOST_NODES = 1 << 14


@dataclass(frozen=True)
class Layout:
    """One way to train; `tokens_per_second` of all devices is an estimate, `memory` of the fullest device.

    micro_batch: rows that go through the model at once, `micro_batches` times a step.
    """

    split: Split
    micro_batch: int
    micro_batches: int
    recompute: str
    memory: Memory
    tokens_per_second: float

    @property
    def bubble(self) -> float:
        """Time that a pipeline rank waits, as a share of the time it computes."""
        return _bubble(self.split, self.micro_batches)

    @property
    def batch_rows(self) -> int:
        """Rows of an optimizer step."""
        return self.micro_batch * self.micro_batches * self.split.data

    def mfu(self, config: LlamaConfig, device: Device, sequence: int, count: str = "6nd") -> float:
        """Model FLOPs utilisation: FLOPs of training by this count over what the devices could do."""
        flops = training_flops(config, sequence, count) * self.tokens_per_second
        return flops / (self.split.gpus * device.peak(device.training_dtype))

    def __str__(self) -> str:
        split = self.split
        parts = [f"{name}{size}" for name, size in zip(("TP", "CP", "PP", "DP"), _sizes(split))]
        extra = ["reshard"] if split.reshard and split.shards > 1 else []
        extra += [f"recompute {self.recompute}"] if self.recompute != "none" else []
        return " ".join([*parts, f"{self.micro_batches}x{self.micro_batch} rows", *extra])


def best_layout(
    config: LlamaConfig,
    device: Device,
    gpus: int,
    sequence: int = 8192,
    batch_rows: int = 2048,
    optimizer: str = "adamw",
) -> Layout:
    """The layout with the most tokens a second of those that fit the memory of `gpus` devices.

    `batch_rows` is rounded to what the data ranks divide. Raises ConfigError, saying how many devices it takes, if
    none fits.
    """
    for name, value in (("gpus", gpus), ("sequence", sequence), ("batch_rows", batch_rows)):
        if value != int(positive(name, value)):
            raise ConfigError(f"{name}: expected a whole number, came {value}")
    fitting = list(_fitting(config, device, gpus, sequence, batch_rows, optimizer))
    if not fitting:
        raise ConfigError(_what_is_missing(config, device, gpus, sequence, batch_rows, optimizer))
    return max(fitting, key=lambda layout: _preference(layout, sequence))


def estimate(
    config: LlamaConfig,
    device: Device,
    split: Split,
    sequence: int,
    micro_batch: int,
    micro_batches: int,
    recompute: str = "none",
    optimizer: str = "adamw",
) -> Layout:
    """The layout with these sizes: its memory, whether it fits or not, and its speed."""
    # Documents are attended one by one on a CPU alone.
    memory = training_memory(
        config,
        micro_batch,
        sequence,
        micro_batches=micro_batches,
        split=split,
        dtype=device.training_dtype,
        optimizer=optimizer,
        recompute=recompute,
        packed=device.training_dtype == "fp32",
    )
    seconds = _step_seconds(config, device, split, sequence, micro_batch, micro_batches, recompute)
    rows = micro_batch * micro_batches * split.data
    return Layout(split, micro_batch, micro_batches, recompute, memory, rows * sequence / seconds)


def fewest_gpus(
    config: LlamaConfig, device: Device, sequence: int = 8192, batch_rows: int = 2048, optimizer: str = "adamw"
) -> int | None:
    """The smallest power of two of devices that hold the training; None if no number up to 16,384 nodes does."""
    gpus = 1
    while gpus <= device.per_node * (_MOST_NODES if device.per_node > 1 else 1):
        if any(True for _ in _fitting(config, device, gpus, sequence, batch_rows, optimizer)):
            return gpus
        gpus *= 2
    return None


def _preference(layout: Layout, sequence: int) -> tuple[float, float, float]:
    """Faster first; of those within 0.1% larger products, up to a size that keeps a device busy; then less memory."""
    busy = min(layout.micro_batch * sequence, _SHORTEST_CHUNK)
    return round(math.log(layout.tokens_per_second), 3), busy, -layout.memory.resident


def _what_is_missing(
    config: LlamaConfig, device: Device, gpus: int, sequence: int, batch_rows: int, optimizer: str
) -> str:
    size, memory = short(config.num_parameters()), f"{device.memory_bytes / 1e9:.0f} GB"
    if gpus > batch_rows and fewest_gpus(config, device, sequence, batch_rows, optimizer):
        return (
            f"gpus: expected a number that a batch of {batch_rows:,} rows of {sequence:,} tokens can be divided over, "
            f"came {gpus:,}; give fewer, or a larger batch"
        )
    needed = fewest_gpus(config, device, sequence, batch_rows, optimizer)
    if needed is None:
        least = min(one.memory.resident for one in _candidates(config, device, gpus, sequence, batch_rows, optimizer))
        return (
            f"memory: expected {least / USABLE / 1e9:.3g} GB to train {size} parameters, came {memory} of "
            f"{device.name}; take a smaller model or a shorter sequence"
        )
    return f"gpus: {size} parameters need at least {needed:,} {device.name} of {memory} in training, came {gpus:,}"


def _fitting(
    config: LlamaConfig, device: Device, gpus: int, sequence: int, batch_rows: int, optimizer: str
) -> Iterator[Layout]:
    room = USABLE * device.memory_bytes
    for layout in _candidates(config, device, gpus, sequence, batch_rows, optimizer):
        if layout.memory.resident <= room:
            yield layout


def _candidates(
    config: LlamaConfig, device: Device, gpus: int, sequence: int, batch_rows: int, optimizer: str
) -> Iterator[Layout]:
    """Tensors are split within a node and no finer than key/value heads; stages of one layer, as in Llama 3.

    Our trainer on a CPU recomputes nothing.
    """
    modes = RECOMPUTE if device.training_dtype != "fp32" else ("none",)
    for tensor in _divisors(math.gcd(gpus, config.kv_heads)):
        if tensor > device.per_node:
            continue
        for context in _divisors(gpus // tensor):
            # Each of the ranks holds two chunks of a sequence (Llama 3, section 3.3.2).
            if context > 1 and (sequence / context < _SHORTEST_CHUNK or sequence % (2 * context)):
                continue
            for pipeline in _divisors(gpus // tensor // context):
                data = gpus // tensor // context // pipeline
                if pipeline > config.layers or data > batch_rows:
                    continue
                rows = max(1, round(batch_rows / data))
                for reshard in (False, True) if data * context > 1 else (False,):
                    split = Split(tensor, context, pipeline, data, reshard)
                    if pipeline > 1:
                        split = replace(split, stages=stage_layers(config, split))
                    for micro_batch in _powers(min(rows, _MAX_MICRO_BATCH)):
                        micro_batches = max(1, round(rows / micro_batch))
                        asked = batch_rows / data
                        if abs(micro_batch * micro_batches - asked) > max(1, asked / 3):  # another batch than that
                            continue
                        if pipeline > 1 and micro_batches < pipeline:
                            continue
                        for mode in modes:
                            yield estimate(config, device, split, sequence, micro_batch, micro_batches, mode, optimizer)


def _step_seconds(
    config: LlamaConfig,
    device: Device,
    split: Split,
    sequence: int,
    micro_batch: int,
    micro_batches: int,
    recompute: str,
) -> float:
    size, again = dtype_bytes(device.training_dtype), 4 / 3 if recompute == "layers" else 1.0
    layers, tokens = stage_layers(config, split), micro_batch * sequence / split.context
    flops = training_flops(config, sequence, "causal") * micro_batch * sequence
    share = layers / config.layers / split.tensor / split.context
    compute = again * flops * share / (MATMUL_FRACTION * device.peak(device.training_dtype))

    # Forward and backward, an all-gather and a reduce-scatter around attention and feed-forward (Korthikanti 2022).
    moved = 8 * again * layers * tokens * config.dim * size * (1 - 1 / split.tensor)
    tensor = moved / _link(device, split.tensor)
    # All keys and values are gathered, and their gradients scattered; gathered again for the backward pass.
    kv = 2 * config.kv_heads * config.head_dim / split.tensor * micro_batch * sequence * size
    context = 3 * layers * kv * (1 - 1 / split.context) / _link(device, split.tensor * split.context)
    micro = compute + tensor + context
    pipelined = micro * micro_batches * (1 + _bubble(split, micro_batches))
    return pipelined + max(
        0.0, _fsdp_seconds(config, device, split, micro_batches) - _overlap(split, micro, micro_batches)
    )


def _fsdp_seconds(config: LlamaConfig, device: Device, split: Split, micro_batches: int) -> float:
    """Weights are gathered in the products' dtype, gradients scattered in fp32; once a step unless resharded."""
    held, size = stage_parameters(config, split), dtype_bytes(device.training_dtype)
    times = (2 * size + 4) * micro_batches if split.reshard else size + 4
    return times * held * (1 - 1 / split.shards) / _link(device, split.gpus)


def _overlap(split: Split, micro_seconds: float, micro_batches: int) -> float:
    """Compute that FSDP's transfers hide behind: all of it, or without resharding the first and last micro-batch."""
    return micro_seconds * (micro_batches if split.reshard else 1)


def _link(device: Device, devices: int) -> float:
    """Bytes a second that collectives over so many devices, neighbours first, get."""
    return LINK_FRACTION * (device.interconnect if devices <= device.per_node else device.network)


def _bubble(split: Split, micro_batches: int) -> float:
    return (split.pipeline - 1) / (split.stages * micro_batches)


def _sizes(split: Split) -> tuple[int, int, int, int]:
    return split.tensor, split.context, split.pipeline, split.data


@cache
def _divisors(number: int) -> list[int]:
    small = [size for size in range(1, math.isqrt(number) + 1) if number % size == 0]
    return sorted({*small, *(number // size for size in small)})


def _powers(most: int) -> Iterator[int]:
    size = 1
    while size <= most:
        yield size
        size *= 2

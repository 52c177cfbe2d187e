"""A model on its way between layouts: what is there is known first, the numbers are loaded one tensor at a time.

Each layout has a reader, which gives a `Checkpoint`, and a writer, which takes one; in between all speak our names and
the model's own RoPE layout, so that no reader knows a writer.

H heads of any kind, C head width, D model width.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from puna.base.errors import ArtifactError
from puna.model.config import LlamaConfig
from puna.model.llama import Llama

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Watch = Callable[[int, int], None]
"""Called as (bytes written so far, bytes in all)."""


@dataclass(frozen=True)
class Weight:
    """One tensor: its name, shape and dtype, and the function that loads it on the CPU."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def num_bytes(self) -> int:
        """Size of the loaded tensor."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    def renamed(self, name: str) -> "Weight":
        """The same weight under another name."""
        return replace(self, name=name)

    def then(self, change: Callable[[Tensor], Tensor]) -> "Weight":
        """The same weight, changed after loading in a way that keeps shape and dtype."""
        return replace(self, load=lambda: change(self.load()))

    def cast(self, dtype: torch.dtype) -> "Weight":
        """The same weight as `dtype`. Loading raises ArtifactError if a number is too large for it."""
        return self if dtype == self.dtype else replace(self, dtype=dtype, load=lambda: self._load_as(dtype))

    def _load_as(self, dtype: torch.dtype) -> Tensor:
        made = self.load().to(dtype)
        if dtype == torch.float16 and not torch.isfinite(made).all():
            raise ArtifactError(f"{self.name}: expected weights below 65504, which float16 holds; take bfloat16")
        return made


@dataclass(frozen=True)
class Checkpoint:
    """A whole model in its source: weights by our name, in the model's order and in the half layout of RoPE.

    `metadata` are the entries of a GGUF file, where the tokenizer is; empty for a folder.
    """

    source: Path
    config: LlamaConfig
    weights: dict[str, Weight]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """That of the embedding, which stands for the model."""
        return self.weights["embedding.weight"].dtype

    def cast(self, dtype: torch.dtype) -> "Checkpoint":
        """The same model with all weights as `dtype`."""
        return replace(self, weights={name: weight.cast(dtype) for name, weight in self.weights.items()})

    def interleaved(self) -> dict[str, Weight]:
        """The weights with the rows of q and k in the order of Meta and GGUF."""
        return _reorder(self.weights, self.config, interleave)


class SavedTokenizer(Protocol):
    """What a model folder needs of a tokenizer."""

    bos_id: int
    pad_id: int
    stop_ids: list[int]

    def save(self, folder: Path) -> None: ...


class CarriedTokenizer(SavedTokenizer, Protocol):
    """What a conversion needs of a tokenizer."""

    vocab_size: int

    def to_metadata(self) -> dict[str, Any]: ...


def fit(
    found: Mapping[str, Weight],
    config: LlamaConfig,
    spell: Callable[[str], str],
    place: Path,
    described: str,
    ignored: Collection[str] = (),
) -> dict[str, Weight]:
    """The weights `found` under their layout's names, as our names in the model's order.

    `spell` turns our name into the layout's; `described` is the file that says which shapes to expect.
    Raises ArtifactError if one is missing, misshapen, or not in a Llama of this `config` nor `ignored`.
    """
    numbers = sum(weight.num_bytes // weight.dtype.itemsize for weight in found.values())
    if config.num_parameters() > 100 * numbers:  # a damaged size could ask for more than any machine has
        asked = config.num_parameters()
        raise ArtifactError(f"{place}: expected {asked} numbers by {described}, came {numbers}; one of them is damaged")
    shapes = expected_shapes(config)
    spelt = {spell(name): name for name in shapes}
    for name, weight in found.items():
        if name in spelt and weight.shape != shapes[spelt[name]]:
            expected, came = list(shapes[spelt[name]]), list(weight.shape)
            raise ArtifactError(f"{place}: expected {name} of shape {expected} by {described}, came {came}")
        if name not in spelt and name not in ignored:
            raise ArtifactError(f"{place}: expected the tensors of a Llama as in {described}, came {name} as well")
    missing = [name for name in spelt if name not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ArtifactError(f"{place}: expected tensor {missing[0]}{more}, found none; the model is incomplete")
    return {own_name: found[name].renamed(own_name) for name, own_name in spelt.items()}


def expected_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter by our name, in the model's order."""
    with torch.device("meta"):
        return {name: tuple(parameter.shape) for name, parameter in Llama(config).named_parameters()}


def halved(weights: dict[str, Weight], config: LlamaConfig) -> dict[str, Weight]:
    """Weights of Meta's or GGUF's order of rows in q and k as those of ours."""
    return _reorder(weights, config, halve)


def interleave(rows: Tensor, heads: int) -> Tensor:
    """Rows [H C, D] whose channel i of a head turns with i + C/2, so that it turns with its neighbour instead."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(rows.shape)


def halve(rows: Tensor, heads: int) -> Tensor:
    """The inverse of `interleave`."""
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(rows.shape)


def _reorder(
    weights: dict[str, Weight], config: LlamaConfig, order: Callable[[Tensor, int], Tensor]
) -> dict[str, Weight]:
    heads = {"attention.q.weight": config.heads, "attention.k.weight": config.kv_heads}

    def ordered(name: str, weight: Weight) -> Weight:
        count = next((heads[end] for end in heads if name.endswith(end)), None)
        return weight if count is None else weight.then(lambda rows: order(rows, count))

    return {name: ordered(name, weight) for name, weight in weights.items()}

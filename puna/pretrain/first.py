"""What pretraining begins with: a fresh model of some shape, or one that has learned before."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from puna.base.config import Config, did_you_mean
from puna.base.errors import ConfigError
from puna.base.output import Inputs
from puna.base.rng import hash64
from puna.model import Llama, LlamaConfig, load_model
from puna.model.config import PRESETS, before_long_context, shrunk
from puna.model.llama import drawn_weights
from puna.model.upcycling import upcycled
from puna.pretrain.experts import ExpertsConfig
from puna.tokenizer import Tokenizer


class ShapeConfig(Config):
    """The shape of the model; the vocabulary is the tokenizer's. Defaults: the nano model, 1.0M parameters.

    preset: one of `PRESETS` ("8B"), which gives all sizes that are not set here, as they were before long context: no
    RoPE scaling, 8192 positions. scale: below 1 a narrower model of as many layers (`shrunk`), to try a recipe with.
    init_std: of the weights at the start. 0.02 suits widths of thousands; about 0.7 / sqrt(dim) learns faster at 128.
    num_experts: feed-forward parts of a layer, each of `ffn_dim`; with more than one a token uses `experts_per_token`.
    """

    preset: str = ""
    scale: float = Field(default=1.0, gt=0, le=1)
    dim: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    ffn_dim: int = Field(default=352, ge=8)
    rope_theta: float = Field(default=10_000.0, gt=0)
    max_position: int = Field(default=1024, ge=8)
    tied: bool = True
    init_std: float = Field(default=0.02, gt=0)
    num_experts: int = Field(default=1, ge=1)
    experts_per_token: int = Field(default=1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _filled_by_preset(cls, values: Any) -> Any:
        name = values.get("preset") if isinstance(values, dict) else None
        if not isinstance(name, str) or name not in PRESETS:
            return values
        sizes = before_long_context(PRESETS[name]).to_dict()
        return {field: sizes[field] for field in cls.model_fields if field in sizes} | values

    @field_validator("preset")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name and name not in PRESETS:
            near = did_you_mean(name.upper(), PRESETS).removeprefix("; ")
            raise ValueError(f"one of {', '.join(PRESETS)}{f' ({near})' if near else ''}")
        return name


class Starting(Protocol):
    """The settings that say what a run begins with."""

    @property
    def model(self) -> ShapeConfig: ...
    @property
    def experts(self) -> ExpertsConfig: ...


def model_config(shape: ShapeConfig, tokenizer: Tokenizer, router_bias: bool = False) -> LlamaConfig:
    """The whole shape of a model with this tokenizer. Raises ConfigError if the sizes do not fit together."""
    sizes = shape.model_dump(exclude={"preset", "scale", "init_std"})
    try:
        return shrunk(LlamaConfig(vocab_size=tokenizer.vocab_size, router_bias=router_bias, **sizes), shape.scale)
    except ValueError as error:
        raise ConfigError(f"pretrain.model: {error}") from None


def new_model(shape: ShapeConfig, tokenizer: Tokenizer, seed: int, router_bias: bool = False) -> Llama:
    """A fresh model whose weights depend on the seed and the shape alone.

    Raises ConfigError if heads, key/value heads and width do not divide.
    """
    model = Llama(model_config(shape, tokenizer, router_bias))
    model.initialise(_first_seed(seed), shape.init_std)
    return model


def first_shape(config: Starting, inputs: Inputs, tokenizer: Tokenizer) -> LlamaConfig:
    """The shape of the model, checked against what training begins with (`model` or `dense`)."""
    shape, router_bias = config.model, config.experts.bias_rate > 0
    if shape.num_experts > 1 and shape.experts_per_token == 1:
        raise ConfigError(
            "pretrain.model.experts_per_token: expected at least 2 with experts, came 1; the weight of a single choice "
            "is always 1, so its router would learn nothing"
        )
    if shape.num_experts == 1 and config.experts != ExpertsConfig():
        raise ConfigError("pretrain.experts: expected no settings for a dense model; set model.num_experts above 1")
    if inputs.has("model") and inputs.has("dense"):
        raise ConfigError("pretrain: expected one of the inputs model and dense, came both")
    return model_config(shape, tokenizer, router_bias)


def first_model(config: Starting, inputs: Inputs, shape: LlamaConfig, seed: int) -> Llama:
    """The model that training begins with: fresh, the input `model`, or the experts copied from the input `dense`."""
    given = [name for name in ("model", "dense") if inputs.has(name)]
    if not given:
        model = Llama(shape)
        model.initialise(_first_seed(seed), config.model.init_std)
        return model
    model = load_alike(inputs.one(given[0]), Tokenizer.load(inputs.one("tokenizer")))
    if given == ["dense"]:
        settings = (shape.num_experts, shape.experts_per_token, hash64(seed, "routers") >> 1)
        model = upcycled(model, *settings, config.experts.bias_rate > 0)
    # A model of long context is named by its shape before it, as presets are.
    before = before_long_context(model.config).to_dict()
    for name, value in shape.to_dict().items():
        if before[name] != value:
            came = before[name]
            raise ConfigError(f"pretrain.model.{name}: expected {came} as in the input {given[0]}, came {value}")
    return model


def first_values(
    config: Starting, inputs: Inputs, shape: LlamaConfig, seed: int
) -> tuple[LlamaConfig, Iterable[tuple[str, Tensor]]]:
    """The shape and, by name, the weights of `first_model`; fresh ones are drawn one at a time."""
    if inputs.has("model") or inputs.has("dense"):
        given = first_model(config, inputs, shape, seed)
        return given.config, list(given.named_parameters())
    with torch.device("meta"):
        model = Llama(shape)
    return shape, drawn_weights(model, _first_seed(seed), config.model.init_std)


def load_alike(folder: Path, tokenizer: Tokenizer) -> Llama:
    """The model of a folder. Raises ConfigError if its tokenizer is another one."""
    if Tokenizer.load(folder).fingerprint != tokenizer.fingerprint:
        raise ConfigError(f"{folder}: expected a model with the tokenizer of this stage, came one with another")
    return load_model(folder)


def _first_seed(seed: int) -> int:
    return hash64(seed, "init") >> 1

"""The Hugging Face folder: config.json, generation_config.json, safetensors, tokenizer files, README.md.

What `save_model` writes is read unchanged by transformers 4 and 5 (and, by their documentation, vLLM and llama.cpp's
converter); its bytes depend on the weights and settings alone. `load_model` reads what these write,
sharded or not, tied or not.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from puna.base.errors import ArtifactError, ConfigError
from puna.base.files import read_json, refusing_full_disk, sync_file, sync_folder, write_atomic, write_json
from puna.model.config import LlamaConfig
from puna.model.convert.mixtral import MODEL_TYPES, mixtral_name, mixtral_to_json, read_mixtral
from puna.model.llama import Llama

SHARD_BYTES = 5_000_000_000
SCORE = "score.weight"
"""The head of a reward model, as transformers names it."""
_INDEX = "model.safetensors.index.json"
_OUTER = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attention_norm": "input_layernorm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.o": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}


class SavedTokenizer(Protocol):
    """What a model folder needs of a tokenizer."""

    bos_id: int
    pad_id: int
    stop_ids: list[int]

    def save(self, folder: Path) -> None: ...


def save_model(
    model: Llama,
    tokenizer: SavedTokenizer | None,
    folder: Path | str,
    card: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    score: Tensor | None = None,
) -> None:
    """Write `model` with its tokenizer and its card (README.md) to `folder`, in the dtype that it has.

    Weights of more than `shard_bytes` are split into numbered files with an index. With the head `score` [D] of a
    reward model the folder is a LlamaForSequenceClassification of one label.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {huggingface_name(name): tensor.detach().cpu() for name, tensor in model.named_parameters()}
    if score is not None:
        tensors = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
        tensors[SCORE] = score.detach().cpu()[None]
    with refusing_full_disk(folder / "model.safetensors"):
        _write_shards(tensors, folder, shard_bytes)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    values = config_to_json(model.config, tokenizer, dtype)
    if score is not None:
        architecture = values["architectures"][0].replace("CausalLM", "SequenceClassification")
        values |= {"architectures": [architecture], "id2label": {"0": "reward"}}
        values |= {"label2id": {"reward": 0}, "tie_word_embeddings": True}
    write_json(folder / "config.json", values)
    write_json(folder / "generation_config.json", _generation_config(tokenizer))
    if tokenizer is not None:
        tokenizer.save(folder)
    if card is not None:
        write_atomic(folder / "README.md", card.encode())


def load_model(folder: Path | str, dtype: torch.dtype = torch.float32) -> Llama:
    """Read a Hugging Face folder as a `dtype` Llama on the CPU.

    Raises ArtifactError, in one line, if a file or a tensor is missing, damaged, superfluous or of another shape.
    """
    folder = Path(folder)
    config = read_config(folder)
    with torch.device("meta"):
        model = Llama(config)
    expected = {huggingface_name(name): (name, tensor.shape) for name, tensor in model.named_parameters()}
    loaded: dict[str, Tensor] = {}
    for name, tensor in _read_tensors(folder):
        if name not in expected:
            if name.endswith("rotary_emb.inv_freq") or name == SCORE or (config.tied and name == "lm_head.weight"):
                continue
            raise ArtifactError(f"{folder}: expected the tensors of a Llama as in config.json, came {name} as well")
        own_name, shape = expected[name]
        if tensor.shape != shape:
            raise ArtifactError(
                f"{folder}: expected {name} of shape {list(shape)} by config.json, came {list(tensor.shape)}"
            )
        loaded[own_name] = tensor.to(dtype)
    missing = [name for name, (own_name, _) in expected.items() if own_name not in loaded]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ArtifactError(f"{folder}: expected tensor {missing[0]}{more}, found none; the folder is incomplete")
    for own_name, tensor in loaded.items():
        _set_parameter(model, own_name, tensor)
    return model


def load_score(folder: Path | str, dtype: torch.dtype = torch.float32) -> Tensor:
    """The head [D] of a reward model's folder. Raises ArtifactError if it has none, or one of several labels."""
    for name, tensor in _read_tensors(Path(folder)):
        if name == SCORE and tensor.shape[0] == 1:
            return tensor[0].to(dtype)
    raise ArtifactError(f"{folder}: expected a reward model with a tensor {SCORE} of one row, found none")


def huggingface_name(name: str) -> str:
    """Our name in their spelling: layers.0.attention.q.weight is model.layers.0.self_attn.q_proj.weight.

    Experts are spelled as Mixtral's.
    """
    if name in _OUTER:
        return _OUTER[name]
    _, index, inner = name.removesuffix(".weight").split(".", 2)
    return f"model.layers.{index}.{mixtral_name(inner) or _INNER[inner]}.weight"


def config_to_json(config: LlamaConfig, tokenizer: SavedTokenizer | None, dtype: str = "float32") -> dict[str, Any]:
    """config.json, with RoPE in both spellings: rope_theta for transformers 4, rope_parameters for 5."""
    scaling = None if config.rope_scaling is None else {**config.rope_scaling, "rope_type": "llama3"}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": {"rope_type": "default", **(scaling or {}), "rope_theta": config.rope_theta},
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
        **mixtral_to_json(config),
        **_special_ids(tokenizer),
    }


def read_config(folder: Path) -> LlamaConfig:
    """The LlamaConfig of a Hugging Face folder. Raises ArtifactError if it describes something else than a Llama."""
    path = folder / "config.json"
    if not path.is_file():
        raise ArtifactError(f"expected a model folder with config.json at {folder}, found none")
    values = read_json(path)
    for name, expected in (
        ("model_type", values["model_type"] if values.get("model_type") in MODEL_TYPES else "llama"),
        ("hidden_act", "silu"),
        ("attention_bias", False),
        ("mlp_bias", False),
    ):
        if values.get(name, expected) != expected:
            raise ArtifactError(f"{path}: expected {name} {expected!r}, came {values[name]!r}; only Llama is supported")
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta", values.get("rope_theta", 10_000.0))
    scaling = {name: value for name, value in rope.items() if name not in ("rope_theta", "type")} | {"rope_type": kind}
    try:
        return LlamaConfig(
            dim=values["hidden_size"],
            layers=values["num_hidden_layers"],
            heads=values["num_attention_heads"],
            kv_heads=values.get("num_key_value_heads") or values["num_attention_heads"],
            head_dim=values.get("head_dim") or 0,
            ffn_dim=values["intermediate_size"],
            vocab_size=values["vocab_size"],
            max_position=values.get("max_position_embeddings", 2048),
            rope_theta=float(theta),
            rope_scaling=None if kind == "default" else scaling,
            norm_eps=values.get("rms_norm_eps", 1e-6),
            tied=values.get("tie_word_embeddings", False),
            **read_mixtral(values, path),
        )
    except KeyError as error:
        raise ArtifactError(f"{path}: expected {error.args[0]}, found none") from None
    except (ConfigError, TypeError) as error:
        raise ArtifactError(f"{path}: {error}") from None


def _special_ids(tokenizer: SavedTokenizer | None) -> dict[str, Any]:
    if tokenizer is None:
        return {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.stop_ids, "pad_token_id": tokenizer.pad_id}


def _generation_config(tokenizer: SavedTokenizer | None) -> dict[str, Any]:
    return {"do_sample": False, **_special_ids(tokenizer)}


def _write_shards(tensors: dict[str, Tensor], folder: Path, shard_bytes: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.contiguous()
        size += tensor.nbytes
    if len(shards) == 1:
        _write_safetensors(shards[0], folder / "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_safetensors(shard, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / _INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    temp = path.with_name(path.name + ".tmp")
    save_file(tensors, temp, metadata={"format": "pt"})
    sync_file(temp)
    os.replace(temp, path)
    sync_folder(path.parent)


def _read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    if (folder / _INDEX).is_file():
        files = sorted({folder / file for file in read_json(folder / _INDEX)["weight_map"].values()})
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.is_file():
            raise ArtifactError(f"expected weights at {file}, found none")
        try:
            with safe_open(file, framework="pt") as tensors:
                names = tensors.keys()
                yield from ((name, tensors.get_tensor(name)) for name in names)
        except SafetensorError as error:
            raise ArtifactError(f"{file} is damaged: expected safetensors, came {error}") from None


def _set_parameter(model: nn.Module, name: str, tensor: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    trained = model.get_parameter(name).requires_grad
    setattr(model.get_submodule(owner), leaf, nn.Parameter(tensor, requires_grad=trained))

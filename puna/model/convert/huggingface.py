"""The Hugging Face folder: config.json, generation_config.json, safetensors, tokenizer files, README.md.

What `save_model` writes is read unchanged by transformers 4 and 5 (and, by their documentation, vLLM and llama.cpp's
converter); its bytes depend on the weights and settings alone. `open_huggingface` reads what these write,
sharded or not, tied or not.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.base.errors import ArtifactError, ConfigError
from puna.base.files import read_json, write_atomic, write_json
from puna.model.config import LlamaConfig
from puna.model.convert.checkpoint import Checkpoint, SavedTokenizer, Weight, fit
from puna.model.convert.mixtral import MODEL_TYPES, mixtral_name, mixtral_to_json, read_mixtral
from puna.model.convert.safetensor_files import SHARD_BYTES, read_weights, write_weights
from puna.model.llama import Llama

SCORE = "score.weight"
"""The head of a reward model, as transformers names it."""
CONFIG_FILE = "config.json"
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
    write_weights(folder, [_weight_of(name, tensor) for name, tensor in tensors.items()], shard_bytes)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    values = config_to_json(model.config, tokenizer, dtype)
    if score is not None:
        architecture = values["architectures"][0].replace("CausalLM", "SequenceClassification")
        values |= {"architectures": [architecture], "id2label": {"0": "reward"}}
        values |= {"label2id": {"reward": 0}, "tie_word_embeddings": True}
    _write_configs(folder, values, tokenizer)
    if tokenizer is not None:
        tokenizer.save(folder)
    if card is not None:
        write_atomic(folder / "README.md", card.encode())


def open_huggingface(folder: Path, ignored: Collection[str] = ()) -> Checkpoint:
    """The model of a Hugging Face folder; tensors in `ignored` may be there as well.

    Raises ArtifactError, in one line, if a file or a tensor is missing, damaged, superfluous or of another shape.
    """
    config = read_config(folder)
    found = read_weights(folder)
    found = {name: weight for name, weight in found.items() if not name.endswith("rotary_emb.inv_freq")}
    ignored = {*ignored, "lm_head.weight"} if config.tied else ignored
    return Checkpoint(folder, config, fit(found, config, huggingface_name, folder, CONFIG_FILE, ignored))


def write_huggingface(
    checkpoint: Checkpoint, tokenizer: SavedTokenizer | None, folder: Path, wrote: Callable[[int], None]
) -> None:
    """Write a model folder, one tensor in memory; `wrote` is called with the bytes of each tensor."""
    weights = [weight.renamed(huggingface_name(name)) for name, weight in checkpoint.weights.items()]
    write_weights(folder, weights, wrote=wrote)
    dtype = str(checkpoint.dtype).removeprefix("torch.")
    _write_configs(folder, config_to_json(checkpoint.config, tokenizer, dtype), tokenizer)
    if tokenizer is not None:
        tokenizer.save(folder)


def load_score(folder: Path | str, dtype: torch.dtype = torch.float32) -> Tensor:
    """The head [D] of a reward model's folder. Raises ArtifactError if it has none, or one of several labels."""
    score = read_weights(Path(folder)).get(SCORE)
    if score is None or score.shape[0] != 1:
        raise ArtifactError(f"{folder}: expected a reward model with a tensor {SCORE} of one row, found none")
    return score.load()[0].to(dtype)


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
    path = folder / CONFIG_FILE
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


def _write_configs(folder: Path, values: dict[str, Any], tokenizer: SavedTokenizer | None) -> None:
    write_json(folder / CONFIG_FILE, values)
    write_json(folder / "generation_config.json", {"do_sample": False, **_special_ids(tokenizer)})


def _weight_of(name: str, tensor: Tensor) -> Weight:
    return Weight(name, tuple(tensor.shape), tensor.dtype, lambda: tensor)

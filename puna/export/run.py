"""The stage `export`: a trained model as a folder to give away, with a card that carries its measured scores."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from puna.base.config import Config
from puna.base.errors import ArtifactError
from puna.base.files import model_files, read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.export.card import model_card
from puna.model.convert.checkpoint import DTYPES
from puna.model.convert.huggingface import CONFIG_FILE
from puna.model.convert.layout import Target, convert, open_checkpoint
from puna.model.convert.safetensor_files import INDEX, read_safetensors, read_weights, write_safetensors
from puna.tokenizer.carried import CarriedTokenizer

GGUF_FILE = "model.gguf"
_CARD = "README.md"
_NOT_EXPORTED = {"manifest.json", "log.jsonl", _CARD, "items.parquet", "scores.json", "reward.json"}


class ExportConfig(Config):
    """`dtype` of the weights, None: as they are. `title` and `license` go into the model card.

    gguf: None, or the precision of the file for llama.cpp that is written beside the weights, `model.gguf`.
    """

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    gguf: Literal["float32", "bfloat16", "float16", "q8_0", "q4_0"] | None = None
    title: str = "A model trained with Puna"
    license: str = "apache-2.0"


def run(config: ExportConfig, inputs: Inputs, out: StageOutput) -> None:
    """Copy a model folder, one tensor in memory, with a card. Inputs: `model`, and `scores` (any number of artifacts).

    Raises ArtifactError if `model` is none, or if it is to be GGUF and has no tokenizer or experts.
    """
    source = inputs.one("model")
    if not (source / CONFIG_FILE).is_file():
        raise ArtifactError(f"expected a model folder at {source}, found no {CONFIG_FILE}")
    for file in [path for path in model_files(source) if path.name not in _NOT_EXPORTED]:
        if not out.done(file.name):
            with out.unit(file.name) as unit:
                _export_file(file, unit.path, config.dtype)
    if config.gguf and not out.done(GGUF_FILE):
        with out.unit(GGUF_FILE) as unit:
            _write_gguf(source, unit.path, config.gguf, config.title)
    if not out.done(_CARD):
        scores = [row for path in (inputs.many("scores") if inputs.has("scores") else []) for row in _scores(path)]
        architecture = read_json(out.path / CONFIG_FILE)
        dtype, gguf_file = _dtype_of(architecture), GGUF_FILE if config.gguf else None
        with out.unit(_CARD) as unit:
            card = model_card(config.title, config.license, architecture, dtype, scores, gguf_file)
            unit.path.write_text(card, encoding="utf-8")
    sizes = {name: float(record["bytes"]) for name, record in out.records().items()}
    out.metric(bytes=sum(sizes.values()))
    if config.gguf:
        out.metric(gguf_bytes=sizes[GGUF_FILE])


def _scores(folder: Path) -> list[dict[str, Any]]:
    found = read_json(folder / "scores.json")
    return found["scores"] if isinstance(found, dict) else found  # type: ignore[no-any-return]


def _export_file(source: Path, target: Path, dtype: str | None) -> None:
    if dtype and source.suffix == ".safetensors":
        write_safetensors(target, [weight.cast(DTYPES[dtype]) for weight in read_safetensors(source)])
    elif dtype and source.name == CONFIG_FILE:
        write_json(target, read_json(source) | {"dtype": dtype, "torch_dtype": dtype})
    elif dtype and source.name == INDEX:
        total = sum(weight.cast(DTYPES[dtype]).num_bytes for weight in read_weights(source.parent).values())
        index = read_json(source)
        write_json(target, index | {"metadata": {**index.get("metadata", {}), "total_size": total}})
    else:
        shutil.copyfile(source, target)


def _dtype_of(architecture: dict[str, Any]) -> str:
    return str(architecture.get("dtype") or architecture.get("torch_dtype") or "float32")


def _write_gguf(source: Path, path: Path, precision: str, title: str) -> None:
    quantized = precision not in DTYPES
    target = Target("gguf", None if quantized else precision, precision if quantized else None)
    checkpoint = replace(open_checkpoint(source), metadata={"general.name": title})
    convert(checkpoint, CarriedTokenizer.from_folder(source), path, target)

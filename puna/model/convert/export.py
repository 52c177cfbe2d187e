"""The export stage: a trained model as a folder to give away, with a model card that carries its measured scores."""

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from puna.base.config import Config
from puna.base.errors import ArtifactError
from puna.base.files import read_json
from puna.base.output import Inputs, StageOutput

_NOT_EXPORTED = {"manifest.json", "log.jsonl", "README.md", "items.parquet", "scores.json", "reward.json"}


class ExportConfig(Config):
    """`dtype` of the weights; `title` and `license` go into the model card."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    title: str = "A model trained with Puna"
    license: str = "apache-2.0"


def run(config: ExportConfig, inputs: Inputs, out: StageOutput) -> None:
    """Copy a model folder with a card. Inputs: `model`, and `scores` (any number of evaluated artifacts)."""
    source = inputs.one("model")
    if not (source / "config.json").is_file():
        raise ArtifactError(f"expected a model folder at {source}, found no config.json")
    for file in sorted(path for path in source.iterdir() if path.is_file() and path.name not in _NOT_EXPORTED):
        if not out.done(file.name):
            with out.unit(file.name) as unit:
                _export_file(file, unit.path, config)
    scores = [row for path in (inputs.many("scores") if inputs.has("scores") else []) for row in _scores(path)]
    with out.unit("README.md") as unit:
        unit.path.write_text(model_card(config, read_json(source / "config.json"), scores), encoding="utf-8")
    out.metric(bytes=float(sum(record["bytes"] for record in out.records().values())))


def model_card(config: ExportConfig, architecture: dict[str, Any], scores: list[dict[str, Any]]) -> str:
    """A model card (Mitchell 2019) as Markdown with front matter: what it is, how to load it, what it scored."""
    shape = ", ".join(f"{key} {architecture[key]}" for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    lines = ["---", f"license: {config.license}", "library_name: transformers", "tags: [puna, llama]", "---", ""]
    lines += [f"# {config.title}", "", f"A Llama-architecture model ({shape}), weights in {config.dtype}.", ""]
    lines += ["```python", "from transformers import AutoModelForCausalLM, AutoTokenizer"]
    lines += ["model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)"]
    lines += ["```", ""]
    if scores:
        lines += ["## Measured", "", "| task | metric | value | 95% interval | n |", "|---|---|---|---|---|"]
        for row in scores:
            low, high = row["ci95"]
            lines.append(
                f"| {row['task']} | {row['metric']} | {row['value']:.4f} | {low:.4f} to {high:.4f} | {row['n']} |"
            )
        lines.append("")
    return "\n".join(lines)


def _scores(folder: Path) -> list[dict[str, Any]]:
    found = read_json(folder / "scores.json")
    return found["scores"] if isinstance(found, dict) else found  # type: ignore[no-any-return]


def _export_file(source: Path, target: Path, config: ExportConfig) -> None:
    if source.suffix == ".safetensors" and config.dtype != "float32":
        dtype = getattr(torch, config.dtype)
        with safe_open(source, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, target, metadata=metadata)
    elif source.name == "config.json":
        text = source.read_text(encoding="utf-8")
        target.write_text(text.replace('"float32"', f'"{config.dtype}"'), encoding="utf-8")
    else:
        target.write_bytes(source.read_bytes())

"""The model card: what the model is, how to load it, what it scored (Mitchell 2019)."""

from collections.abc import Sequence
from typing import Any


def model_card(
    title: str,
    license: str,
    architecture: dict[str, Any],
    dtype: str,
    scores: Sequence[dict[str, Any]],
    gguf_file: str | None = None,
) -> str:
    """Markdown with front matter. `architecture` are the entries of config.json, `scores` those of scores.json."""
    shape = ", ".join(f"{key} {architecture[key]}" for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    lines = ["---", f"license: {license}", "library_name: transformers", "tags: [puna, llama]", "---", ""]
    lines += [f"# {title}", "", f"A Llama-architecture model ({shape}), weights in {dtype}.", ""]
    lines += ["```python", "from transformers import AutoModelForCausalLM, AutoTokenizer"]
    lines += ["model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)"]
    lines += ["```", ""]
    if gguf_file:
        lines += ["With llama.cpp:", "", "```", f"llama-cli -m {gguf_file}", "```", ""]
    if scores:
        lines += ["## Measured", "", "| task | metric | value | 95% interval | n |", "|---|---|---|---|---|"]
        for row in scores:
            low, high = row["ci95"]
            lines.append(
                f"| {row['task']} | {row['metric']} | {row['value']:.4f} | {low:.4f} to {high:.4f} | {row['n']} |"
            )
        lines.append("")
    return "\n".join(lines)

"""A recipe of every stage, small enough for a test: seconds, not minutes."""

from typing import Any

from puna.lineage import Recipe

WORLD = {
    "num_people": 8,
    "num_wares": 4,
    "num_places": 4,
    "clean_chars": 60_000,
    "num_files": 2,
    "num_exam_items": 12,
    "num_dev_items": 4,
    "num_training_items": 200,
    "num_dialogs": 60,
    "num_preferences": 10,
}
LOOP = {"micro_batch": 4, "checkpoint_interval_s": 0.0}
STAGES: dict[str, Any] = {
    "world": {"kind": "world", "config": WORLD},
    "curate": {"kind": "curate", "inputs": {"crawl": "world/crawl", "truth": "world/truth.jsonl"}},
    "tokenizer": {
        "kind": "tokenizer",
        "inputs": {"documents": "curate"},
        "config": {"vocab_size": 384, "num_special": 16, "digits": 1},
    },
    "tokens": {"kind": "tokens", "inputs": {"documents": "curate", "tokenizer": "tokenizer"}},
    "pretrain": {
        "kind": "pretrain",
        "inputs": {"tokens": "tokens", "tokenizer": "tokenizer"},
        "config": {
            **LOOP,
            "num_tokens": 1024 * 4,
            "row_tokens": 128,
            "batch_rows": 8,
            "model": {"dim": 32, "layers": 2, "heads": 2, "kv_heads": 1, "ffn_dim": 64},
        },
    },
    "sft": {
        "kind": "sft",
        "inputs": {"model": "pretrain", "dialogs": "world/dialogs/train.jsonl"},
        "config": {**LOOP, "epochs": 0.4, "row_tokens": 256, "batch_rows": 8},
    },
    "export": {"kind": "export", "inputs": {"model": "sft"}},
}


def small_recipe(stages: dict[str, Any] = STAGES) -> Recipe:
    """A recipe of these small stages, on one thread."""
    mesh = {"threads": 1, "workers": 1}
    return Recipe.from_values({"name": "small", "seed": 7, "mesh": mesh, "stages": stages})

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
    "num_preferences": 16,
    "num_prompts": 8,
    "heldout_prompt_share": 0.25,
}
LOOP = {"micro_batch": 4, "checkpoint_interval_s": 0.0}
DEV = {
    "style": "chat",
    "tasks": [
        {"name": "dev-village-word", "kind": "exam", "input": "exams", "max_tokens": 8},
        {
            "name": "pass-at-k",
            "kind": "samples",
            "input": "exams",
            "file": "dev-village-choice",
            "samples": 2,
            "max_tokens": 8,
        },
    ],
}
STAGES: dict[str, Any] = {
    "world": {"kind": "world", "config": WORLD},
    "curate": {
        "kind": "curate",
        "inputs": {"crawl": "world/crawl", "exams": "world/exams", "truth": "world/truth.jsonl"},
    },
    "tokenizer": {
        "kind": "tokenizer",
        "inputs": {"documents": "curate"},
        "config": {"vocab_size": 384, "num_special": 16, "digits": 1},
    },
    "tokens": {"kind": "tokens", "inputs": {"documents": "curate", "tokenizer": "tokenizer"}},
    "mix": {"kind": "mix", "inputs": {"tokens": "tokens"}, "config": {"by": "section", "upsample": {"article": 2.0}}},
    "pretrain": {
        "kind": "pretrain",
        "inputs": {"tokens": "tokens", "tokenizer": "tokenizer", "mix": "mix"},
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
    "reward": {
        "kind": "reward",
        "inputs": {"model": "sft", "preferences": "world/dialogs/preferences.jsonl"},
        "config": {**LOOP, "row_tokens": 512, "batch_pairs": 4, "heldout": 4, "strengths": []},
    },
    # So small a model is hardly ever right. What no verifier can judge, here the prompts of the preferences, is taken
    # at any score, so that there is something to select.
    "generate": {
        "kind": "generate",
        "inputs": {"model": "sft", "prompts": ["world/dialogs/prompts.jsonl", "world/dialogs/preferences.jsonl"]},
        "config": {"samples": 4, "max_tokens": 24},
    },
    "judge": {"kind": "judge", "inputs": {"samples": "generate", "reward": "reward"}},
    "select": {"kind": "select", "inputs": {"judged": "judge"}, "config": {"min_score": -1e9}},
    "rs": {
        "kind": "sft",
        "inputs": {"model": "sft", "dialogs": "select/dialogs.jsonl"},
        "config": {**LOOP, "epochs": 1, "row_tokens": 512, "batch_rows": 4},
    },
    "dpo": {
        "kind": "dpo",
        "inputs": {"model": "rs", "preferences": ["world/dialogs/preferences.jsonl", "select/preferences.jsonl"]},
        "config": {**LOOP, "row_tokens": 512, "batch_pairs": 8},
    },
    "ppo": {
        "kind": "ppo",
        "inputs": {
            "model": "dpo",
            "prompts": "world/dialogs/prompts.jsonl",
            "heldout": "world/dialogs/prompts-heldout.jsonl",
            "reward": "reward",
        },
        "config": {
            **LOOP,
            "iterations": 2,
            "batch_prompts": 4,
            "samples": 2,
            "minibatches": 2,
            "max_tokens": 8,
            "score": 0.1,
        },
    },
    **{
        f"dev-{name}": {"kind": "evaluate", "inputs": {"model": model, "exams": "world/exams"}, "config": DEV}
        for name, model in (("before", "sft"), ("after", "ppo"))
    },
    "keep": {
        "kind": "keep",
        "inputs": {"before": "sft", "after": "ppo", "scores_before": "dev-before", "scores_after": "dev-after"},
    },
    "export": {"kind": "export", "inputs": {"model": "keep"}, "config": {"gguf": "q8_0"}},
}


def small_recipe(stages: dict[str, Any] = STAGES) -> Recipe:
    """A recipe of these small stages, on one thread."""
    mesh = {"threads": 1, "workers": 1}
    return Recipe.from_values({"name": "small", "seed": 7, "mesh": mesh, "stages": stages})

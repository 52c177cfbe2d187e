"""The three stages in a recipe, on a small village whose abuse no word list names, and what takes their documents."""

import json
from pathlib import Path
from typing import Any

from puna.lineage import run
from puna.stages import STAGES as KINDS
from tests.small import STAGES, small_recipe

QUALITY = {"spam": 0, "toxic": 1, "adult": 1, "personal": 2, "story": 3, "spanish": 3, "chinese": 3}
QUALITY |= {"code": 4, "article": 4, "question": 4, "arithmetic": 5}
LEARNED: dict[str, Any] = {
    "label": {
        "kind": "label",
        "inputs": {"documents": "curate", "truth": "world/truth.jsonl"},
        "config": {
            "labeller": "simulated",
            "simulated": {"error_rate": 0.05, "quality": QUALITY, "toxic": ["toxic", "adult"]},
        },
    },
    "classify": {"kind": "classify", "inputs": {"labels": "label", "documents": "curate"}},
    "filter": {
        "kind": "filter",
        "inputs": {"documents": "curate", "classifier": "classify", "truth": "world/truth.jsonl"},
        "config": {"max_toxicity": 0.5},
    },
}


def _manifest(folder: Path, stage: str) -> dict[str, Any]:
    return dict(json.loads((folder / stage / "manifest.json").read_text()))


def test_a_filter_stands_where_curate_stood(tmp_path: Path) -> None:
    world = {"kind": "world", "config": {**STAGES["world"]["config"], "clean_chars": 200_000}}
    gopher = {"min_words": 20, "min_word_length": 2, "min_letter_words": 0.3}
    config = {"gopher_quality": gopher, "c4": {"min_line_words": 0, "min_sentences": 2, "curly_bracket": False}}
    stages = {"world": world, "curate": {**STAGES["curate"], "config": config}, **LEARNED}
    for name in ("tokenizer", "tokens"):
        stages[name] = {**STAGES[name], "inputs": {**STAGES[name]["inputs"], "documents": "filter"}}
    recipe, out = small_recipe(stages), tmp_path / "run"
    assert run(recipe, KINDS, out).ran == list(stages)
    assert run(recipe, KINDS, out).ran == []
    metrics = {name: _manifest(out, name)["metrics"] for name in stages}
    curated, filtered = metrics["curate"], metrics["filter"]
    assert filtered["documents"] == curated["kept"] - curated["heldout"]
    assert filtered["keep_precision"] > curated["keep_precision"] + 0.01
    assert filtered["keep_recall"] > curated["keep_recall"] - 0.01
    assert _manifest(out, "tokens")["inputs"]["documents"][0]["stage"] == "filter"

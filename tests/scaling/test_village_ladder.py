"""The whole way on a tiny village: two mixes, a ladder each with its models, exams, forecast, comparison, target."""

from pathlib import Path
from typing import Any

import pytest

from puna.base.files import read_json
from puna.lineage import run
from puna.stages import STAGES as KINDS
from tests.small import STAGES, small_recipe

SIZES = [
    {"dim": dim, "layers": layers, "heads": 2, "kv_heads": 1, "ffn_dim": 2 * dim, "max_position": 256}
    for dim, layers in ((8, 1), (16, 1), (32, 1))
]
TRAIN: dict[str, Any] = {"micro_batch": 4, "row_tokens": 128, "batch_rows": 2, "lr": 0.02, "heldout_rows": 8}
EXAM = {"name": "cloze", "kind": "exam", "input": "exams", "file": "village-choice"}
TARGET = {"parameters": 384 * 48 + 2 * 48 * 24 * 3 + 3 * 48 * 96 + 3 * 48, "num_tokens": 24 * 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ladder = {"sizes": SIZES, "num_tokens": [1024, 2048, 4096], "train": TRAIN, "min_ratio": 0, "keep_models": True}
    inputs = {"tokens": "tokens", "tokenizer": "tokenizer"}
    mix = {"kind": "mix", "inputs": {"tokens": "tokens"}}
    stages = {name: STAGES[name] for name in ("world", "curate", "tokenizer", "tokens")}
    stages |= {
        "more-articles": {**mix, "config": {"by": "section", "upsample": {"article": 3.0}}},
        "ladder": {"kind": "ladder", "inputs": inputs, "config": ladder},
        "ladder-articles": {"kind": "ladder", "inputs": {**inputs, "mix": "more-articles"}, "config": ladder},
        "exams": {
            "kind": "evaluate-ladder",
            "inputs": {"ladder": "ladder", "exams": "world/exams"},
            "config": {"tasks": [EXAM]},
        },
        "forecast": {
            "kind": "forecast",
            "inputs": {"ladder": "ladder", "exams": "exams"},
            "config": {**TARGET, "resamples": 50, "first_step": "flops"},
        },
        "compared": {
            "kind": "compare-forecasts",
            "inputs": {"as-it-is": "ladder", "more-articles": "ladder-articles"},
            "config": {**TARGET, "resamples": 50},
        },
        "target": {
            "kind": "pretrain",
            "inputs": {**inputs, "forecast": "forecast"},
            "config": {**TRAIN, "num_tokens": TARGET["num_tokens"], "model": {**SIZES[0], "dim": 48, "ffn_dim": 96}},
        },
        "evaluate": {
            "kind": "evaluate",
            "inputs": {"model": "target", "exams": "world/exams", "forecast": "forecast"},
            "config": {"tasks": [EXAM]},
        },
    }
    out = tmp_path_factory.mktemp("run")
    run(small_recipe(stages), KINDS, out)
    return out


def test_every_run_is_asked_and_foretold_from(folder: Path) -> None:
    runs = read_json(folder / "exams/downstream.json")["runs"]
    ladder = read_json(folder / "ladder/ladder.json")
    assert [row["name"] for row in runs] == [row["name"] for row in ladder["runs"]]
    assert len(runs) == 9
    assert 1 < ladder["text"]["bytes_per_token"] < 5
    made = read_json(folder / "forecast/forecast.json")
    assert made["tokenizers"] == [ladder["tokenizer"]]
    one = made["tasks"]["cloze"]
    likelihoods = [row["tasks"]["cloze"]["nats_per_byte"] for row in runs]
    assert one["likelihood_interval"][0] < one["likelihood"] < one["likelihood_interval"][1]
    assert one["likelihood"] < max(likelihoods)
    assert one["chance"] == pytest.approx(0.25)


def test_what_came_stands_beside_it(folder: Path) -> None:
    metrics = read_json(folder / "evaluate/manifest.json")["metrics"]
    score = read_json(folder / "evaluate/scores.json")[0]["value"]
    assert metrics["cloze/predicted_low"] <= metrics["cloze/predicted_accuracy"] <= metrics["cloze/predicted_high"]
    assert metrics["cloze/accuracy_inside"] == float(
        metrics["cloze/predicted_low"] <= score <= metrics["cloze/predicted_high"]
    )
    loss = read_json(folder / "target/manifest.json")["metrics"]
    assert loss["forecast_error"] == pytest.approx(loss["validation_loss"] / loss["forecast_loss"] - 1)


def test_mixes_learned_other_documents_and_were_compared_on_the_same_ones(folder: Path) -> None:
    mixed, plain = (read_json(folder / name / "ladder.json") for name in ("ladder-articles", "ladder"))
    assert mixed["text"] == plain["text"]
    assert all(a["loss"] != b["loss"] for a, b in zip(mixed["runs"], plain["runs"], strict=True))
    made = read_json(folder / "compared/comparison.json")
    assert set(made["mixes"]) == {"as-it-is", "more-articles"}
    (other,) = made["others"]
    low, high = made["others"][other]["interval"]
    assert low < made["others"][other]["difference"] < high
    assert made["others"][other]["difference"] >= 0

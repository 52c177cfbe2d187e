"""`puna chaos` on a recipe: what is asked on the way is asked in the disturbed runs too, and all files are alike."""

import json
from pathlib import Path

import pytest
import yaml

from tests.small import LOOP, STAGES
from tests.test_cli import _puna


def test_a_recipe_that_evaluates_on_the_way_comes_out_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pretrain = {
        "kind": "pretrain",
        "inputs": {"tokens": "tokens", "tokenizer": "tokenizer", "exams": "world/exams"},
        "config": {
            **STAGES["pretrain"]["config"],
            **LOOP,
            "num_tokens": 1024 * 30,
            "evaluate": {"times": 2, "tasks": [{"name": "village-word", "kind": "exam", "input": "exams", "limit": 4}]},
        },
    }
    stages = {**{name: STAGES[name] for name in ("world", "curate", "tokenizer", "tokens")}, "pretrain": pretrain}
    values = {"name": "small", "seed": 7, "mesh": {"threads": 1, "workers": 1}, "stages": stages}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    assert _puna("chaos", "small.yaml", "--every", "0.2", "--failures", "1", "--kinds", "nan", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["same_bytes"] and told["failures"] == 1
    assert told["effective_time"] == pytest.approx(told["steps"] * told["undisturbed_step_s"] / told["wall_s"])
    assert {row["kind"]: row["found"] for row in told["kinds"]} == {"nan": 1}
    log = [json.loads(line) for line in Path("runs/small/pretrain/log.jsonl").read_text().splitlines()]
    assert sum("score/village-word" in row for row in log) == 2

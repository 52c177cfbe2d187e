"""Samples get verdicts where an answer is known and scores where there is a reward model."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.base.errors import DataError
from puna.base.files import write_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.model import load_model, save_model
from puna.posttrain.judge import JudgeConfig, run
from puna.posttrain.reward import Scorer
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog
from tests.posttrain.conftest import asked


def _sample(tokenizer: Tokenizer, text: str, finish: str = "stop") -> dict[str, Any]:
    ends = [tokenizer.eot_id] if finish == "stop" else []
    return {"text": text, "tokens": [*tokenizer.encode(text), *ends], "finish": finish}


@pytest.fixture
def samples(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A folder of two files: a number, a choice, and a prompt that nothing is known of."""
    rows = [
        {"id": "n", "messages": asked(0), "task": "t", "kind": "number", "answer": "7",
         "samples": [_sample(tokenizer, text) for text in ("It is 7.", "8", "none", "7")]},
        {"id": "c", "messages": asked(1), "task": "t", "kind": "choice", "answer": 0, "choices": ["owl", "hen"],
         "samples": [_sample(tokenizer, "hen"), _sample(tokenizer, "The owl", "length")]},
        {"id": "o", "messages": asked(2), "task": "", "samples": [_sample(tokenizer, "7")]},
    ]  # fmt: skip
    path = tmp_path / "samples"
    path.mkdir()
    write_jsonl(path / "samples-0000.jsonl", rows[:2])
    write_jsonl(path / "samples-0001.jsonl", rows[2:])
    return path


@pytest.fixture
def scorer(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """The folder of a reward model whose head is drawn."""
    path = tmp_path / "reward"
    head = torch.randn(32, generator=torch.Generator().manual_seed(1))
    save_model(load_model(folder), tokenizer, path, score=head)
    write_json(path / "reward.json", {"mean": 0.5, "deviation": 2.0})
    return path


def test_verdicts_without_a_reward_model(samples: Path, tmp_path: Path) -> None:
    out = StageOutput(tmp_path / "out")
    run(JudgeConfig(), Inputs({"samples": samples}), out)
    rows = list(read_jsonl(out.path / "judged.jsonl"))
    assert [[sample["verdict"] for sample in row["samples"]] for row in rows] == [
        ["correct", "wrong", "error", "correct"], ["wrong", "correct"], [None],
    ]  # fmt: skip
    assert rows[0]["samples"][1]["reason"] == "8 is not 7" and rows[2]["samples"][0]["reason"] is None
    assert all(sample["score"] is None for row in rows for sample in row["samples"])
    kept = [
        {**row, "samples": [{key: s[key] for key in ("text", "tokens", "finish")} for s in row["samples"]]}
        for row in rows
    ]
    assert kept == [row for file in sorted(samples.iterdir()) for row in read_jsonl(file)]
    assert out.metrics == {"correct": 3 / 6, "solved": 1.0} and out.scores == []


def test_scores_are_the_reward_model_s(samples: Path, scorer: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    out = StageOutput(tmp_path / "out")
    run(JudgeConfig(), Inputs({"samples": samples, "reward": scorer}), out)
    rows = list(read_jsonl(out.path / "judged.jsonl"))
    model, scores = Scorer.load(scorer), []
    for row in rows:
        prompt = encode_dialog(tokenizer, row["messages"], generation_prompt=True)[0]
        for sample in row["samples"]:
            whole = [*prompt, *tokenizer.encode(sample["text"]), tokenizer.eot_id]
            assert sample["score"] == pytest.approx((model.raw([whole])[0] - 0.5) / 2, abs=2e-5)
            scores.append(sample["score"])
    assert out.metrics["mean_score"] == pytest.approx(sum(scores) / 7) and out.metrics["bad_scores"] == 0
    (n7, n8, none, last), (hen, owl), _ = ([sample["score"] for sample in row["samples"]] for row in rows)
    above = [n7 > n8, n7 > none, last > n8, last > none, owl > hen]  # right above wrong, of one prompt
    [score] = out.scores
    assert (score["metric"], score["n"]) == ("accuracy/right-above-wrong", 5)
    assert score["value"] == sum(above) / 5


def test_the_reward_model_scores_the_first_prompts_alone(samples: Path, scorer: Path, tmp_path: Path) -> None:
    every, first = StageOutput(tmp_path / "every"), StageOutput(tmp_path / "first")
    run(JudgeConfig(), Inputs({"samples": samples, "reward": scorer}), every)
    run(JudgeConfig(score_limit=1), Inputs({"samples": samples, "reward": scorer}), first)
    expected, rows = (list(read_jsonl(out.path / "judged.jsonl")) for out in (every, first))
    assert rows[0] == expected[0]
    for row, whole in zip(rows[1:], expected[1:], strict=True):
        assert [sample["score"] for sample in row["samples"]] == [None] * len(row["samples"])
        assert [s["verdict"] for s in row["samples"]] == [s["verdict"] for s in whole["samples"]]


def test_a_score_that_is_no_number_is_counted_and_written_as_null(
    samples: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [1.0, math.nan, -1.0, 0.5, math.inf, 2.0, -math.inf]
    monkeypatch.setattr(Scorer, "score", lambda self, prompts, answers: scores)
    out = StageOutput(tmp_path / "out")
    run(JudgeConfig(), Inputs({"samples": samples, "reward": scorer}), out)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    lines = (out.path / "judged.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    written = [sample["score"] for row in rows for sample in row["samples"]]
    assert written == [1.0, None, -1.0, 0.5, None, 2.0, None]
    assert out.metrics["bad_scores"] == 3 and out.metrics["mean_score"] == 2.5 / 4
    [score] = out.scores  # of right and wrong samples of one prompt with a score each: 7 and 7 above "none"
    assert (score["value"], score["n"]) == (1.0, 2)


def test_what_is_no_sample_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected samples-\*\.jsonl in .*empty, found none; run a generate stage"):
        run(JudgeConfig(), Inputs({"samples": tmp_path / "empty"}), StageOutput(tmp_path / "a"))
    write_jsonl(tmp_path / "p.jsonl", [{"id": "a", "messages": asked(0)}])
    with pytest.raises(DataError, match=r"p\.jsonl: row 1: expected id, messages and samples, came id, messages"):
        run(JudgeConfig(), Inputs({"samples": tmp_path / "p.jsonl"}), StageOutput(tmp_path / "b"))

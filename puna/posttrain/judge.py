"""The stage `judge`: every sample gets the verifier's verdict, where one is possible, and the reward model's score.

samples-NNNN.jsonl -> judged.jsonl: the same rows, each sample with `verdict`, `reason` and `score` (null where there is
none: no reward model, or a score that is no number, which is counted)
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.evals.statistics import wilson_interval
from puna.posttrain.prompts import prompt_of
from puna.posttrain.reward import Scorer
from puna.tokenizer.dialog import encode_dialog

_SCORED_ROWS = 64


class JudgeConfig(Config):
    """Verdicts come from what a prompt knows, scores from the reward model that is given.

    score_limit: it scores the samples of so many prompts, the first ones (0: all); a score costs a pass through a model
    as large as the sampler's, a verdict next to nothing.
    """

    score_limit: int = pydantic.Field(0, ge=0)


def run(config: JudgeConfig, inputs: Inputs, out: StageOutput) -> None:
    """Judge samples. Inputs: `samples` (a generate stage), and `reward` (a reward stage) if there is one."""
    prepare_machine(out.threads)
    rows = read_samples(inputs.many("samples"))
    for row in rows:
        _verify(row)
    if inputs.has("reward"):
        scorer, bad_scores = Scorer.load(inputs.one("reward")), 0
        scored = rows[: config.score_limit] if config.score_limit else rows
        for start in range(0, len(scored), _SCORED_ROWS):
            bad_scores += _add_scores(scorer, scored[start : start + _SCORED_ROWS])
            out.progress(min(start + _SCORED_ROWS, len(scored)), len(scored), "prompts")
        out.metric(bad_scores=bad_scores)
    if not out.done("judged.jsonl"):
        with out.unit("judged.jsonl") as unit:
            write_jsonl(unit.path, rows)
    _report(rows, out)


def read_samples(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of a generate stage: prompts with their samples. Raises DataError if there is none, or another row."""
    files = [file for path in paths for file in (sorted(path.glob("samples-*.jsonl")) if path.is_dir() else [path])]
    if not files:
        raise DataError(f"expected samples-*.jsonl in {', '.join(map(str, paths))}, found none; run a generate stage")
    rows = []
    for file in files:
        for number, row in enumerate(read_jsonl(file), 1):
            if not {"id", "messages", "samples"} <= set(row):
                raise DataError(f"{file}: row {number}: expected id, messages and samples, came {', '.join(row)}")
            rows.append(row)
    return rows


def _verify(row: dict[str, Any]) -> None:
    prompt = prompt_of(row, row["id"])
    for sample in row["samples"]:
        verdict = prompt.verify(sample["text"]) if prompt.verifiable else None
        sample["verdict"] = verdict.verdict if verdict else None
        sample["reason"] = verdict.reason if verdict else None
        sample["score"] = None


def _add_scores(scorer: Scorer, rows: Sequence[dict[str, Any]]) -> int:
    """Score every sample; how many scores are no finite numbers, and stay None."""
    samples = [sample for row in rows for sample in row["samples"]]
    ids = [encode_dialog(scorer.tokenizer, row["messages"], generation_prompt=True)[0] for row in rows]
    prompts = [prompt for prompt, row in zip(ids, rows, strict=True) for _ in row["samples"]]
    scores = scorer.score(prompts, [sample["tokens"] for sample in samples])
    for sample, score in zip(samples, scores, strict=True):
        sample["score"] = round(score, 6) if math.isfinite(score) else None
    return sum(not math.isfinite(score) for score in scores)


def _report(rows: Sequence[dict[str, Any]], out: StageOutput) -> None:
    """Share of right samples, of prompts with one, and how often the reward model puts right above wrong."""
    right = [[s["verdict"] == "correct" for s in row["samples"]] for row in rows if row.get("kind")]
    if right:
        flat = [one for several in right for one in several]
        out.metric(correct=sum(flat) / len(flat), solved=sum(map(any, right)) / len(right))
    scores = [sample["score"] for row in rows for sample in row["samples"] if sample["score"] is not None]
    if not scores:
        return
    out.metric(mean_score=sum(scores) / len(scores))
    agrees = [
        good["score"] > bad["score"]
        for row in rows
        if row.get("kind")
        for good in row["samples"]
        for bad in row["samples"]
        if good["verdict"] == "correct" and bad["verdict"] != "correct"
        if good["score"] is not None and bad["score"] is not None
    ]
    if agrees:
        interval = wilson_interval(sum(agrees), len(agrees))
        out.score("preference", "accuracy/right-above-wrong", sum(agrees) / len(agrees), interval, len(agrees))

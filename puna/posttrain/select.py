"""The stage `select`: of every prompt's judged samples the best ones become dialogs (rejection sampling), and the best
and the worst a preference.

judged.jsonl -> dialogs.jsonl (for sft), preferences.jsonl (for dpo and reward), prompts.jsonl (for ppo: what is left
to learn, the prompts that not every sample answered well, or all where every one did)
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from puna.base.config import Config
from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl

Sample = dict[str, Any]


class SelectConfig(Config):
    """How many different answers of a prompt are kept, best first by verdict, then by score.

    min_score: an answer that no verifier can judge must reach it. too_easy: a prompt whose share of right samples is
    above it is left out (1: none), because it teaches nothing any more; hard ones are what rejection sampling is for.
    task_limits: of a task named here at most so many prompts, the first ones, so that no task outweighs the others.
    """

    per_prompt: int = pydantic.Field(1, ge=1)
    min_score: float = 0.0
    too_easy: float = pydantic.Field(1.0, ge=0, le=1)
    task_limits: dict[str, pydantic.NonNegativeInt] = pydantic.Field(default_factory=dict)


def run(config: SelectConfig, inputs: Inputs, out: StageOutput) -> None:
    """Select samples. Input: `judged` (judge stages or their files)."""
    rows = read_judged(inputs.many("judged"))
    _check_tasks(config, rows)
    counts: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    dialogs: list[dict[str, Any]] = []
    preferences: list[dict[str, Any]] = []
    unsolved: list[dict[str, Any]] = []
    for row in rows:
        good, bad = divide(row, config)
        if bad:
            unsolved.append(_prompt(row))
        share = len(good) / max(1, len(good) + len(bad))
        if not good or share > config.too_easy:
            counts["none_good" if not good else "too_easy"] += 1
            continue
        task = row.get("task", "")
        if taken[task] >= config.task_limits.get(task, len(rows)):
            counts["over_limit"] += 1
            continue
        taken[task] += 1
        dialogs += [_dialog(row, sample) for sample in _different(good)[: config.per_prompt]]
        rejected = worst(bad, good[0])
        if rejected:
            preferences.append(_preference(row, good[0], rejected))
    if not dialogs:
        raise DataError(
            f"expected prompts with a good sample, came {counts['none_good']} without one and {counts['too_easy']} too "
            "easy; take more samples, or change min_score or too_easy"
        )
    unsolved = unsolved or [_prompt(row) for row in rows]
    files = {"dialogs.jsonl": dialogs, "preferences.jsonl": preferences, "prompts.jsonl": unsolved}
    for name, made in files.items():
        if not out.done(name):
            with out.unit(name) as unit:
                write_jsonl(unit.path, made)
    out.metric(num_prompts=len(rows), num_dialogs=len(dialogs), num_preferences=len(preferences))
    out.metric(num_unsolved=len(unsolved))
    out.metric(none_good=counts["none_good"], too_easy=counts["too_easy"], over_limit=counts["over_limit"])


def _check_tasks(config: SelectConfig, rows: Sequence[dict[str, Any]]) -> None:
    """Raises ConfigError if a limit names a task that no prompt has: it would limit nothing."""
    tasks = sorted({row.get("task", "") for row in rows} - {""})
    if unknown := sorted(set(config.task_limits) - set(tasks)):
        raise ConfigError(f"task_limits: expected tasks among {', '.join(tasks) or 'none'}, came {', '.join(unknown)}")


def read_judged(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of judge stages. Raises DataError if there is none."""
    rows = [row for path in paths for row in read_jsonl(path / "judged.jsonl" if path.is_dir() else path)]
    if not rows:
        raise DataError(f"expected judged samples in {', '.join(map(str, paths))}, found none")
    return rows


def divide(row: dict[str, Any], config: SelectConfig) -> tuple[list[Sample], list[Sample]]:
    """Good and other samples of a prompt, each from best to worst.

    Good is what the verifier found right, or, where it can't judge, what reaches `min_score`. A sample that was cut
    off or says nothing is never good. Without scores the samples keep their order; one without a score comes after
    those that have one.
    """

    def is_good(sample: Sample) -> bool:
        if sample["finish"] != "stop" or not sample["text"].strip():
            return False
        if sample["verdict"] is not None:
            return bool(sample["verdict"] == "correct")
        return sample["score"] is not None and sample["score"] >= config.min_score

    ranked = sorted(row["samples"], key=_rank)
    return [sample for sample in ranked if is_good(sample)], [sample for sample in ranked if not is_good(sample)]


def worst(bad: Sequence[Sample], chosen: Sample) -> Sample | None:
    """The sample to reject: the worst-scored one that ended, else the worst; None if none says anything else.

    An empty answer is never it, and one that was cut off only where nothing else is: they are worse for a reason that
    no preference need teach.
    """
    said = [sample for sample in bad if sample["text"].strip() not in ("", chosen["text"].strip())]
    ended = [sample for sample in said if sample["finish"] == "stop"] or said
    scored = [sample for sample in ended if sample["score"] is not None] or ended
    return scored[-1] if scored else None


def _prompt(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "samples"}


def _rank(sample: Sample) -> tuple[bool, float]:
    score = sample["score"]
    return score is None, 0.0 if score is None else -score


def _different(samples: Sequence[Sample]) -> list[Sample]:
    """The first sample of each text, in their order."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample["text"].strip(), sample)
    return list(first.values())


def _dialog(row: dict[str, Any], sample: Sample) -> dict[str, Any]:
    messages = [*row["messages"], {"role": "assistant", "content": sample["text"].strip()}]
    judged = {"verdict": sample["verdict"], "score": sample["score"]}
    return {
        "id": row["id"],
        "messages": messages,
        "source": "rejection-sampling",
        "task": row.get("task", ""),
        **judged,
    }


def _preference(row: dict[str, Any], good: Sample, bad: Sample) -> dict[str, Any]:
    texts = {"chosen": good["text"].strip(), "rejected": bad["text"].strip()}
    return {"id": row["id"], "prompt": row["messages"], **texts, "source": "rejection-sampling"}

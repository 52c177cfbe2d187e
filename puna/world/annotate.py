"""The stage `annotate`: simulated annotators compare a model's own samples (no person judged anything here).

judged.jsonl (a judge stage) -> preferences.jsonl, in the form of `dialogs/preferences.jsonl` of a world
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.world.annotators import ANNOTATORS, Annotator, Answer, prefer, strength
from puna.world.chance import Chance

QUALITY = {"correct": 3, "wrong": 0, "error": 0}
"""The true quality of a sample by its verdict."""


class AnnotateConfig(Config):
    """contrast: in this share of the prompts the pair is of different quality, if there is one; else it is any pair."""

    contrast: float = Field(0.8, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Who preferred which answer."""

    annotator: Annotator
    chosen: Answer
    rejected: Answer
    strength: str

    @property
    def is_tie(self) -> bool:
        """Whether neither answer is the better one."""
        return self.chosen.quality == self.rejected.quality

    @property
    def error(self) -> bool:
        """Whether the worse answer was preferred; never in a tie."""
        return self.chosen.quality < self.rejected.quality


def run(config: AnnotateConfig, inputs: Inputs, out: StageOutput) -> None:
    """Annotate one pair of samples a prompt. Input: `judged` (a judge stage or its file).

    Raises DataError, naming the row, if a row is no judged prompt, and if no prompt has two different samples.
    """
    path, judgements, rows = inputs.one("judged"), [], []
    left_out = 0
    for row in _read_judged(path):
        judgement = annotate(config, row, Chance(out.seed, "annotate", row["id"]))
        if judgement:
            judgements.append(judgement)
            rows.append(_preference(row, judgement))
        else:
            left_out += 1
    if not rows:
        raise DataError(f"expected prompts with two different samples in {path}, came {left_out} without; sample more")
    if not out.done("preferences.jsonl"):
        with out.unit("preferences.jsonl") as unit:
            write_jsonl(unit.path, rows)
    out.metric(num_pairs=len(rows), left_out=left_out)
    _report(judgements, out)


def annotate(config: AnnotateConfig, row: dict[str, Any], chance: Chance) -> Judgement | None:
    """A random annotator's judgement of two samples in random order; None if all samples say the same."""
    texts = {sample["text"].strip(): Answer(sample["text"], QUALITY[sample["verdict"]]) for sample in row["samples"]}
    pairs = list(itertools.combinations(texts.values(), 2))
    if not pairs:
        return None
    unequal = [(a, b) for a, b in pairs if a.quality != b.quality]
    shown = chance.shuffled(chance.pick(unequal if unequal and chance.hit(config.contrast) else pairs))
    annotator = chance.pick(ANNOTATORS)
    winner = prefer(annotator, shown[0], shown[1], chance)
    chosen, rejected = shown[winner], shown[1 - winner]
    return Judgement(annotator, chosen, rejected, strength(chosen, rejected, chance))


def _preference(row: dict[str, Any], judgement: Judgement) -> dict[str, Any]:
    return {
        "id": f"annotated-{row['id']}",
        "prompt": row["messages"],
        "chosen": judgement.chosen.text,
        "rejected": judgement.rejected.text,
        "annotator": judgement.annotator.name,
        "strength": judgement.strength,
        "error": judgement.error,
        "source": "world/annotate",
        "task": row["task"],
    }


def _report(judgements: Sequence[Judgement], out: StageOutput) -> None:
    unequal = [one for one in judgements if not one.is_tie]
    out.metric(ties=len(judgements) - len(unequal))
    if unequal:
        out.metric(error_rate=sum(one.error for one in unequal) / len(unequal))
    table = []
    for annotator in ANNOTATORS:
        mine = [one for one in unequal if one.annotator is annotator]
        errors = sum(one.error for one in mine)
        measured = f"{errors / len(mine):.3f}" if mine else "-"
        ties = sum(one.is_tie and one.annotator is annotator for one in judgements)
        table.append([annotator.name, annotator.error_rate, measured, errors, len(mine), ties])
    out.panel(
        "table",
        "Simulated annotators",
        columns=["name", "stated error rate", "measured", "errors", "unequal pairs", "ties"],
        rows=table,
        note="They are programs. Pairs are not balanced in length, so a length bias may move a rate by its size.",
    )


def _read_judged(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a judge stage, checked. Raises DataError naming the row that can not be used."""
    file = path / "judged.jsonl" if path.is_dir() else path
    seen: set[str] = set()
    for number, row in enumerate(read_jsonl(file), 1):
        fault = _fault(row) or ("an id of its own" if row["id"] in seen else "")
        if fault:
            raise DataError(f"{file}: row {number}, id {row.get('id')!r}: expected {fault}; run a judge stage first")
        # The id names the stream of a row: two rows of one id would be judged by the same draws.
        seen.add(row["id"])
        yield row


def _fault(row: dict[str, Any]) -> str:
    """What was expected of a row and did not come; nothing if it can be used."""
    if not isinstance(row.get("id"), str) or not isinstance(row.get("task"), str):
        return "`id` and `task` as texts"
    messages, samples = row.get("messages"), row.get("samples")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        return "`messages` with at least one message"
    if not isinstance(samples, list) or not all(isinstance(one, dict) for one in samples):
        return "`samples`, a list of objects"
    if not all(isinstance(one.get("text"), str) for one in samples):
        return "a `text` in each sample"
    if bad := [one.get("verdict") for one in samples if one.get("verdict") not in list(QUALITY)]:
        return f"a verdict among {', '.join(QUALITY)} in each sample, came {bad[0]!r}"
    return ""

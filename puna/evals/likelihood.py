"""What a task of several choices says beside its score: how likely the right answers were, and what guessing gives."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from puna.base.errors import DataError
from puna.evals.items import ItemResult
from puna.evals.tasks.spec import TaskConfig

_SAID_ELSEWHERE = {"name", "input", "headline"}


@dataclass(frozen=True)
class ChoiceMeasure:
    """nats_per_byte: mean negative log-likelihood of the right answer over its bytes; accuracy: share of right choices;
    chance: that of guessing.

    Items that did not fit into the context count as wrong, and have no likelihood.
    """

    nats_per_byte: float
    accuracy: float
    chance: float
    items: int


def measure_choices(task: str, items: Sequence[ItemResult]) -> ChoiceMeasure:
    """Of a task whose options a base model found likely. Raises DataError if an item has no likelihoods of options."""
    details = [json.loads(item.details) for item in items if item.verdict != "error"]
    if not details or any("nats_per_byte" not in one for one in details):
        raise DataError(
            f"{task}: expected a task of several choices, answered by the likeliest of them, came one that is written; "
            "leave it out, or set written to false"
        )
    mean = sum(one["nats_per_byte"] for one in details) / len(details)
    accuracy = sum(item.verdict == "correct" for item in items) / len(items)
    chance = sum(1 / len(one["logprobs"]) for one in details) / len(details)
    return ChoiceMeasure(mean, accuracy, chance, len(items))


def how_asked(task: TaskConfig) -> dict[str, Any]:
    """The settings of a task that its answers depend on: two measures compare if these are equal."""
    return task.model_dump(mode="json", exclude=_SAID_ELSEWHERE) | {"file": task.file or task.name}

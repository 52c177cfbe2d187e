"""The stage `keep`, the last of a round: the new model stays if it is better on the same items, else the old one does.

Llama 3 trains six rounds (section 4.1); a round that makes the model worse must not be the next one's start. The test
is paired, on items that no score of the report is measured on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pydantic

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.files import model_files, read_json
from puna.base.output import Inputs, StageOutput
from puna.evals.items import ItemResult, read_results
from puna.evals.statistics import compare_paired

_SCORES = ("scores.json", "items.parquet")


class KeepConfig(Config):
    """Kept if the share of right answers over all `tasks` (empty: every task) has not fallen, and no task is worse with
    p < `alpha` (exact McNemar test)."""

    tasks: tuple[str, ...] = ()
    alpha: float = pydantic.Field(0.05, gt=0, lt=1)


def run(config: KeepConfig, inputs: Inputs, out: StageOutput) -> None:
    """Keep or roll back. Inputs: `before` and `after` (models), `scores_before` and `scores_after` (their evaluations).

    The artifact is the model that stays, with its scores. Raises DataError if the two did not answer the same items.
    """
    before, after = (_verdicts(inputs.one(name), config.tasks) for name in ("scores_before", "scores_after"))
    rows, worse, pairs = [], [], list[tuple[bool, bool]]()
    for task in {**before, **after}:
        if list(before.get(task, {})) != list(after.get(task, {})):
            raise DataError(f"expected the same items of {task} in both evaluations; evaluate both with one setting")
        both = [(before[task][item], after[task][item]) for item in before[task]]
        test = compare_paired([a for a, _ in both], [b for _, b in both])
        pairs += both
        worse += [task] if test.difference < 0 and test.p_value < config.alpha else []
        rows.append([task, _share(a for a, _ in both), _share(b for _, b in both), test.difference, test.p_value])
    whole = compare_paired([a for a, _ in pairs], [b for _, b in pairs])
    kept = whole.difference >= 0 and not worse
    source, scores = ("after", "scores_after") if kept else ("before", "scores_before")
    _copy(inputs.one(source), inputs.one(scores), out)
    out.metric(kept=float(kept), gain=whole.difference, p_value=whole.p_value, num_items=whole.n)
    columns = ["task", "before", "after", "gain", "p (McNemar)"]
    note = "Kept." if kept else f"Rolled back: {', '.join(worse) or 'the share of right answers'} fell."
    out.panel("table", "Kept or rolled back", columns=columns, rows=rows, note=note)


def _verdicts(folder: Path, tasks: Sequence[str]) -> Mapping[str, dict[str, bool]]:
    """Whether each item was answered rightly, by task. Raises DataError if a task was not evaluated."""
    found: dict[str, dict[str, bool]] = {}
    for item in read_results(folder / "items.parquet"):
        if (not tasks or item.task in tasks) and _is_judged(item):
            found.setdefault(item.task, {})[item.id] = item.verdict == "correct"
    missing = set(tasks) - set(found)
    if missing or not found:
        raise DataError(f"expected answers to {', '.join(sorted(missing)) or 'a task'} in {folder}, found none")
    return found


def _is_judged(item: ItemResult) -> bool:
    return item.verdict in ("correct", "wrong", "error")


def _share(right: object) -> float:
    values = list(right)  # type: ignore[call-overload]
    return sum(values) / len(values)


def _copy(model: Path, scores: Path, out: StageOutput) -> None:
    """The model's files and its scores as units. A kept model may itself be a `keep` artifact with older scores."""
    read_json(model / "config.json")  # no model is told before anything is written
    files = [path for path in model_files(model) if path.name not in _SCORES]
    for file in [*files, *(scores / name for name in _SCORES)]:
        if not out.done(file.name):
            with out.unit(file.name) as unit:
                unit.path.write_bytes(file.read_bytes())

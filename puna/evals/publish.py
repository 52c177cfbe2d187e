"""How scores leave a stage: scores.json and items.parquet, the manifest, the report's table."""

from collections.abc import Sequence
from typing import Any

from puna.base.files import write_json
from puna.base.output import StageOutput
from puna.evals.items import ItemResult, write_results


def publish(scores: Sequence[dict[str, Any]], items: Sequence[ItemResult], out: StageOutput) -> None:
    """Write scores.json and items.parquet, and put the scores into the manifest."""
    if not out.done("items.parquet"):
        with out.unit("items.parquet") as unit:
            write_results(unit.path, items)
    if not out.done("scores.json"):
        with out.unit("scores.json") as unit:
            write_json(unit.path, list(scores))
    for score in scores:
        where = (score["task"], score["metric"], score["value"], tuple(score["ci95"]), score["n"], score["headline"])
        out.score(*where, **score["settings"])


def scores_table(scores: Sequence[dict[str, Any]], out: StageOutput) -> None:
    """The table of all scores with their intervals."""
    rows = [[s["task"], s["metric"], round(s["value"], 4), *(round(v, 4) for v in s["ci95"]), s["n"]] for s in scores]
    columns = ["task", "metric", "value", "95% from", "to", "n"]
    out.panel("table", "Scores", columns=columns, rows=rows, note="Intervals: Wilson; bits per byte: bootstrap.")

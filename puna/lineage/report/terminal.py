"""The report and a comparison as rich tables, for the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from puna.lineage.report.formats import format_bytes, format_interval, format_score, format_seconds, is_proportion
from puna.lineage.report.headline import BASELINES, baseline_scores, headline_tasks
from puna.lineage.report.steps import Step, is_climb, lap_steps

MAX_TASKS = 3  # beside each other in a hundred columns, with their intervals


def report_card(report: Mapping[str, Any], path: Path | None = None) -> RenderableType:
    """Headline tasks against their best baseline, model by model; then time, memory and where the page lies."""
    tasks = headline_tasks(report)
    steps = {task: lap_steps(scores, report) for task, scores in tasks.items()}
    if any(map(is_climb, steps.values())):
        names = list(steps)
        parts = [names[start : start + MAX_TASKS] for start in range(0, len(names), MAX_TASKS)]
        tables = [lap_table(report, {name: steps[name] for name in part}) for part in parts]
    else:
        tables = [task_table(report, tasks)] if tasks else []
    lines = [f"{format_seconds(report['total_seconds'])}, peak memory {format_bytes(report['peak_memory_bytes'])}"]
    if report["missing"]:
        lines.append("not finished: " + ", ".join(report["missing"]))
    if path:
        lines.append(f"report: {path}")
    empty = Text("no headline score yet", style="dim")
    shown = [part for table in tables for part in (table, Text(""))] or [empty, Text("")]
    return Group(*shown, *(Text(line) for line in lines))


def task_table(report: Mapping[str, Any], tasks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """One row a task, one column a scoring stage: for the one or two evaluations of a short lap."""
    stages = list(dict.fromkeys(score["stage"] for scores in tasks.values() for score in scores))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("task")
    table.add_column("best baseline", justify="right", style="dim")
    for stage in stages:
        table.add_column(Text(stage), justify="right")
    for task, scores in tasks.items():
        cells = [cell(next((s for s in scores if s["stage"] == stage), None)) for stage in stages]
        table.add_row(Text(task), best_baseline(report, task), *cells)
    return table


def lap_table(report: Mapping[str, Any], steps: Mapping[str, Sequence[Step]]) -> Table:
    """One row a model in the order of the lap, one column a task, so that a long lap grows downwards."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model of", no_wrap=True)
    for task in steps:
        table.add_column(Text(task), justify="right", overflow="fold")
    table.add_row(Text("best baseline", style="dim"), *(best_baseline(report, task) for task in steps))
    order = [stage["name"] for stage in report["stages"]]
    rows = {(step.score["stage"], step.label): step for climbed in steps.values() for step in climbed}
    for (stage, label), step in sorted(rows.items(), key=lambda row: order.index(row[0][0])):
        name = Text(label + (f", {step.also}" if step.also else ""))
        if not step.stands:
            name.append(" rolled back", style="red")
        found = [next((one for one in climbed if one.score["stage"] == stage), None) for climbed in steps.values()]
        table.add_row(name, *(cell(one.score if one else None) for one in found))
    return table


def best_baseline(report: Mapping[str, Any], task: str) -> Text:
    """`nearest item 31.8%` or a dash."""
    best = max(baseline_scores(report, task), key=lambda score: score["value"], default=None)
    if best is None:
        return Text("\u2013", style="dim")
    return Text(f"{BASELINES[best['metric']]} {format_score(best['metric'], best['value'])}", style="dim")


def cell(score: Mapping[str, Any] | None) -> Text:
    """`83.2% (80.1 to 86.0)`, or a dash."""
    if score is None or score["value"] is None:
        return Text("\u2013", style="dim")
    text = Text(format_score(score["metric"], score["value"]), style="bold")
    return text.append(f" ({format_interval(score['metric'], score['ci95'])})", style="dim") if score["ci95"] else text


def comparison_table(comparison: Mapping[str, Any], name_a: str = "A", name_b: str = "B") -> RenderableType:
    """Every score of both runs with the difference b - a; bold where its 95% interval leaves out 0.

    Without a second run: the mean of each score over the replicas of the first.
    """
    runs_a, runs_b = comparison["replicas"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("stage", "task", "metric"):
        table.add_column(title, overflow="fold")
    for name, runs in [(name_a, runs_a), *([(name_b, runs_b)] if runs_b else [])]:
        table.add_column(Text(f"{name}, {runs} runs" if runs > 1 else name), justify="right")
    if runs_b:
        table.add_column("difference", justify="right")
        table.add_column("95% interval")
    for row in comparison["scores"]:
        metric = row["metric"]
        sides = [
            cell({"metric": metric, "value": s["mean"], "ci95": s["ci95"]} if s else None) for s in (row["a"], row["b"])
        ]
        compared = [sides[1], *difference_cells(metric, row["difference"])] if runs_b else []
        table.add_row(Text(row["stage"]), Text(row["task"]), Text(metric), sides[0], *compared)
    if not runs_b:
        return table
    made = [row["name"] for row in comparison["stages"] if not row["same"]]
    note = "made differently: " + ", ".join(made) if made else "all stages are the same artifacts"
    return Group(table, Text(""), Text(note, style="dim"))


def difference_cells(metric: str, difference: Mapping[str, Any] | None) -> tuple[Text, Text]:
    """The difference (shares in points) and its interval."""
    if difference is None:
        return Text("\u2013", style="dim"), Text("only in one run", style="dim")
    scale, digits = (100, 1) if is_proportion(metric) else (1, 4)

    def signed(value: float) -> str:
        return f"{scale * value:+.{digits}f}".replace("-", "\u2212")

    style = "bold" if difference["clear"] else ""
    if difference["ci95"] is None:
        return Text(signed(difference["value"]), style=style), Text("\u2013", style="dim")
    low, high = difference["ci95"]
    return Text(signed(difference["value"]), style=style), Text(
        f"{signed(low)} to {signed(high)}", style=style or "dim"
    )

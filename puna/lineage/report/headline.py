"""The headline figure: each headline task with its stages as points, 95% intervals, and what needs no model."""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.lineage.report.compare import mover_interval
from puna.lineage.report.figures import Dot, Mark, Scale, colour, dots
from puna.lineage.report.formats import (
    exact,
    format_interval,
    format_percent,
    format_score,
    is_proportion,
    lower_is_better,
)
from puna.lineage.report.markup import Html, artifact_href, linked, tag

BASELINES = {"accuracy/majority": "majority", "accuracy/ngram": "n-gram", "accuracy/nearest": "nearest item"}


def headline_tasks(report: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The models' headline scores by task, in the order of the lap; baselines are not among them."""
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for score in report["scores"]:
        if score["headline"] and score["metric"] not in BASELINES:
            tasks.setdefault(score["task"], []).append(score)
    return tasks


def baseline_scores(report: Mapping[str, Any], task: str) -> list[Mapping[str, Any]]:
    """The baselines' scores on a task, whether flagged as headline or not, in the order of BASELINES."""
    found = [s for s in report["scores"] if s["task"] == task and s["metric"] in BASELINES and s["value"] is not None]
    return sorted(found, key=lambda score: list(BASELINES).index(score["metric"]))


def stage_colours(report: Mapping[str, Any]) -> dict[str, int]:
    """One colour for each stage with a headline score, the same all over the page; the last has the first colour."""
    names = [score["stage"] for scores in headline_tasks(report).values() for score in scores]
    order = [stage["name"] for stage in report["stages"]]
    return {name: index for index, name in enumerate(sorted(set(names), key=order.index, reverse=True))}


def measured_model(stage: Mapping[str, Any]) -> str | None:
    """The stage whose model a stage measured, if it read one."""
    sources = (stage["inputs"] or {}).get("model") or []
    return next((source["stage"] for source in sources if source.get("stage")), None)


def headline_section(report: Mapping[str, Any]) -> Html:
    """One block a headline task."""
    tasks = headline_tasks(report)
    if not tasks:
        return tag("p", "No headline score yet: no finished stage has measured a headline task.", class_="quiet")
    stages = {stage["name"]: stage for stage in report["stages"]}
    blocks = [
        task_block(task, scores, baseline_scores(report, task), stages, stage_colours(report))
        for task, scores in tasks.items()
    ]
    return tag("div", blocks, class_="card headlines")


def task_block(
    task: str,
    scores: Sequence[Mapping[str, Any]],
    baselines: Sequence[Mapping[str, Any]],
    stages: Mapping[str, Mapping[str, Any]],
    colours: Mapping[str, int],
) -> Html:
    """The task's name, its last score large, what was gained on the way, and the chart."""
    metric = scores[0]["metric"]
    last = next((score for score in reversed(scores) if score["value"] is not None), None)
    href = artifact_href(stages[last["stage"]]["artifact"]) if last else None
    large = linked(href, exact(last["value"], format_score(metric, last["value"]))) if last else "\u2013"
    items = sorted({score["n"] for score in scores if score["n"]})
    about = f"{metric.replace('_', ' ')}, {' or '.join(f'{n:,}' for n in items)} items" if items else metric
    words = [tag("h3", task), tag("p", large, class_="large"), gain_line(scores), tag("p", about, class_="quiet")]
    chart = task_chart(scores, baselines, stages, colours)
    return tag("section", tag("div", words, class_="words"), tag("div", chart, class_="drawing"), class_="task")


def gain_line(scores: Sequence[Mapping[str, Any]]) -> Html | None:
    """What the last score has over the first, with its interval (items taken as unpaired: conservative)."""
    known = [score for score in scores if score["value"] is not None and score["ci95"]]
    if len(known) < 2 or known[0]["metric"] != known[-1]["metric"]:
        return None
    first, last = known[0], known[-1]
    low, high = mover_interval(first["value"], first["ci95"], last["value"], last["ci95"])
    unit, scale = ("points", 100) if is_proportion(last["metric"]) else ("", 1)
    numbers = [
        f"{scale * v:+.{1 if scale == 100 else 3}f}".replace("-", "\u2212")
        for v in (last["value"] - first["value"], low, high)
    ]
    text = f"{numbers[0]} {unit}".rstrip()
    sure = f" over {first['stage']} (95%: {numbers[1]} to {numbers[2]})"
    worse = last["value"] > first["value"] if lower_is_better(last["metric"]) else last["value"] < first["value"]
    return tag("p", tag("b", text), sure, class_="gain less" if worse else "gain")


def task_chart(
    scores: Sequence[Mapping[str, Any]],
    baselines: Sequence[Mapping[str, Any]],
    stages: Mapping[str, Mapping[str, Any]],
    colours: Mapping[str, int],
) -> Html:
    """Points and marks over one axis: 0 to 100% for shares, else from 0 to the largest bound."""
    metric = scores[0]["metric"]
    share = is_proportion(metric)
    bounds = [v for s in (*scores, *baselines) for v in (s["value"], *(s["ci95"] or ())) if v is not None]
    scale = Scale(0.0, 1.0) if share else Scale(min([0.0, *bounds]), max([*bounds, 0.0]) or 1.0)
    rows = []
    for score in scores:
        stage = stages[score["stage"]]
        model = measured_model(stage)
        other = score["metric"] if score["metric"] != metric else None
        label = [
            tag("span", score["stage"]),
            tag("small", f"model of {model}", class_="of") if model else None,
            tag("small", other) if other else None,
        ]
        value = linked(artifact_href(stage["artifact"]), exact(score["value"], format_score(metric, score["value"])))
        text = [value, tag("small", format_interval(metric, score["ci95"]))]
        rows.append(Dot(label, score["value"], score["ci95"], text, colour(colours[score["stage"]])))
    marks = []
    for score in baselines:
        href = artifact_href(stages[score["stage"]]["artifact"])
        value = linked(href, exact(score["value"], format_score(metric, score["value"])))
        marks.append(Mark(BASELINES[score["metric"]], score["value"], value))
    return dots(
        rows, marks, scale, "baselines", lambda tick: format_percent(tick).replace(".0%", "%") if share else f"{tick:g}"
    )

"""The headline figure: each headline task with its models, 95% intervals, and what needs no model.

Up to two evaluations are points beside the baselines; more are a staircase.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.lineage.report.figures import Dot, Mark, Scale, colour, dots
from puna.lineage.report.formats import (
    exact,
    format_interval,
    format_percent,
    format_score,
    is_proportion,
    lower_is_better,
)
from puna.lineage.report.markup import Child, Html, artifact_href, linked, tag
from puna.lineage.report.stairs import staircase
from puna.lineage.report.steps import Step, difference, format_rise, is_climb, lap_steps, measured_model, model_of

BASELINES = {"accuracy/majority": "majority", "accuracy/ngram": "n-gram", "accuracy/nearest": "nearest item"}


def headline_tasks(report: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The models' headline scores by task, in the order of the lap.

    Baselines are not among them, nor pass@K: more than one answer to an item is another question (passk.py).
    """
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for score in report["scores"]:
        if score["headline"] and score["metric"] not in BASELINES and not score["metric"].startswith("pass@"):
            tasks.setdefault(score["task"], []).append(score)
    return tasks


def baseline_scores(report: Mapping[str, Any], task: str) -> list[Mapping[str, Any]]:
    """The baselines' scores on a task, whether flagged as headline or not, in the order of BASELINES."""
    found = [s for s in report["scores"] if s["task"] == task and s["metric"] in BASELINES and s["value"] is not None]
    return sorted(found, key=lambda score: list(BASELINES).index(score["metric"]))


def stage_colours(report: Mapping[str, Any]) -> dict[str, int]:
    """One colour for each model measured, the same all over the page; the last has the first colour."""
    shown = [s["stage"] for s in report["scores"] if s["metric"].startswith("pass@")]
    shown += [score["stage"] for scores in headline_tasks(report).values() for score in scores]
    stages = {stage["name"]: stage for stage in report["stages"]}
    scoring = [name for name in reversed(stages) if name in set(shown)]
    models = list(dict.fromkeys(model_of(name, stages) for name in scoring))
    return {name: models.index(model_of(name, stages)) for name in scoring}


def headline_section(report: Mapping[str, Any]) -> Html:
    """One block a headline task."""
    tasks = headline_tasks(report)
    if not tasks:
        return tag("p", "No headline score yet: no finished stage has measured a headline task.", class_="quiet")
    blocks, climbed = [], False
    for task, scores in tasks.items():
        steps = lap_steps(scores, report)
        climbed = climbed or is_climb(steps)
        make = stairs_block if is_climb(steps) else dots_block
        blocks.append(make(task, scores, steps, report))
    note = tag("p", STAIRS_NOTE, class_="note") if climbed else None
    return tag("div", blocks, note, class_="card headlines")


STAIRS_NOTE = (
    "Each step is a model, in the order of the lap, with its 95% interval; on it what it has over the model the lap "
    "went on from before, in colour where the interval of that difference (items taken as unpaired) leaves out 0."
)


def dots_block(
    task: str, scores: Sequence[Mapping[str, Any]], steps: Sequence[Step], report: Mapping[str, Any]
) -> Html:
    """The task's name, its last score large, what was gained on the way, and its scores as points."""
    stages = {stage["name"]: stage for stage in report["stages"]}
    known = [score for score in scores if score["value"] is not None]
    words = task_words(task, scores, known[-1] if known else None, stages, gain_line(known))
    chart = task_chart(scores, baseline_scores(report, task), stages, stage_colours(report))
    return tag("section", words, tag("div", chart, class_="drawing"), class_="task")


def stairs_block(
    task: str, scores: Sequence[Mapping[str, Any]], steps: Sequence[Step], report: Mapping[str, Any]
) -> Html:
    """The same with the scores as a staircase; the large score is that of the model the lap ended with."""
    stages = {stage["name"]: stage for stage in report["stages"]}
    standing = [step for step in steps if step.stands] or steps
    last = standing[-1]
    gain = gain_line([step.score for step in standing], standing[0].label)
    baselines = baseline_scores(report, task)
    hrefs = {name: artifact_href(stage["artifact"]) for name, stage in stages.items()}
    chart = staircase(steps, [score["value"] for score in baselines], hrefs)
    words = task_words(task, scores, last.score, stages, gain, f"model of {last.label}")
    drawing = tag("div", baseline_line(baselines, hrefs), chart, class_="drawing")
    return tag("section", words, drawing, class_="task")


def task_words(
    task: str,
    scores: Sequence[Mapping[str, Any]],
    last: Mapping[str, Any] | None,
    stages: Mapping[str, Mapping[str, Any]],
    gain: Html | None,
    whose: str | None = None,
) -> Html:
    """What stands beside a task's chart."""
    metric = scores[0]["metric"]
    href = artifact_href(stages[last["stage"]]["artifact"]) if last else None
    large = linked(href, exact(last["value"], format_score(metric, last["value"]))) if last else "\u2013"
    items = sorted({score["n"] for score in scores if score["n"]})
    about = f"{metric.replace('_', ' ')}, {' or '.join(f'{n:,}' for n in items)} items" if items else metric
    below = tag("p", f"{about}; {whose}" if whose else about, class_="quiet")
    return tag("div", tag("h3", task), tag("p", large, class_="large"), gain, below, class_="words")


def baseline_line(baselines: Sequence[Mapping[str, Any]], hrefs: Mapping[str, str | None]) -> Html | None:
    """The legend of a staircase's thin line, and the baselines below it."""
    if not baselines:
        return None
    pen = tag("line", x1=0, x2=18, y1=6, y2=6, class_="limit")
    entries: list[Child] = []
    for index, score in enumerate(sorted(baselines, key=lambda score: -score["value"])):
        value = linked(hrefs[score["stage"]], exact(score["value"], format_score(score["metric"], score["value"])))
        sign = None if index else [tag("svg", pen, width=18, height=12, aria_hidden="true"), "best baseline: "]
        entries.append(tag("span", sign, BASELINES[score["metric"]], " ", tag("b", value) if not index else value))
    return tag("p", entries, class_="legend")


def gain_line(scores: Sequence[Mapping[str, Any]], start: str | None = None) -> Html | None:
    """What the last score has over the first, with its interval; `start` names the first if its stage should not."""
    known = [score for score in scores if score["value"] is not None and score["ci95"]]
    if len(known) < 2 or known[0]["metric"] != known[-1]["metric"]:
        return None
    rise, ci95 = difference(known[0], known[-1])
    assert rise is not None and ci95 is not None
    metric = known[-1]["metric"]
    numbers = [format_rise(metric, value) for value in (rise, *ci95)]
    text = f"{numbers[0]} {'points' if is_proportion(metric) else ''}".rstrip()
    sure = f" over {start or known[0]['stage']} (95%: {numbers[1]} to {numbers[2]})"
    worse = rise > 0 if lower_is_better(metric) else rise < 0
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

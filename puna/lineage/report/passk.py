"""pass@K: how likely one of K sampled answers is right, a curve for each model measured.

Where pass@1 rises and pass@16 does not, a model has grown surer of what it could already do.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from puna.lineage.report.curves import axes, curve
from puna.lineage.report.figures import Scale, at, colour, nice_ticks
from puna.lineage.report.formats import exact, format_score
from puna.lineage.report.markup import Child, Html, artifact_href, linked, tag
from puna.lineage.report.stairs import TOPS, percent_tick
from puna.lineage.report.steps import model_of, rollbacks

PASS_AT = re.compile(r"pass@(\d+)\Z")
EDGE = 7.0  # percent of the width left free on both sides, for intervals that stand beside their K
DODGE = 1.1  # percent of the width between two curves, so that no interval hides another
PLOT = 280
Curve = list[tuple[int, Mapping[str, Any]]]


def pass_tasks(report: Mapping[str, Any]) -> dict[str, dict[str, Curve]]:
    """task -> scoring stage -> its scores by K, for tasks with more than one K.

    Of one model measured twice with the same settings the first counts, as in the staircase.
    """
    stages = {stage["name"]: stage for stage in report["stages"]}
    tasks: dict[str, dict[str, Curve]] = {}
    for score in report["scores"]:
        match = PASS_AT.match(score["metric"])
        if match and score["value"] is not None:
            tasks.setdefault(score["task"], {}).setdefault(score["stage"], []).append((int(match[1]), score))
    found = {}
    for task, by_stage in tasks.items():
        firsts: dict[Any, str] = {}
        for stage, scores in by_stage.items():
            firsts.setdefault((model_of(stage, stages), repr(scores[0][1]["settings"])), stage)
        found[task] = {stage: sorted(by_stage[stage], key=lambda one: one[0]) for stage in firsts.values()}
    return {task: curves for task, curves in found.items() if any(len(scores) > 1 for scores in curves.values())}


def pass_section(report: Mapping[str, Any], colours: Mapping[str, int]) -> Html | None:
    """One chart a task; None when no task was sampled."""
    tasks = pass_tasks(report)
    if not tasks:
        return None
    charts = [tag("section", tag("h4", task), pass_chart(curves, report, colours)) for task, curves in tasks.items()]
    lead = "How likely one of K sampled answers is right, with 95% intervals. A model that gains at 1 but not at the "
    lead += "largest K has grown surer, not abler."
    return tag("div", tag("h3", "pass@K"), tag("p", lead, class_="quiet"), charts, class_="card passk")


def pass_chart(curves: Mapping[str, Curve], report: Mapping[str, Any], colours: Mapping[str, int]) -> Html:
    """K to the right in doublings, the share of items up; the curves stand a little beside each other."""
    scores = [score for points in curves.values() for _, score in points]
    counts = sorted({k for points in curves.values() for k, _ in points})
    high = max(bound for score in scores for bound in (score["value"], *(score["ci95"] or ())))
    up = Scale(0.0, next((top for top in TOPS if top >= high), high))
    across = Scale(math.log2(counts[0]), math.log2(counts[-1]))

    def place(k: int) -> float:
        return EDGE + (100 - 2 * EDGE) * across.percent(math.log2(k)) / 100

    marks = [(place(k), str(k)) for k in counts]
    levels = [(100 - up.percent(tick), percent_tick(tick)) for tick in nice_ticks(0.0, up.high, 6)]
    paths, points = [], []
    for index, (stage, curve_points) in enumerate(curves.items()):
        shift, css = DODGE * (index - (len(curves) - 1) / 2), colour(colours[stage])
        spots = [(place(k) + shift, 100 - up.percent(score["value"])) for k, score in curve_points]
        paths.append(curve(spots, colours[stage]))
        points += [point(x, score, up, css) for (x, _), (_, score) in zip(spots, curve_points, strict=True)]
    inner = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none", "width": "100%", "height": "100%"}
    drawing = [axes(marks, levels), tag("svg", paths, **inner), points]
    label = "pass@K: " + "; ".join(spoken(stage, points, report) for stage, points in curves.items())
    chart = tag("svg", drawing, width="100%", height=PLOT, overflow="visible", role="img", aria_label=label)
    items = " or ".join(f"{n:,}" for n in sorted({score["n"] for score in scores if score["n"]}))
    above = tag("p", f"share of {items} items" if items else "share of items", class_="axis-name")
    below = tag("p", "K, answers sampled", class_="axis-name below")
    legend = pass_legend(curves, report, colours)
    return tag("div", above, tag("div", chart, class_="plane"), below, legend, class_="figure lines")


def point(x: float, score: Mapping[str, Any], up: Scale, css: str) -> Html:
    """A value on its interval."""
    shapes: list[Child] = []
    if score["ci95"]:
        low, high = (at(100 - up.percent(bound)) for bound in score["ci95"])
        shapes.append(tag("line", x1=at(x), x2=at(x), y1=low, y2=high, class_="span"))
    shapes.append(tag("circle", cx=at(x), cy=at(100 - up.percent(score["value"])), r=3.5, class_=f"end {css}"))
    return tag("g", shapes, class_=f"sampled {css}", data_metric=score["metric"], data_value=repr(score["value"]))


def pass_legend(curves: Mapping[str, Curve], report: Mapping[str, Any], colours: Mapping[str, int]) -> Html:
    """Each model with its pen, and its score at the least and the largest K."""
    stages = {stage["name"]: stage for stage in report["stages"]}
    undone = rollbacks(report)
    entries = []
    for stage, points in curves.items():
        pen = tag("line", x1=0, x2=18, y1=6, y2=6, class_=f"curve {colour(colours[stage])}")
        model = model_of(stage, stages)
        ends = [tag("b", exact(s["value"], format_score(s["metric"], s["value"]))) for _, s in (points[0], points[-1])]
        note = " (rolled back)" if model in undone or stage in undone else ""
        name = linked(artifact_href(stages[stage]["artifact"]), model)
        sign = tag("svg", pen, width=18, height=12, aria_hidden="true")
        span = [sign, tag("span", name, note), tag("span", ends[0], " \u2192 ", ends[1])]
        entries.append(tag("span", span))
    return tag("p", entries, class_="legend")


def spoken(stage: str, points: Sequence[tuple[int, Mapping[str, Any]]], report: Mapping[str, Any]) -> str:
    """`dpo from 21.4% at 1 to 55.0% at 16`."""
    stages = {entry["name"]: entry for entry in report["stages"]}
    ends = [f"{format_score(score['metric'], score['value'])} at {k}" for k, score in (points[0], points[-1])]
    return f"{model_of(stage, stages)} from {ends[0]} to {ends[1]}"

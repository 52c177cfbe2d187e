"""Preference accuracy: how often a model ranks a held-back pair as its annotators did, stage by stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.lineage.report.figures import Scale, at, bar, join_figure, legend
from puna.lineage.report.formats import exact, format_interval, format_score
from puna.lineage.report.markup import Html, artifact_href, linked, tag

TASK, METRIC, LENGTH = "preference", "accuracy", "accuracy/length-only"
NAMES = {METRIC: "as the annotators said", "accuracy/truth": "as is true"}
COLOURS = ("c0", "c2", "c3", "c1")


def preference_scores(report: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The scores on preferences by stage, in the order of the lap."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for score in report["scores"]:
        if score["task"] == TASK and score["metric"].split("/")[0] == METRIC and score["value"] is not None:
            found.setdefault(score["stage"], []).append(score)
    return found


def preference_section(report: Mapping[str, Any]) -> Html | None:
    """Bars with intervals, and a line in each where the longer answer alone would come; None without such scores."""
    stages = preference_scores(report)
    if not stages:
        return None
    metrics = list(dict.fromkeys(s["metric"] for scores in stages.values() for s in scores if s["metric"] != LENGTH))
    css = dict(zip(metrics, COLOURS * len(metrics)))
    hrefs = {stage["name"]: artifact_href(stage["artifact"]) for stage in report["stages"]}
    rows = [row for stage, scores in stages.items() for row in stage_rows(stage, scores, css, hrefs[stage])]
    names = [(NAMES.get(metric, metric.split("/")[-1].replace("-", " ")), css[metric]) for metric in metrics]
    lead = "How often the better of two held-back answers is ranked first; half is chance."
    if any(score["metric"] == LENGTH for scores in stages.values() for score in scores):
        lead += " The dashed line is length alone: the longer answer wins."
    figure = join_figure(legend(names), rows, "bars preference")
    return tag("div", tag("h3", "Preference accuracy"), tag("p", lead, class_="quiet"), figure, class_="card")


def stage_rows(stage: str, scores: Sequence[Mapping[str, Any]], css: Mapping[str, str], href: str | None) -> list[Html]:
    """One bar a score of the stage, all against its length baseline."""
    length = next((score for score in scores if score["metric"] == LENGTH), None)
    shown = [score for score in scores if score["metric"] != LENGTH]
    note = tag("small", f"length alone {format_score(METRIC, length['value'])}") if length else None
    rows = []
    for index, score in enumerate(shown):
        head = tag("th", stage, note, scope="rowgroup" if len(shown) > 1 else "row", rowspan=len(shown))
        value = linked(href, exact(score["value"], format_score(METRIC, score["value"])))
        around = tag("small", format_interval(METRIC, score["ci95"])) if score["ci95"] else None
        drawing = preference_bar(score, length, css[score["metric"]])
        cells = [None if index else head, tag("td", drawing, class_="plot"), tag("td", value, around, class_="value")]
        rows.append(tag("tr", cells, class_=None if index else "first"))
    return rows


def preference_bar(score: Mapping[str, Any], length: Mapping[str, Any] | None, css: str) -> Html:
    """A bar from 0 to 100%, with the mark it has to pass."""
    low, high = score["ci95"] or (None, None)
    drawn = bar({"value": score["value"], "low": low, "high": high}, Scale(0.0, 1.0), css)
    mark = None
    if length is not None:
        x = at(100 * length["value"])
        mark = tag("line", x1=x, x2=x, y1=-1, y2=19, class_="mark-line", data_value=repr(length["value"]))
    return tag("svg", drawn, mark, width="100%", height=18, overflow="visible", aria_hidden="true")

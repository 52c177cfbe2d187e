"""The lap: each stage in order with its cost, metrics, scores and panels."""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.lineage.report.formats import (
    exact,
    format_bytes,
    format_interval,
    format_metric,
    format_score,
    format_seconds,
)
from puna.lineage.report.markup import Html, artifact_href, linked, tag
from puna.lineage.report.panels import render_panel

MAX_SCORES = 12  # on a stage's card; the table has them all


def lap_section(report: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]]) -> Html:
    """Every stage of the recipe in order; those without an artifact say so."""
    made = {manifest["stage"]: manifest for manifest in manifests}
    entries = {stage["name"]: stage for stage in report["stages"]}
    order = [*(report["recipe"].get("stages") or ()), *entries]
    cards = []
    for number, name in enumerate(dict.fromkeys(order), 1):
        if name in entries:
            scores = [score for score in report["scores"] if score["stage"] == name]
            cards.append(stage_card(number, entries[name], made[name], scores))
        else:
            cards.append(missing_card(number, name))
    return tag("div", cards, class_="lap")


def stage_card(
    number: int, stage: Mapping[str, Any], manifest: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]
) -> Html:
    """One finished stage: its cost, metrics, scores and panels."""
    href = artifact_href(stage["artifact"])
    costs = [
        linked(href, exact(stage["seconds"], format_seconds(stage["seconds"])), title="wall-clock time"),
        linked(href, exact(stage["peak_memory_bytes"], format_bytes(stage["peak_memory_bytes"])), title="peak memory"),
        linked(href, tag("code", stage["fingerprint"][:8]), title=f"fingerprint {stage['fingerprint']}"),
    ]
    head = tag("header", stage_title(number, stage["name"], stage["kind"]), tag("p", costs, class_="costs"))
    numbers = [
        tag("div", tag("dt", name.replace("_", " ")), tag("dd", linked(href, exact(value, format_metric(name, value)))))
        for name, value in stage["metrics"].items()
    ]
    numbers += [score_number(score, href) for score in scores[:MAX_SCORES]]
    panels = manifest.get("panels") or ()
    shown = [render_panel(panel, href) for panel in panels if panel.get("kind") != "samples"]
    elsewhere = [tag("a", "all scores", href="#scores")] if len(scores) > MAX_SCORES else []
    if len(shown) < len(panels):
        elsewhere.append(tag("a", "answers side by side", href="#samples"))
    return tag(
        "article",
        head,
        tag("dl", numbers, class_="metrics") if numbers else None,
        tag("div", shown, class_="panels") if shown else None,
        tag("p", "Also: ", [[", ", link] if i else link for i, link in enumerate(elsewhere)], class_="note")
        if elsewhere
        else None,
        class_="card stage",
        id=f"stage-{stage['name']}",
    )


def score_number(score: Mapping[str, Any], href: str | None) -> Html:
    """One score of a stage, with its interval."""
    metric, value = score["metric"], score["value"]
    name = tag("dt", f"{score['task']}, {metric.replace('_', ' ')}")
    number = linked(href, exact(value, format_score(metric, value)))
    around = tag("small", " ", format_interval(metric, score["ci95"])) if score["ci95"] else None
    return tag("div", name, tag("dd", number, around))


def stage_title(number: int, name: str, kind: str | None) -> Html:
    """`3 tokenizer`, with the kind where it says more than the name."""
    more = tag("small", kind) if kind and kind != name else None
    return tag("h3", tag("span", number, class_="number"), name, more)


def missing_card(number: int, name: str) -> Html:
    """A stage of the recipe that has no artifact."""
    head = tag("header", stage_title(number, name, None), tag("p", "no artifact", class_="costs"))
    return tag(
        "article",
        head,
        tag("p", "Not finished: it failed, or the run ended before it.", class_="quiet"),
        class_="card stage missing",
    )

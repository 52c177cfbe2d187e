"""The page: one self-contained HTML file, no network, light and dark, for a screen, a phone or paper."""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.lineage.report.figures import Scale, bar
from puna.lineage.report.formats import (
    exact,
    format_bytes,
    format_interval,
    format_number,
    format_score,
    format_seconds,
)
from puna.lineage.report.graph import lineage_graph
from puna.lineage.report.headline import headline_section, stage_colours
from puna.lineage.report.lap import lap_section
from puna.lineage.report.markup import Child, Html, artifact_href, linked, tag
from puna.lineage.report.panels import merge_samples, sample_cards, scroll
from puna.lineage.report.passk import pass_section
from puna.lineage.report.preference import preference_section
from puna.lineage.report.style import RIDGES, SCRIPT, STYLE

Manifests = Sequence[Mapping[str, Any]]


def render_page(report: Mapping[str, Any], manifests: Manifests) -> str:
    """The whole page; `report` is that of build_report, the panels come from the manifests."""
    sections = [
        ("results", "Results", "What the models can do, against what needs no model.", results_section(report)),
        ("samples", "Side by side", "The same items, answered by each stage.", samples_section(report, manifests)),
        ("lap", "The lap", "Each stage in order, with what it measured.", lap_section(report, manifests)),
        ("scores", "All scores", "Values with 95% intervals; each links to its artifact.", scores_section(report)),
        ("lineage", "Lineage", "What each artifact was made from.", graph_section(report)),
        ("cost", "Time and memory", "Wall-clock seconds and peak memory of each stage.", cost_section(report)),
        ("setting", "Environment", "Where and with what this ran.", setting_section(report)),
    ]
    shown = [one for one in sections if one[3] is not None]
    links = [tag("a", title, href=f"#{key}") for key, title, _, _ in shown]
    body = [
        header(report),
        tag("nav", links, aria_label="Sections"),
        tag("main", [section(*one) for one in shown]),
        tag(
            "footer",
            "Written by ",
            tag("b", "puna"),
            ". The same numbers for machines: ",
            tag("a", "report.json", href="report.json"),
            ".",
        ),
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{report['recipe'].get('name') or 'run'} \u00b7 Puna report"),
        tag("style", Html(STYLE)),
    ]
    page = tag("html", tag("head", head), tag("body", body, tag("script", Html(SCRIPT))), lang="en")
    return f"<!doctype html>\n{page}\n"


def section(key: str, title: str, lead: str, content: Child) -> Html:
    """One section of the page."""
    return tag(
        "section",
        tag("h2", title, id=f"{key}-title"),
        tag("p", lead, class_="lead"),
        content,
        id=key,
        aria_labelledby=f"{key}-title",
    )


def results_section(report: Mapping[str, Any]) -> Html:
    """The headline tasks; then sampling and preferences, where a stage measured them."""
    parts = [headline_section(report), pass_section(report, stage_colours(report)), preference_section(report)]
    return tag("div", parts, class_="results")


def header(report: Mapping[str, Any]) -> Html:
    """Recipe, date, machine, total time, peak memory, commit."""
    recipe, environment = report["recipe"], report["environment"]
    date = (report["finished"] or "").replace("T", " ")[:16]
    facts: list[tuple[str, Child]] = [
        ("time", exact(report["total_seconds"], format_seconds(report["total_seconds"]))),
        ("peak memory", exact(report["peak_memory_bytes"], format_bytes(report["peak_memory_bytes"]))),
        ("stages", stage_count(report)),
        ("seed", recipe.get("seed")),
        ("finished", date or None),
        ("machine", machine_name(environment)),
        ("commit", tag("code", str(environment["commit"])[:10]) if environment.get("commit") else None),
    ]
    listed = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value is not None]
    about = recipe.get("description")
    return tag(
        "header",
        tag(
            "div",
            tag("p", "Puna report", class_="kicker"),
            tag("h1", recipe.get("name") or "run"),
            tag("p", about) if about else None,
            tag("dl", listed),
            class_="inner",
        ),
        hills(),
        class_="top",
    )


def machine_name(environment: Mapping[str, Any]) -> str | None:
    """`Linux x86_64, 2 cores` from what the manifest knows."""
    system = str(environment.get("platform") or "").split("-")[0]
    name = f"{system} {environment.get('machine') or ''}".strip()
    cores = environment.get("cores")
    return ", ".join(part for part in (name, f"{cores} cores" if cores else "") if part) or None


def hills() -> Html:
    """The grassland that the project is named after: three ridges at the foot of the header."""
    ridges = [tag("path", d=ridge, class_=f"ridge-{index}") for index, ridge in enumerate(RIDGES, 1)]
    return tag("svg", ridges, viewBox="0 0 1200 120", preserveAspectRatio="none", class_="hills", aria_hidden="true")


def stage_count(report: Mapping[str, Any]) -> str:
    """`9` or `8 of 9`."""
    done, missing = len(report["stages"]), len(report["missing"])
    return f"{done} of {done + missing}" if missing else str(done)


def samples_section(report: Mapping[str, Any], manifests: Manifests) -> Html | None:
    """All samples panels merged by item; None when there are none."""
    found = [
        (m["stage"], panel) for m in manifests for panel in m.get("panels") or () if panel.get("kind") == "samples"
    ]
    try:
        samples = merge_samples(found)
    except (KeyError, TypeError, AttributeError) as error:
        return tag("p", f"The samples could not be merged: {type(error).__name__}: {error}.", class_="problem")
    return sample_cards(samples, stage_colours(report)) if samples else None


def scores_section(report: Mapping[str, Any]) -> Html:
    """Every score of the lap in one table, headline tasks marked."""
    hrefs = {stage["name"]: artifact_href(stage["artifact"]) for stage in report["stages"]}
    if not report["scores"]:
        return tag("p", "No stage has measured a score.", class_="quiet")
    names = (
        ("task", None),
        ("metric", None),
        ("stage", None),
        ("value", "value"),
        ("95% interval", "value"),
        ("items", "value"),
        ("settings", None),
    )
    head = [tag("th", name, scope="col", class_=css) for name, css in names]
    body = []
    order = list(dict.fromkeys(score["task"] for score in report["scores"]))
    for score in sorted(report["scores"], key=lambda score: order.index(score["task"])):
        metric, value = score["metric"], score["value"]
        settings = ", ".join(f"{key} {format_number(item)}" for key, item in (score["settings"] or {}).items())
        star = (
            tag("span", " \u2605", title="headline task", role="img", aria_label="headline")
            if score["headline"]
            else None
        )
        body.append(
            tag(
                "tr",
                tag("th", score["task"], star, scope="row"),
                tag("td", metric),
                tag("td", score["stage"]),
                tag("td", linked(hrefs[score["stage"]], exact(value, format_score(metric, value))), class_="value"),
                tag("td", format_interval(metric, score["ci95"]), class_="value"),
                tag("td", exact(score["n"], format_number(score["n"])), class_="value"),
                tag("td", settings, class_="quiet"),
            )
        )
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", body), class_="data sortable")
    return tag("div", scroll(table, "All scores"), class_="card")


def graph_section(report: Mapping[str, Any]) -> Html:
    """The graph in a box that scrolls by itself when it is wider than the page."""
    return tag("div", scroll(lineage_graph(report["stages"]), "Lineage graph"), class_="card")


def cost_section(report: Mapping[str, Any]) -> Html:
    """Seconds and peak memory of each stage as bars side by side."""
    stages = report["stages"]
    time = Scale(0.0, max((stage["seconds"] for stage in stages), default=0.0) or 1.0)
    memory = Scale(0.0, max((stage["peak_memory_bytes"] for stage in stages), default=0) or 1.0)
    head = [
        tag("th", "stage", scope="col"),
        tag("th", "time", scope="col", colspan=2),
        tag("th", "peak memory", scope="col", colspan=2),
    ]
    rows = [tag("tr", head, class_="columns")]
    for stage in stages:
        href = artifact_href(stage["artifact"])
        cells: list[Child] = [tag("th", stage["name"], scope="row")]
        for key, scale, css, write in (
            ("seconds", time, "c0", format_seconds),
            ("peak_memory_bytes", memory, "c2", format_bytes),
        ):
            cells.append(tag("td", bar({"value": stage[key]}, scale, css), class_="plot"))
            cells.append(tag("td", linked(href, exact(stage[key], write(stage[key]))), class_="value"))
        rows.append(tag("tr", cells))
    total: list[Child] = [
        tag("th", "all", scope="row"),
        tag("td", class_="plot"),
        tag("td", format_seconds(report["total_seconds"]), class_="value"),
    ]
    total += [tag("td", class_="plot"), tag("td", format_bytes(report["peak_memory_bytes"]), class_="value")]
    rows.append(tag("tr", total, class_="total"))
    return tag("div", tag("table", tag("tbody", rows), class_="chart cost"), class_="card")


def setting_section(report: Mapping[str, Any]) -> Html | None:
    """The environment of the last stage, and which stages were made in another one."""
    environment = report["environment"]
    if not environment:
        return None
    rows = [tag("div", tag("dt", name.replace("_", " ")), tag("dd", str(value))) for name, value in environment.items()]
    # A stage that loaded fewer libraries names fewer of them, which is no other environment.
    others = [
        stage["name"]
        for stage in report["stages"]
        if any(environment.get(key, value) != value for key, value in (stage["environment"] or {}).items())
    ]
    note = (
        tag("p", f"Made in another environment (see their manifests): {', '.join(others)}.", class_="note")
        if others
        else None
    )
    return tag("div", tag("dl", rows, class_="metrics"), note, class_="card")

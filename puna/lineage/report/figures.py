"""Charts as inline SVG: crisp at any size, coloured by the page's CSS variables, readable without JavaScript.

Positions along x are percentages of the drawing, not of a viewBox: a chart then fills any width while its text
keeps its size. Bars and funnels are tables with a small drawing in each row, so the numbers are text for everybody.

    bars      one row an item, with an interval where there is one
    funnel    one centred row a step, its width proportional to the largest step
    dots      one row a score: a point with its 95% interval, and marks to compare with

Curves are in curves.py, the lineage graph in graph.py.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from puna.lineage.report.formats import exact, format_bytes, format_number, format_percent, format_seconds
from puna.lineage.report.markup import Child, Html, tag

NUM_COLOURS = 8
LANE, MARK_LANE = 44, 19  # heights in pixels of a score's row and of one mark's; the page gives the text beside as much


@dataclass(frozen=True)
class Scale:
    """A value's place between `low` and `high`, as a percentage of the drawing's width."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        """0 at `low`, 100 at `high`, clipped to the drawing."""
        if self.high == self.low:
            return 50.0
        return min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low)))


def at(percent: float) -> str:
    """A percentage as an SVG length."""
    return f"{percent:.3f}%"


def colour(index: int) -> str:
    """Class of the n-th categorical colour."""
    return f"c{index % NUM_COLOURS}"


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values (1, 2, 2.5 or 5 times a power of ten) inside [low, high], about `count` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") + 0.0 for index in range(first, last + 1)]


# Units that are written with every value; any other is named once, above the chart.
UNITS: dict[str, Callable[[float | None], str]] = {
    "s": format_seconds,
    "seconds": format_seconds,
    "bytes": format_bytes,
    "share": format_percent,
    "fraction": format_percent,
    "%": lambda value: format_number(value) + ("%" if value is not None else ""),
}


def bars(items: Sequence[Mapping[str, Any]], unit: str = "") -> Html:
    """Horizontal bars; `low` and `high` draw an interval, `group` a colour. Items of one label stand together."""
    if not items:
        return tag("p", "No items.", class_="quiet")
    order = {label: index for index, label in reversed(list(enumerate(item["label"] for item in items)))}
    rows = sorted(items, key=lambda item: order[item["label"]])
    groups = list(dict.fromkeys(item["group"] for item in rows if item.get("group") is not None))
    ends = [v for item in rows for v in (item.get("value"), item.get("low"), item.get("high")) if v is not None]
    scale = Scale(min(0.0, *ends, 0.0), max(0.0, *ends, 0.0))
    body = []
    for label, together in itertools.groupby(rows, key=lambda item: item["label"]):
        same = list(together)
        head = tag("th", label, scope="rowgroup" if len(same) > 1 else "row", rowspan=len(same))
        for index, item in enumerate(same):
            css = colour(groups.index(item["group"]) if item.get("group") is not None else 0)
            value = tag(
                "td", exact(item.get("value"), UNITS.get(unit, format_number)(item.get("value"))), class_="value"
            )
            first = "first" if groups and index == 0 else None
            body.append(
                tag("tr", None if index else head, tag("td", bar(item, scale, css), class_="plot"), value, class_=first)
            )
    measure = tag("p", unit, class_="axis-name") if unit and unit not in UNITS else None
    return join_figure([measure, legend([(group, colour(i)) for i, group in enumerate(groups)])], body, "bars")


def bar(item: Mapping[str, Any], scale: Scale, css: str) -> Html:
    """One bar from zero to the value, with its interval."""
    if item.get("value") is None:
        return tag("svg", width="100%", height=18, aria_hidden="true")
    zero, end = scale.percent(0.0), scale.percent(item["value"])
    left, width = min(zero, end), abs(end - zero)
    shapes: list[Child] = [tag("rect", x=at(left), y=3, width=at(width), height=12, rx=2, class_=f"fill {css}")]
    if scale.low < 0:
        shapes.append(tag("line", x1=at(zero), x2=at(zero), y1=0, y2=18, class_="axis"))
    if item.get("low") is not None and item.get("high") is not None:
        shapes.append(interval(scale.percent(item["low"]), scale.percent(item["high"]), 9, "whisker"))
    return tag("svg", shapes, width="100%", height=18, aria_hidden="true")


def interval(low: float, high: float, y: float, css: str, cap: float = 3.5) -> Html:
    """A horizontal interval with caps, between two percentages."""
    ends = [tag("line", x1=at(x), x2=at(x), y1=y - cap, y2=y + cap) for x in (low, high)]
    return tag("g", tag("line", x1=at(low), x2=at(high), y1=y, y2=y), ends, class_=css)


def join_figure(head: Child, rows: Child, css: str) -> Html:
    """A chart that is a table: its legend, then its rows, which turn into blocks on a narrow screen."""
    return tag("div", head, tag("table", tag("tbody", rows), class_=f"chart {css}"), class_="figure")


def legend(entries: Sequence[tuple[str, str]]) -> Html | None:
    """Names with the colour they are drawn in; nothing when there is one or none."""
    if len(entries) < 2:
        return None
    return tag("p", [tag("span", swatch(css), name) for name, css in entries], class_="legend")


def swatch(css: str) -> Html:
    """A small square of a series' colour."""
    square = tag("rect", width=10, height=10, y=1, rx=2, class_=f"fill {css}")
    return tag("svg", square, width=10, height=12, aria_hidden="true")


def funnel(steps: Sequence[Mapping[str, Any]]) -> Html:
    """What is left after each step, documents above tokens, each relative to its own largest step."""
    if not steps:
        return tag("p", "No steps.", class_="quiet")
    measures = [key for key in ("documents", "tokens") if any(step.get(key) is not None for step in steps)]
    largest = {key: max(step.get(key) or 0 for step in steps) for key in measures}
    head = [tag("th", "step", scope="col"), tag("td", class_="plot")]
    head += [tag("th", key, scope="col", class_="value") for key in measures]
    rows = [tag("tr", head, class_="columns")]
    for before, step in zip([{}, *steps], steps, strict=False):
        shapes = []
        for index, key in enumerate(measures):
            width = 100 * (step.get(key) or 0) / (largest[key] or 1)
            y, height = ((2, 15), (19, 6))[index]
            box = {"x": at(50 - width / 2), "width": at(width), "y": y, "height": height, "rx": 2}
            shapes.append(tag("rect", **box, class_=f"fill {colour(index)}", data_of=key))
        drawing = tag("svg", shapes, width="100%", height=27, aria_hidden="true")
        cells = [tag("th", step["name"], scope="row"), tag("td", drawing, class_="plot")]
        for key in measures:
            cells.append(funnel_count(step.get(key), before.get(key), largest[key], key))
        rows.append(tag("tr", cells))
    return join_figure(legend([(key, colour(i)) for i, key in enumerate(measures)]), rows, "funnel")


def funnel_count(count: float | None, before: float | None, largest: float, name: str) -> Html:
    """How many are left, and beneath it what the step removed."""
    removed = None
    if count is not None and before is not None and before != count:
        removed = ("\u2212" if count < before else "+") + format_number(abs(before - count))
    elif count is not None and before is None and largest:
        removed = "all" if count == largest else f"{100 * count / largest:.1f}%"
    note = tag("small", removed or "\u2013")
    return tag("td", exact(count, format_number(count)), note, class_="value", data_name=name)


@dataclass(frozen=True)
class Dot:
    """One row of a dot chart: a score, its interval, how it is written, and the class of its colour."""

    label: Child
    value: float | None
    ci95: Sequence[float] | None
    text: Child
    css: str


@dataclass(frozen=True)
class Mark:
    """Something to compare with: a hollow shape on its own lane."""

    label: str
    value: float
    text: Child


SHAPES = ("M-5,-4.5 L5,-4.5 L0,5 Z", "M-4.5,-4.5 H4.5 V4.5 H-4.5 Z", "M0,-6 L6,0 L0,6 L-6,0 Z")


def dots(rows: Sequence[Dot], marks: Sequence[Mark], scale: Scale, marks_name: str, tick_text: Any) -> Html:
    """Scores over one axis; the shaded part reaches to the best mark, which a score has to leave behind."""
    ticks = nice_ticks(scale.low, scale.high, 5)
    best = max((scale.percent(mark.value) for mark in marks), default=None)

    def lane(shapes: Child, height: int) -> Html:
        ground: list[Child] = []
        if best is not None:
            ground.append(tag("rect", x="0", y=0, width=at(best), height=height, class_="shade"))
            ground.append(tag("line", x1=at(best), x2=at(best), y1=0, y2=height, class_="limit"))
        ground += [tag("line", x1=at(x), x2=at(x), y1=0, y2=height, class_="grid") for x in map(scale.percent, ticks)]
        return tag("svg", ground, shapes, width="100%", height=height, overflow="visible", aria_hidden="true")

    body = []
    for row in rows:
        cells = [tag("th", row.label, scope="row"), tag("td", lane(dot(row, scale), LANE), class_="plot")]
        body.append(tag("tr", cells, tag("td", row.text, class_="value")))
    if marks:
        drawn = [
            tag(
                "svg",
                mark_shape(i),
                x=at(scale.percent(mark.value)),
                y=MARK_LANE * i + MARK_LANE / 2,
                overflow="visible",
            )
            for i, mark in enumerate(marks)
        ]
        plot = tag("td", lane(drawn, MARK_LANE * len(marks)), class_="plot")
        head = tag("th", marks_name, scope="row", class_="quiet")
        body.append(tag("tr", head, plot, tag("td", mark_names(marks), class_="value marks"), class_="marks-row"))
    labels = [
        tag("text", tick_text(tick), x=at(scale.percent(tick)), y=12, text_anchor=anchor(scale.percent(tick)))
        for tick in ticks
    ]
    axis = tag("svg", labels, width="100%", height=16, class_="ticks", aria_hidden="true")
    body.append(tag("tr", tag("td"), tag("td", axis, class_="plot"), tag("td"), class_="axis-row", aria_hidden="true"))
    return tag("table", tag("tbody", body), class_="chart dots")


def dot(row: Dot, scale: Scale) -> Html | None:
    """A point in a ring of paper, on its interval."""
    if row.value is None:
        return None
    x = at(scale.percent(row.value))
    line = None
    if row.ci95:
        line = interval(scale.percent(row.ci95[0]), scale.percent(row.ci95[1]), LANE / 2, f"interval {row.css}", cap=5)
    return tag("g", line, tag("circle", cx=x, cy=LANE / 2, r=6.5, class_=f"dot {row.css}"))


def mark_names(marks: Sequence[Mark]) -> list[Html]:
    """The legend of the marks: one line each, level with its shape in the drawing."""
    return [
        tag("span", tag("svg", mark_shape(i), viewBox="-7 -7 14 14", width=13, height=13), mark.label, " ", mark.text)
        for i, mark in enumerate(marks)
    ]


def mark_shape(index: int) -> Html:
    """The n-th hollow shape about the origin."""
    return tag("path", d=SHAPES[index % len(SHAPES)], class_="mark")


def anchor(percent: float) -> str:
    """Text anchor that keeps a label inside the drawing."""
    return "start" if percent < 1 else "end" if percent > 99 else "middle"

"""A plane drawn in pixels: curves, points, and names that do not touch each other, over logarithmic axes.

The report's charts stretch to the page, so they cannot know where two names meet; this one has a width. As a file it is
an SVG that stands alone, or a page: a drawing for wide windows, one for narrow ones, and the numbers beneath.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from puna.lineage.report.curves import Point, log_ticks, tick_texts
from puna.lineage.report.figures import nice_ticks
from puna.lineage.report.formats import format_short
from puna.lineage.report.markup import Html, tag
from puna.lineage.report.panels import table_panel
from puna.lineage.report.style import COLOURS, LIGHT, STYLE

WIDE, NARROW = (860, 600), (460, 520)  # pixels of the two drawings
_CHAR, _LINE = 6.8, 15  # of text of 12 pixels, a little more than it takes on the mean
_LEFT, _RIGHT, _BOTTOM = 52, 14, 44
_RULES = """
.drawn text{font:12px system-ui,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;fill:var(--quiet)}
.drawn .ground{fill:var(--card)}.drawn .grid{stroke:var(--grid)}.drawn .axis{stroke:var(--limit)}
.drawn .curve{fill:none;stroke-width:2}.drawn .curve.faint{stroke:var(--limit);stroke-width:1}
.drawn .curve.strong{stroke:var(--ink);stroke-width:2.4;stroke-dasharray:none}
.drawn .curve.dashed{stroke:var(--limit);stroke-width:1.3;stroke-dasharray:5 4}
.drawn .end{stroke:var(--card);stroke-width:1}.drawn .end.strong{fill:var(--ink)}
.drawn .end.hollow{fill:var(--card);stroke:var(--quiet);stroke-width:1.7}
.drawn text.name{fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
.drawn text.title{font-size:15px;font-weight:600;fill:var(--ink)}
"""


@dataclass(frozen=True)
class Trace:
    """A curve in the style `css`: a colour c0 to c7, strong, faint or dashed; with a `name` in the legend.

    label: written on the curve, near its end.
    """

    points: Sequence[Point]
    css: str
    name: str = ""
    label: str = ""


@dataclass(frozen=True)
class Spot:
    """A point in the style `css`: c0 to c7, strong or hollow; its name stands beside it where there is room."""

    x: float
    y: float
    css: str
    name: str = ""
    radius: float = 4.5


@dataclass(frozen=True)
class Plane:
    """What is drawn; of spots in one place the first lies on top.

    units: which axes ("x", "xy") write 8B and 15T instead of 8e9; rows: the numbers, for the page's table.
    """

    title: str
    note: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    traces: Sequence[Trace]
    spots: Sequence[Spot]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    units: str = ""
    linear: bool = False


def plane_svg(plane: Plane) -> str:
    """The wide drawing as a file of its own."""
    width, height = WIDE
    style = re.sub(r"var\(--([a-z0-9-]+)\)", lambda name: LIGHT[name[1]], COLOURS + _RULES)
    size = {"width": width, "height": height + 26, "viewBox": f"0 0 {width} {height + 26}"}
    ground = tag("rect", width=width, height=height + 26, class_="ground")
    title = tag("text", plane.title, x=_LEFT, y=20, class_="title")
    inner = tag("svg", draw(plane, width, height), y=26, width=width, height=height)
    whole = tag(
        "svg",
        tag("style", Html(style)),
        ground,
        title,
        inner,
        xmlns="http://www.w3.org/2000/svg",
        class_="drawn",
        **size,
    )
    return f"{whole}\n"


def plane_page(plane: Plane) -> str:
    """A page with the drawing, for wide and for narrow windows, and its numbers."""
    drawings = []
    for (width, height), css in ((WIDE, "wide-only"), (NARROW, "narrow-only")):
        size = {"viewBox": f"0 0 {width} {height}", "width": "100%", "style": f"max-width:{1.3 * width:.0f}px"}
        svg = tag("svg", draw(plane, width, height), class_="drawn", role="img", aria_label=plane.title, **size)
        drawings.append(tag("div", svg, class_=css, style="width:100%"))
    table = table_panel({"title": plane.title, "columns": plane.columns, "rows": plane.rows})
    body = [
        tag("h2", plane.title),
        tag("p", plane.note, class_="lead"),
        tag("div", drawings, class_="card"),
        tag("div", table, class_="card", style="margin-top:16px"),
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", plane.title),
        tag("style", Html(STYLE + _RULES)),
    ]
    main = tag("main", tag("section", body), style="padding-bottom:48px")
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', main), lang='en')}\n"


def draw(plane: Plane, width: int, height: int) -> list[Html]:
    """The parts of the drawing, its legend above; everything inside `width` by `height` pixels."""
    legend, top = _legend(plane, width)
    frame = _Frame(_LEFT, top + 22, width - _LEFT - _RIGHT, height - top - 22 - _BOTTOM, plane)
    curves, labels = [], []
    taken = [_around(*frame.at(spot.x, spot.y), 2 * spot.radius) for spot in plane.spots if spot.name]
    for spot in plane.spots:
        if spot.name:
            labels += _spot_name(frame, spot, taken)
    for trace in plane.traces:
        seen = [spot for spot in (frame.at(x, y) for x, y in trace.points) if frame.is_near(*spot)]
        if len(seen) > 1:
            steps = " L".join(f"{x - frame.left:.1f},{y - frame.top:.1f}" for x, y in seen)
            curves.append(tag("path", d="M" + steps, class_=f"curve {trace.css}"))
        if trace.label:
            labels += _trace_label(frame, trace.label, seen, taken)
    dots = [
        tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=spot.radius, class_=f"end {spot.css}")
        for spot in reversed(plane.spots)
        for x, y in [frame.at(spot.x, spot.y)]
        if frame.holds(x, y)
    ]
    # A nested drawing cuts off what leaves it.
    clip = tag("svg", curves, x=frame.left, y=frame.top, width=frame.width, height=frame.height)
    return [legend, _axes(frame, plane), clip, tag("g", dots), tag("g", labels)]


@dataclass(frozen=True)
class _Frame:
    """Where the axes are, in pixels, and where a point stands between them."""

    left: float
    top: float
    width: float
    height: float
    plane: Plane

    def at(self, x: float, y: float) -> Point:
        """In pixels; also for points outside."""
        across = _share(x, self.plane.x_range, True)
        return self.left + self.width * across, self.top + self.height * (
            1 - _share(y, self.plane.y_range, not self.plane.linear)
        )

    def holds(self, x: float, y: float, room: float = 0.5) -> bool:
        """Whether a place in pixels is inside."""
        return (
            self.left - room <= x <= self.left + self.width + room
            and self.top - room <= y <= self.top + self.height + room
        )

    def is_near(self, x: float, y: float) -> bool:
        """Whether it is inside, or at most a frame's size beside it."""
        return self.holds(x, y, max(self.width, self.height))


_Box = tuple[float, float, float, float]


def _share(value: float, ends: tuple[float, float], log: bool) -> float:
    low, high = ends
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


def _around(x: float, y: float, size: float) -> _Box:
    return x - size / 2, y - size / 2, x + size / 2, y + size / 2


def _text_box(x: float, y: float, text: str, anchor: str) -> _Box:
    """Of a text of 12 pixels whose base line begins, ends or is centred at x, y."""
    width = _CHAR * len(text)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return left, y - 10, left + width, y + 3


def _is_free(box: _Box, frame: _Frame, taken: Sequence[_Box]) -> bool:
    if not (frame.holds(box[0], box[1]) and frame.holds(box[2], box[3])):
        return False
    return all(box[2] <= a or c <= box[0] or box[3] <= b or d <= box[1] for a, b, c, d in taken)


def _spot_name(frame: _Frame, spot: Spot, taken: list[_Box]) -> list[Html]:
    """The name beside its point, at the first place that is free; nothing if none is."""
    x, y = frame.at(spot.x, spot.y)
    beside = ((9, 4, "start"), (-9, 4, "end"), (0, -9, "middle"), (0, 18, "middle"))
    corners = ((7, -8, "start"), (-7, -8, "end"), (7, 17, "start"), (-7, 17, "end"))
    for right, down, anchor in (*beside, *corners):
        box = _text_box(x + right, y + down, spot.name, anchor)
        if _is_free(box, frame, taken):
            taken.append(box)
            return [_name(x + right, y + down, spot.name, anchor)]
    return []


def _trace_label(frame: _Frame, label: str, seen: Sequence[Point], taken: list[_Box]) -> list[Html]:
    """The label on the curve, as near to its end as there is room."""
    for x, y in reversed([spot for spot in seen if frame.holds(*spot)]):
        box = _text_box(x - 4, y - 4, label, "end")
        if _is_free(box, frame, taken):
            taken.append(box)
            return [tag("text", label, x=f"{x - 4:.1f}", y=f"{y - 4:.1f}", text_anchor="end")]
    return []


def _name(x: float, y: float, text: str, anchor: str) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_="name")


def _axes(frame: _Frame, plane: Plane) -> Html:
    right, bottom = frame.left + frame.width, frame.top + frame.height
    parts = [tag("text", plane.y_label, x=4, y=frame.top - 10)]
    for tick, text in _ticks(plane.x_range, True, "x" in plane.units):
        x = f"{frame.left + frame.width * _share(tick, plane.x_range, True):.1f}"
        parts.append(tag("line", x1=x, x2=x, y1=frame.top, y2=bottom, class_="grid"))
        parts.append(tag("text", text, x=x, y=bottom + 17, text_anchor="middle"))
    for tick, text in _ticks(plane.y_range, not plane.linear, "y" in plane.units):
        height = frame.top + frame.height * (1 - _share(tick, plane.y_range, not plane.linear))
        parts.append(tag("line", x1=frame.left, x2=right, y1=f"{height:.1f}", y2=f"{height:.1f}", class_="grid"))
        parts.append(tag("text", text, x=frame.left - 7, y=f"{height + 4:.1f}", text_anchor="end"))
    parts.append(tag("line", x1=frame.left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    parts.append(tag("line", x1=frame.left, x2=frame.left, y1=frame.top, y2=bottom, class_="axis"))
    parts.append(tag("text", plane.x_label, x=right, y=bottom + 36, text_anchor="end"))
    return tag("g", parts)


def _ticks(ends: tuple[float, float], log: bool, units: bool) -> list[tuple[float, str]]:
    ticks = log_ticks(*ends) if log else nice_ticks(*ends)
    texts = tick_texts(ticks) if log and not units else [format_short(tick) for tick in ticks]
    return list(zip(ticks, texts, strict=True))


def _legend(plane: Plane, width: int) -> tuple[Html, float]:
    """The named curves with their pens, in as many lines as they take, and the height of these."""
    x, y, parts = 4.0, 12.0, []
    for trace in plane.traces:
        if not trace.name:
            continue
        takes = 26 + _CHAR * len(trace.name)
        if x > 4 and x + takes > width - _RIGHT:
            x, y = 4.0, y + _LINE + 3
        parts.append(tag("line", x1=f"{x:.1f}", x2=f"{x + 20:.1f}", y1=y - 4, y2=y - 4, class_=f"curve {trace.css}"))
        parts.append(tag("text", trace.name, x=f"{x + 26:.1f}", y=y))
        x += takes + 16
    return tag("g", parts), y + 6 if parts else 0.0

"""Line charts: curves over a linear or logarithmic axis, stretched to the page while pen and text keep their size."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from puna.lineage.report.figures import Scale, at, colour, nice_ticks
from puna.lineage.report.formats import exact, format_number, format_short
from puna.lineage.report.markup import Html, tag

MAX_POINTS = 400  # a series; more cannot be told apart on a screen and would only make the page heavy
MIN_GAP = 1 / 7  # of a logarithmic axis between two ticks: 50 pixels of the narrowest page, where `1.5e12` takes 40
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Where a value stands, in percent of the drawing, and the ticks beside it."""

    scale: Scale
    log: bool
    ticks: list[float]

    def place(self, value: float) -> float:
        """0 at the left, or at the bottom."""
        return self.scale.percent(math.log(value) if self.log else value)

    def height(self, value: float) -> float:
        """0 at the top."""
        return 100 - self.place(value)

    @property
    def texts(self) -> list[str]:
        """The ticks as they are written."""
        return tick_texts(self.ticks) if self.log else [format_short(tick) for tick in self.ticks]


def make_axis(values: Sequence[float], log: bool, room: float = 0.0) -> Axis | None:
    """The axis that holds all values, with a share of `room` at both ends; None without values."""
    if not values:
        return None
    low, high = min(values), max(values)
    bottom, top = (math.log(low), math.log(high)) if log else (low, high)
    pad = (top - bottom) * room
    return Axis(Scale(bottom - pad, top + pad), log, log_ticks(low, high) if log else nice_ticks(low, high, 5))


def lines(
    series: Sequence[Mapping[str, Any]],
    x_label: str,
    y_label: str,
    log_y: bool = False,
    right_label: str = "",
    log_x: bool = False,
) -> Html:
    """Curves with axes; points that are missing, not finite, or not positive on a logarithmic axis break the curve.

    A series with `right` has an axis of its own on the right, always linear: for a measure whose scale would flatten
    the others, such as a reward beside the share of answers that are right.
    """
    rights = [bool(one.get("right")) for one in series]
    if all(rights):
        rights = [False] * len(rights)  # one axis is the left one
    runs = [
        broken_runs(one["x"], one["y"], log_y and not right, log_x) for one, right in zip(series, rights, strict=True)
    ]
    ys = [[y for run in one for _, y in run] for one in runs]
    left = make_axis([y for one, right in zip(ys, rights, strict=True) if not right for y in one], log_y, 0.05)
    other = make_axis([y for one, right in zip(ys, rights, strict=True) if right for y in one], False, 0.05)
    across = make_axis([x for one in runs for run in one for x, _ in run], log_x)
    if not across:
        return tag("p", "No finite points to draw.", class_="quiet")
    curves, ends = draw_series(runs, [other if right else left for right in rights], across)
    inner = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none", "width": "100%", "height": "100%"}
    x_marks = [(across.place(tick), text) for tick, text in zip(across.ticks, across.texts, strict=True)]
    ground = axes(x_marks, heights(left), heights(other))
    label = describe(series, runs, x_label, y_label)
    drawing = [ground, tag("svg", curves, **inner), ends]
    chart = tag("svg", drawing, width="100%", height=220, overflow="visible", role="img", aria_label=label)
    names = [one["name"] for one, right in zip(series, rights, strict=True) if right]
    name = f"{y_label} (logarithmic)" if log_y else y_label
    above = axis_names(name, (right_label or ", ".join(names)) if other else "")
    below = tag("p", f"{x_label} (logarithmic)" if log_x else x_label, class_="axis-name below")
    plane = tag("div", chart, class_="plane two" if other else "plane")
    return tag("div", above, plane, below, line_legend(series, runs, rights), class_="figure lines")


def heights(axis: Axis | None) -> list[tuple[float, str]]:
    """The heights and texts of the ticks of a vertical axis; none without one."""
    return [(axis.height(tick), text) for tick, text in zip(axis.ticks, axis.texts, strict=True)] if axis else []


def draw_series(
    runs: Sequence[list[list[Point]]], levels: Sequence[Axis | None], across: Axis
) -> tuple[list[Html], list[Html]]:
    """The curves of all series, each by its own axis, and the dot at the end of each."""
    curves, ends = [], []
    for index, (stretches, level) in enumerate(zip(runs, levels, strict=True)):
        if level is None or not stretches:
            continue
        spots = [[(across.place(x), level.height(y)) for x, y in run] for run in stretches]
        curves += [curve(run, index) for run in spots]
        x, y = spots[-1][-1]
        ends.append(tag("circle", cx=at(x), cy=at(y), r=3.5, class_=f"end {colour(index)}"))
    return curves, ends


def axis_names(left: str, right: str) -> Html:
    """What the vertical axes measure, each above its own."""
    if not right:
        return tag("p", left, class_="axis-name")
    return tag("p", tag("span", left), tag("span", right, " (right)"), class_="axis-name both")


def broken_runs(
    xs: Sequence[float | None], ys: Sequence[float | None], log_y: bool, log_x: bool = False
) -> list[list[Point]]:
    """The drawable stretches of a series, thinned to MAX_POINTS but keeping each stretch's lows and highs."""
    runs: list[list[Point]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        drawable = x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
        if drawable and (y > 0 or not log_y) and (x > 0 or not log_x):  # type: ignore[operator]
            runs[-1].append((float(x), float(y)))  # type: ignore[arg-type]
        elif runs[-1]:
            runs.append([])
    kept = [run for run in runs if run]
    total = sum(map(len, kept))
    return [thin(run, max(4, MAX_POINTS * len(run) // total)) for run in kept]


def thin(run: list[Point], limit: int) -> list[Point]:
    """At most about `limit` points: first, last, and the lowest and highest of equal stretches between."""
    if len(run) <= limit:
        return run
    size = math.ceil((len(run) - 2) / ((limit - 2) // 2))
    kept = [run[0]]
    for start in range(1, len(run) - 1, size):
        part = run[start : min(start + size, len(run) - 1)]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, run[-1]]


def curve(spots: Sequence[Point], index: int) -> Html:
    """One unbroken stretch, in percent of the drawing; the pen keeps its width however the drawing is stretched."""
    steps = " L".join(f"{x:.2f},{y:.2f}" for x, y in spots)
    return tag("path", d="M" + steps, class_=f"curve {colour(index)}", vector_effect="non-scaling-stroke")


def log_ticks(low: float, high: float) -> list[float]:
    """Round values inside [low, high], as many as stand a seventh of the axis apart or more.

    Powers of ten with multiples of them, of a wide range every second or third power, of a narrow one plain steps.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for multiples in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**p for p in range(first, last + 1) for m in multiples if low <= m * 10.0**p <= high]
        if len(ticks) >= 3 and are_apart(ticks, low, high):
            return ticks
    for step in range(2, last - first):
        ticks = [10.0**p for p in range(first, last + 1) if p % step == 0 and low <= 10.0**p <= high]
        if len(ticks) >= 3 and are_apart(ticks, low, high):
            return ticks
    return [tick for tick in nice_ticks(low, high, 5) if tick > 0]


def are_apart(ticks: Sequence[float], low: float, high: float) -> bool:
    """Whether ticks of a logarithmic axis stand so far apart that their texts fit side by side, 500 pixels wide."""
    return all(math.log(b / a) >= MIN_GAP * math.log(high / low) for a, b in itertools.pairwise(ticks))


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Of a logarithmic axis: 1e12, 3e12 if it reaches a million or a thousandth, and otherwise as on any axis."""
    if not ticks or (max(ticks) < 1e6 and min(ticks) >= 1e-3):
        return [format_short(tick) for tick in ticks]
    return [format_short(tick) if 1e-3 <= tick < 1e3 else power_text(tick) for tick in ticks]


def power_text(value: float) -> str:
    """1e12, 2.5e-7."""
    mantissa, power = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"


def axes(
    x_marks: Sequence[tuple[float, str]],
    y_marks: Sequence[tuple[float, str]],
    right_marks: Sequence[tuple[float, str]] = (),
) -> Html:
    """Grid lines with their values, by percent of the drawing; labels stand outside it, where the page leaves room.

    Only the left axis has lines across, so that no two grids cross.
    """
    parts = []
    for place, text in y_marks:
        level = at(place)
        parts.append(tag("line", x1="0", x2="100%", y1=level, y2=level, class_="grid"))
        parts.append(tag("text", text, x=-8, y=level, dy="0.32em", text_anchor="end"))
    for place, text in right_marks:
        parts.append(tag("text", text, x="100%", dx=8, y=at(place), dy="0.32em", text_anchor="start", class_="right"))
    for place, text in x_marks:
        parts.append(tag("text", text, x=at(place), y="100%", dy="1.5em", text_anchor="middle"))
    parts.append(tag("line", x1="0", x2="100%", y1="100%", y2="100%", class_="axis"))
    return tag("g", parts, class_="axes")


def line_legend(series: Sequence[Mapping[str, Any]], runs: Sequence[list[list[Point]]], rights: Sequence[bool]) -> Html:
    """Each series with its pen, its axis if that is the right one, and its last value."""
    entries = []
    for index, (one, stretches, right) in enumerate(zip(series, runs, rights, strict=True)):
        last = stretches[-1][-1][1] if stretches else None
        pen = tag("line", x1=0, x2=18, y1=6, y2=6, class_=f"curve {colour(index)}")
        value = tag("b", exact(last, format_number(last)))
        name = tag("span", one["name"], " (right)" if right else None)
        entries.append(tag("span", tag("svg", pen, width=18, height=12, aria_hidden="true"), name, value))
    return tag("p", entries, class_="legend")


def describe(series: Sequence[Mapping[str, Any]], runs: Sequence[list[list[Point]]], x: str, y: str) -> str:
    """The chart in one sentence, for those who hear the page."""
    parts = []
    for one, stretches in zip(series, runs, strict=True):
        if stretches:
            first, last = stretches[0][0][1], stretches[-1][-1][1]
            parts.append(f"{one['name']} from {format_number(first)} to {format_number(last)}")
    return f"{y} over {x}: " + "; ".join(parts)

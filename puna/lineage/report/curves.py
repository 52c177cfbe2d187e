"""Line charts: curves over a linear or logarithmic axis, stretched to the page while pen and text keep their size."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from puna.lineage.report.figures import Scale, at, colour, nice_ticks
from puna.lineage.report.formats import exact, format_number, format_short
from puna.lineage.report.markup import Html, tag

MAX_POINTS = 400  # a series; more cannot be told apart on a screen and would only make the page heavy
Point = tuple[float, float]


def lines(series: Sequence[Mapping[str, Any]], x_label: str, y_label: str, log_y: bool = False) -> Html:
    """Curves with axes; points that are missing, not finite, or not positive on a logarithmic axis break the curve."""
    runs = [broken_runs(one["x"], one["y"], log_y) for one in series]
    points = [point for one in runs for run in one for point in run]
    if not points:
        return tag("p", "No finite points to draw.", class_="quiet")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    y_ticks = log_ticks(low, high) if log_y else nice_ticks(low, high, 5)
    across = Scale(min(xs), max(xs))
    level = math.log if log_y else float
    pad = (level(high) - level(low)) * 0.05
    up = Scale(level(low) - pad, level(high) + pad)

    def height(y: float) -> float:
        return 100 - up.percent(level(y))

    curves = [curve(run, across, height, index) for index, one in enumerate(runs) for run in one]
    inner = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none", "width": "100%", "height": "100%"}
    drawing = [axes(across, nice_ticks(min(xs), max(xs), 5), y_ticks, height), tag("svg", curves, **inner)]
    ends = []
    for index, one in enumerate(runs):
        for x, y in [run[-1] for run in one][-1:]:
            ends.append(tag("circle", cx=at(across.percent(x)), cy=at(height(y)), r=3.5, class_=f"end {colour(index)}"))
    label = describe(series, runs, x_label, y_label)
    chart = tag("svg", drawing, ends, width="100%", height=220, overflow="visible", role="img", aria_label=label)
    above = tag("p", y_label, " (logarithmic)" if log_y else "", class_="axis-name")
    below = tag("p", x_label, class_="axis-name below")
    return tag("div", above, tag("div", chart, class_="plane"), below, line_legend(series, runs), class_="figure lines")


def broken_runs(xs: Sequence[float | None], ys: Sequence[float | None], log_y: bool) -> list[list[Point]]:
    """The drawable stretches of a series, thinned to MAX_POINTS but keeping each stretch's lows and highs."""
    runs: list[list[Point]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        drawable = x is not None and y is not None and math.isfinite(x) and math.isfinite(y) and (y > 0 or not log_y)
        if drawable:
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


def curve(run: list[Point], across: Scale, height: Any, index: int) -> Html:
    """One unbroken stretch, in percent of the drawing; the pen keeps its width however the drawing is stretched."""
    steps = " L".join(f"{across.percent(x):.2f},{height(y):.2f}" for x, y in run)
    return tag("path", d="M" + steps, class_=f"curve {colour(index)}", vector_effect="non-scaling-stroke")


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside [low, high]; with 2 and 5 times them, or plain round values, when those are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in ((1,), (1, 3), (1, 2, 5)):
        ticks = [m * 10.0**p for p in powers for m in multiples if low <= m * 10.0**p <= high]
        if len(ticks) >= 4:
            every = math.ceil(len(ticks) / 7)
            return ticks[::every]
    return [tick for tick in nice_ticks(low, high, 5) if tick > 0]


def axes(across: Scale, x_ticks: list[float], y_ticks: list[float], height: Any) -> Html:
    """Grid lines with their values; labels stand outside the drawing, where the page leaves room."""
    parts = []
    for y in y_ticks:
        level = at(height(y))
        parts.append(tag("line", x1="0", x2="100%", y1=level, y2=level, class_="grid"))
        parts.append(tag("text", format_short(y), x=-8, y=level, dy="0.32em", text_anchor="end"))
    for x in x_ticks:
        place = across.percent(x)
        parts.append(tag("text", format_short(x), x=at(place), y="100%", dy="1.5em", text_anchor="middle"))
    parts.append(tag("line", x1="0", x2="100%", y1="100%", y2="100%", class_="axis"))
    return tag("g", parts, class_="axes")


def line_legend(series: Sequence[Mapping[str, Any]], runs: Sequence[list[list[Point]]]) -> Html:
    """Each series with its pen and its last value."""
    entries = []
    for index, (one, stretches) in enumerate(zip(series, runs, strict=True)):
        last = stretches[-1][-1][1] if stretches else None
        pen = tag("line", x1=0, x2=18, y1=6, y2=6, class_=f"curve {colour(index)}")
        value = tag("b", exact(last, format_number(last)))
        entries.append(tag("span", tag("svg", pen, width=18, height=12, aria_hidden="true"), one["name"], " ", value))
    return tag("p", entries, class_="legend")


def describe(series: Sequence[Mapping[str, Any]], runs: Sequence[list[list[Point]]], x: str, y: str) -> str:
    """The chart in one sentence, for those who hear the page."""
    parts = []
    for one, stretches in zip(series, runs, strict=True):
        if stretches:
            first, last = stretches[0][0][1], stretches[-1][-1][1]
            parts.append(f"{one['name']} from {format_number(first)} to {format_number(last)}")
    return f"{y} over {x}: " + "; ".join(parts)

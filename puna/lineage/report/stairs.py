"""The staircase: one tread a model in the order of the lap, at the height of its score, with its 95% interval.

    columns   for a wide page: the lap goes to the right and the score up
    rows      for a phone: the lap goes down and the score to the right

Both are on the page and its style shows one. Every score's axis begins at 0, so a small step looks small; what it is
stands on it in figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from puna.lineage.report.figures import Scale, anchor, at, interval, nice_ticks
from puna.lineage.report.formats import (
    exact,
    format_interval,
    format_number,
    format_percent,
    format_score,
    is_proportion,
)
from puna.lineage.report.markup import Child, Html, linked, tag
from puna.lineage.report.steps import Step

PLOT, ROW, TALL = 210, 48, 62  # pixels: height of the columns' drawing, of a row, and of one with a note below its name
LINE = 15  # of text
TOPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # where an axis of shares may end


@dataclass(frozen=True)
class Ground:
    """What the steps of one task stand on: the axis, how its ticks are written, and the best baseline."""

    scale: Scale
    ticks: list[float]
    tick_text: Callable[[float], str]
    best: float | None


def make_ground(steps: Sequence[Step], baselines: Sequence[float]) -> Ground:
    """An axis from 0 to a round value above every interval; lower than 0 only where a score is."""
    bounds = [v for step in steps for v in (step.score["value"], *(step.score["ci95"] or ()))] + list(baselines)
    share = is_proportion(steps[0].score["metric"])
    high = max([*bounds, 0.0])
    top = next((one for one in TOPS if one >= high), high) if share else high * 1.05 or 1.0
    scale = Scale(min([*bounds, 0.0]), top)
    return Ground(scale, nice_ticks(scale.low, top, 6), percent_tick if share else "{:g}".format, best_of(baselines))


def percent_tick(value: float) -> str:
    """`25%`, or `2.5%` where it needs the digit."""
    return format_percent(value).replace(".0%", "%")


def best_of(baselines: Sequence[float]) -> float | None:
    """The largest, or None."""
    return max(baselines, default=None)


def staircase(steps: Sequence[Step], baselines: Sequence[float], hrefs: Mapping[str, str | None]) -> Html:
    """Both drawings of the steps; `hrefs` leads from a scoring stage to its artifact."""
    ground = make_ground(steps, baselines)
    return tag("div", columns(steps, ground, hrefs), rows(steps, ground, hrefs), class_="stairs")


def columns(steps: Sequence[Step], ground: Ground, hrefs: Mapping[str, str | None]) -> Html:
    """The steps from left to right, with the models' names at their feet."""
    width = 100 / len(steps)
    shapes: list[Child] = [area(i * width, width, level, ground) for i, level in enumerate(standing_levels(steps))]
    for tick in ground.ticks:
        y = height(tick, ground)
        shapes.append(tag("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"))
        shapes.append(tag("text", ground.tick_text(tick), x=-8, y=y, dy="0.32em", text_anchor="end"))
    if ground.best is not None:
        y = height(ground.best, ground)
        shapes.append(tag("line", x1="0", x2="100%", y1=y, y2=y, class_="limit"))
    before = [None, *standing_levels(steps)]
    shapes += [column(step, i, width, before[i], ground) for i, step in enumerate(steps)]
    room = 8 + LINE * (3 if any(step.undone for step in steps) else 2)
    text = "; ".join(describe(step) for step in steps)
    chart = tag("svg", shapes, width="100%", height=PLOT, overflow="visible", role="img", aria_label=text)
    feet = [tag("div", foot(step, hrefs)) for step in steps]
    return tag(
        "div",
        tag("div", chart, class_="steps", style=f"padding-top:{room}px"),
        tag("div", feet, class_="feet"),
        class_="wide-only",
    )


def standing_levels(steps: Sequence[Step]) -> list[float]:
    """The score that stands after each step; before the first that stands, its own."""
    levels: list[float] = []
    for step in steps:
        levels.append(step.score["value"] if step.stands or not levels else levels[-1])
    return levels


def height(value: float, ground: Ground) -> float:
    """Pixels from the top of the columns' drawing."""
    return round(PLOT * (1 - ground.scale.percent(value) / 100), 2)


def area(left: float, width: float, level: float, ground: Ground) -> Html:
    """What a step stands on, down to the foot of the drawing."""
    y = height(level, ground)
    return tag("rect", x=at(left), y=y, width=at(width), height=round(PLOT - y, 2), class_="body")


def column(step: Step, index: int, width: float, before: float | None, ground: Ground) -> Html:
    """A riser from the level before, a tread, the interval, and the figures above it; a ghost if it was rolled back."""
    left, middle, right = at(index * width), at((index + 0.5) * width), at((index + 1) * width)
    value, ci95 = step.score["value"], step.score["ci95"] or [step.score["value"]] * 2
    y, low, high = (height(v, ground) for v in (value, *ci95))
    shapes: list[Child] = [tag("title", describe(step))]
    if before is not None:
        was = height(before, ground)
        shapes.append(tag("line", x1=left, x2=left, y1=was, y2=y, class_="riser"))
        if step.undone is not None:
            shapes.append(tag("line", x1=left, x2=right, y1=was, y2=was, class_="tread standing"))
    shapes.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="tread"))
    shapes.append(tag("line", x1=middle, x2=middle, y1=low, y2=high, class_="span"))
    shapes.append(tag("circle", cx=middle, cy=y, r=4.5, class_="point"))
    top = min(high, y - 5, PLOT if before is None or step.stands else height(before, ground))
    words = [(format_score(step.score["metric"], value), "number"), (step.rise_text, f"rise {step.verdict}")]
    words.append(("rolled back" if step.undone is not None else "", "rise worse"))
    for line, (text, css) in enumerate((text, css) for text, css in words if text):
        place = round(top - 7 - LINE * line, 2)
        shapes.append(tag("text", text, x=middle, y=place, text_anchor="middle", class_=css))
    css = "step" if step.stands else "step undone"
    return tag("g", shapes, class_=css, data_stage=step.score["stage"], data_value=repr(value))


def foot(step: Step, hrefs: Mapping[str, str | None]) -> list[Child]:
    """The model's name as a link to what measured it; a long one breaks after a dot."""
    parts = step.label.split(".")
    name: list[Child] = [[part, "." if i + 1 < len(parts) else "", tag("wbr")] for i, part in enumerate(parts)]
    measured = f"measured by {step.score['stage']}"
    return [linked(hrefs[step.score["stage"]], name, title=measured), tag("small", step.also) if step.also else None]


def describe(step: Step) -> str:
    """`dpo 78.4% (74.8 to 82.0), +3.1`, for those who hear the page or point at a step."""
    metric = step.score["metric"]
    text = f"{step.label} {format_score(metric, step.score['value'])}"
    text += f" ({format_interval(metric, step.score['ci95'])})" if step.score["ci95"] else ""
    text += f", {step.rise_text}" if step.rise_text else ""
    if step.undone is None:
        return text
    facts = [f"{name} {format_number(step.undone[key])}" for name, key in (("gain", "gain"), ("p", "p_value"))
             if step.undone.get(key) is not None]  # fmt: skip
    return f"{text}, rolled back" + (f" ({', '.join(facts)} on the round's own test)" if facts else "")


def rows(steps: Sequence[Step], ground: Ground, hrefs: Mapping[str, str | None]) -> Html:
    """The steps from top to bottom; rows touch, so that the treads make one line."""
    body = []
    levels = standing_levels(steps)
    for index, step in enumerate(steps):
        drawing = row(step, levels[index - 1] if index else None, levels[index], ground)
        value = exact(step.score["value"], format_score(step.score["metric"], step.score["value"]))
        note = tag("small", step.rise_text, class_=f"rise {step.verdict}") if step.rise_text else None
        undone = tag("small", "rolled back", class_="rise worse") if step.undone is not None else None
        cells = [tag("th", foot(step, hrefs), undone, scope="row"), tag("td", drawing, class_="plot")]
        body.append(tag("tr", cells, tag("td", value, note, class_="value")))
    places = [
        (ground.scale.percent(tick), ground.tick_text(tick)) for tick in ground.ticks[:: max(1, len(ground.ticks) // 3)]
    ]
    labels = [tag("text", text, x=at(place), y=12, text_anchor=anchor(place)) for place, text in places]
    axis = tag("svg", labels, width="100%", height=16, aria_hidden="true")
    body.append(tag("tr", tag("td"), tag("td", axis, class_="plot"), tag("td"), aria_hidden="true"))
    return tag("table", tag("tbody", body), class_="treads narrow-only")


def row(step: Step, before: float | None, level: float, ground: Ground) -> Html:
    """One step lying on its side: the riser along the upper edge, the tread from edge to edge."""
    place = ground.scale.percent
    tall = TALL if step.undone is not None or step.also else ROW
    x, middle = at(place(step.score["value"])), tall / 2
    shapes: list[Child] = [tag("rect", x="0", y=0, width=at(place(level)), height=tall, class_="body")]
    shapes += [tag("line", x1=at(place(t)), x2=at(place(t)), y1=0, y2=tall, class_="grid") for t in ground.ticks]
    if ground.best is not None:
        best = at(place(ground.best))
        shapes.append(tag("line", x1=best, x2=best, y1=0, y2=tall, class_="limit"))
    if before is not None:
        was = at(place(before))
        shapes.append(tag("line", x1=was, x2=x, y1=0, y2=0, class_="riser"))
        if step.undone is not None:
            shapes.append(tag("line", x1=was, x2=was, y1=0, y2=tall, class_="tread standing"))
    shapes.append(tag("line", x1=x, x2=x, y1=0, y2=tall, class_="tread"))
    if step.score["ci95"]:
        low, high = (place(bound) for bound in step.score["ci95"])
        shapes.append(interval(low, high, middle, "span", cap=0))
    shapes.append(tag("circle", cx=x, cy=middle, r=4.5, class_="point"))
    css = "step" if step.stands else "step undone"
    group = tag("g", shapes, class_=css)
    return tag("svg", group, width="100%", height=tall, overflow="visible", role="img", aria_label=describe(step))

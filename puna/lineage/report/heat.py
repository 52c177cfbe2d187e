"""Heat maps: a share from 0 to 1 in each cell of a grid, as colour and as a number.

Places along x are percentages of the drawing, so that it fills any width while its text keeps its size. Cells are light
and their numbers dark in both themes of the page: only the paper around them changes.
"""

from collections.abc import Sequence

from puna.lineage.report.figures import at
from puna.lineage.report.formats import format_percent
from puna.lineage.report.markup import Html, tag

CELL, HEAD, SIDE = 26, 22, 46  # pixels: height of a row, of the line of column names, width of the row names
INK = "#1d2420"
COLOURS = ((0.0, (246, 205, 196)), (0.5, (250, 236, 190)), (0.9, (226, 238, 205)), (1.0, (183, 221, 195)))
"""From nothing to all; all of them have a contrast of 9 to 1 with INK or more."""


def heat_map(
    columns: Sequence[str], rows: Sequence[str], values: Sequence[Sequence[float | None]], x_label: str, y_label: str
) -> Html:
    """A grid of shares, `values` [rows][columns]; None leaves a cell empty.

    Raises ValueError if the values are not as many as rows and columns, or none is a share.
    """
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        raise ValueError(f"expected {len(rows)} rows of {len(columns)} values")
    if not rows or not columns:
        return tag("p", "No cells.", class_="quiet")
    width, cells = 100 / len(columns), list[Html]()
    for j, row in enumerate(values):
        for i, value in enumerate(row):
            if value is not None:
                cells += _cell(i * width, j * CELL, width, value, f"{y_label} {rows[j]}, {x_label} {columns[i]}")
    heads = [
        tag("text", name, x=at((i + 0.5) * width), y=len(rows) * CELL + 16, text_anchor="middle")
        for i, name in enumerate(columns)
    ]
    sides = [tag("text", name, x=-8, y=(j + 0.5) * CELL, dy="0.32em", text_anchor="end") for j, name in enumerate(rows)]
    height = len(rows) * CELL + HEAD
    label = f"{y_label} by {x_label}, in percent: from {_range(values)}"
    chart = tag(
        "svg", cells, heads, sides, width="100%", height=height, overflow="visible", role="img", aria_label=label
    )
    box = tag("div", chart, style=f"margin-left:{SIDE}px")
    above, below = tag("p", y_label, class_="axis-name"), tag("p", x_label, class_="axis-name below")
    return tag("div", above, box, below, class_="figure heat")


def cell_colour(share: float) -> str:
    """The colour of a share, between those of COLOURS. Raises ValueError outside of 0 to 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1, came {share}")
    upper = next(i for i, (end, _) in enumerate(COLOURS) if share <= end)
    (low, first), (high, second) = COLOURS[max(0, upper - 1)], COLOURS[upper]
    part = 0.0 if high == low else (share - low) / (high - low)
    mixed = (round(a + part * (b - a)) for a, b in zip(first, second, strict=True))
    return "#" + "".join(f"{one:02x}" for one in mixed)


def _cell(x: float, y: float, width: float, share: float, title: str) -> list[Html]:
    text = format_percent(share)
    box = {"x": at(x), "y": y, "width": at(width), "height": CELL, "fill": cell_colour(share)}
    number = tag(
        "text", f"{100 * share:.0f}", x=at(x + width / 2), y=y + CELL / 2, dy="0.32em", text_anchor="middle",
        style=f"fill:{INK}",
    )  # fmt: skip
    return [tag("rect", tag("title", f"{title}: {text}"), **box, class_="heat-cell"), number]


def _range(values: Sequence[Sequence[float | None]]) -> str:
    shares = [value for row in values for value in row if value is not None]
    return f"{format_percent(min(shares))} to {format_percent(max(shares))}" if shares else "nothing to nothing"

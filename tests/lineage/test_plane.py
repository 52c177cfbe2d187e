"""Drawings in pixels: places against hand-computed ones, and names that touch nothing."""

import math
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.lineage.report.plane import NARROW, WIDE, Plane, Spot, Trace, draw, plane_page, plane_svg

SVG = "{http://www.w3.org/2000/svg}"


def make_plane(traces: Any = (), spots: Any = (), **changes: Any) -> Plane:
    ends: dict[str, Any] = {"x_range": (1e6, 1e12), "y_range": (1.0, 100.0)}
    return Plane(
        "A < B", "note", "across", "up", **{**ends, **changes}, traces=traces, spots=spots, columns=["n"], rows=[[1]]
    )


def parse(plane: Plane, size: tuple[int, int] = WIDE) -> ElementTree.Element:
    return ElementTree.fromstring(f"<root>{''.join(draw(plane, *size))}</root>")


def boxes(tree: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Of all names of points, as wide as 12 pixels of a usual font are."""
    found = []
    for text in tree.iter("text"):
        if text.attrib.get("class") == "name":
            x, y, width = float(text.attrib["x"]), float(text.attrib["y"]), 6.5 * len(text.text or "")
            left = x - {"start": 0.0, "middle": width / 2, "end": width}[text.attrib["text-anchor"]]
            found.append((left, y - 9, left + width, y + 2))
    return found


def test_points_and_curves_stand_where_their_logarithms_are() -> None:
    spots = [Spot(1e6, 1.0, "c0"), Spot(1e12, 100.0, "c0"), Spot(1e9, 10.0, "c1")]
    tree = parse(make_plane([Trace([(1e6, 1.0), (1e9, 10.0), (1e12, 100.0)], "c2")], spots))
    middle, high, low = (
        (float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in tree.iter("circle")
    )  # first on top
    assert low[0] < high[0] and low[1] > high[1]  # up is up
    assert middle == pytest.approx([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2], abs=0.1)
    path = next(tree.iter("path")).attrib["d"]
    ends = [tuple(map(float, spot.split(","))) for spot in path[1:].split(" L")]
    assert ends[1] == pytest.approx([(ends[0][0] + ends[2][0]) / 2, (ends[0][1] + ends[2][1]) / 2], abs=0.1)
    assert ends[0][0] == 0 and ends[2][1] == 0  # the nested drawing begins at the frame


def test_a_linear_axis_is_linear() -> None:
    spots = [Spot(1e9, y, "c0") for y in (1.0, 50.5, 100.0)]
    heights = [float(dot.attrib["cy"]) for dot in parse(make_plane(spots=spots, linear=True)).iter("circle")]
    assert heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.1)


def test_what_is_outside_is_not_drawn() -> None:
    spots = [Spot(1e13, 10.0, "c0", "far"), Spot(1e9, 10.0, "c0", "near")]
    tree = parse(make_plane([Trace([(1e30, 2.0), (1e40, 3.0)], "c0", label="gone")], spots))
    assert len(list(tree.iter("circle"))) == 1 and not list(tree.iter("path"))
    texts = [text.text for text in tree.iter("text")]
    assert "near" in texts and "far" not in texts and "gone" not in texts


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(6, 12), st.floats(0, 2), st.text("abc 8B", min_size=3, max_size=14)), max_size=14),
    st.sampled_from([WIDE, NARROW]),
)
def test_names_touch_neither_each_other_nor_the_edge(
    given_: list[tuple[float, float, str]], size: tuple[int, int]
) -> None:
    spots = [Spot(10**x, 10**y, "c0", name) for x, y, name in given_]
    placed = boxes(parse(make_plane(spots=spots), size))
    assert len(placed) >= min(1, len(spots))
    for left, top, right, bottom in placed:
        assert left >= 0 and right <= size[0] and top >= 0 and bottom <= size[1]
    for one, two in combinations(placed, 2):
        assert one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]


def test_axes_write_powers_or_units() -> None:
    plain = [text.text for text in parse(make_plane()).iter("text")]
    assert {"1e6", "1e9", "1e12", "1", "10", "100", "across", "up"} <= set(plain)
    units = [text.text for text in parse(make_plane(units="x")).iter("text")]
    assert {"1M", "1B", "1T"} <= set(units)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_legend_breaks_into_lines(size: tuple[int, int]) -> None:
    traces = [Trace([(1e6, 2.0), (1e9, 3.0)], f"c{n}", f"a curve with the number {n}") for n in range(7)]
    tree = parse(make_plane(traces), size)
    texts = [text for text in tree.iter("text") if (text.text or "").startswith("a curve")]
    assert len(texts) == 7 and len({text.attrib["y"] for text in texts}) >= (2 if size == WIDE else 3)
    assert all(float(text.attrib["x"]) + 6.5 * len(text.text or "") <= size[0] for text in texts)


def test_the_file_stands_alone_and_the_page_has_a_drawing_for_each_width() -> None:
    plane = make_plane([Trace([(1e6, 2.0), (1e9, 3.0)], "strong", "law")], [Spot(1e9, 10.0, "c0", "8B")])
    tree = ElementTree.fromstring(plane_svg(plane))
    assert tree.tag == f"{SVG}svg" and tree.attrib["width"] == str(WIDE[0])
    style = tree.findtext(f"{SVG}style") or ""
    assert "var(" not in style and "#" in style  # no page gives it colours
    page = plane_page(plane)
    assert page.startswith("<!doctype html>") and "A &lt; B" in page and "http" not in page
    body = ElementTree.fromstring(page.partition("\n")[2])
    sizes = [svg.attrib["viewBox"] for svg in body.iter("svg") if "viewBox" in svg.attrib]
    assert sizes == [f"0 0 {w} {h}" for w, h in (WIDE, NARROW)]


def test_every_number_in_a_path_is_finite() -> None:
    trace = Trace([(10.0**p, 10.0 ** (p / 6)) for p in range(-40, 60)], "c0")
    path = next(parse(make_plane([trace])).iter("path")).attrib["d"]
    values = [float(part) for spot in path[1:].split(" L") for part in spot.split(",")]
    assert all(math.isfinite(value) and abs(value) < 3000 for value in values)

"""Figures: positions against hand-computed ones, ticks against their definition, text against the data."""

import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.lineage.report.curves import MAX_POINTS, broken_runs, lines, log_ticks, thin, tick_texts
from puna.lineage.report.figures import NUM_COLOURS, Dot, Mark, Scale, bars, dots, funnel, nice_ticks
from puna.lineage.report.graph import HEIGHT, WIDTH, lineage_graph, place, read_graph
from puna.lineage.report.heat import CELL, INK, cell_colour, heat_map
from puna.lineage.report.panels import render_panel
from puna.lineage.report.stairs import PLOT, staircase
from puna.lineage.report.steps import Step
from puna.lineage.report.style import DARK, LIGHT


def parse(html: str) -> ElementTree.Element:
    """The figure as a tree; fails when it is not well-formed."""
    return ElementTree.fromstring(f"<root>{html}</root>")


def percent(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name].rstrip("%"))


def test_funnel_widths_are_proportional_and_centred():
    steps = [{"name": n, "documents": d, "tokens": t} for n, d, t in (("a", 400, 90), ("b", 300, 30), ("c", 0, 9))]
    rects = [r for r in parse(funnel(steps)).iter("rect") if "data-of" in r.attrib]
    widths = {
        key: [percent(r, "width") for r in rects if r.attrib["data-of"] == key] for key in ("documents", "tokens")
    }
    assert widths["documents"] == pytest.approx([100, 75, 0])
    assert widths["tokens"] == pytest.approx([100, 100 / 3, 10], abs=1e-3)
    for rect in rects:
        assert percent(rect, "x") + percent(rect, "width") / 2 == pytest.approx(50, abs=1e-3)


def test_funnel_counts_what_each_step_removed_and_lives_without_tokens():
    tree = parse(funnel([{"name": "crawl", "documents": 1000}, {"name": "rules", "documents": 640}]))
    assert [cell.text for cell in tree.iter("small")] == ["all", "\u2212360"]
    assert [data.attrib["value"] for data in tree.iter("data")] == ["1000", "640"]


def test_bars_start_at_zero_also_below_it():
    items = [{"label": "gain", "value": 30.0, "low": 20.0, "high": 60.0}, {"label": "loss", "value": -20.0}]
    gain, loss = list(parse(bars(items)).iter("rect"))  # the axis runs from -20 to 60
    assert (percent(gain, "x"), percent(gain, "width")) == pytest.approx((25, 37.5))
    assert (percent(loss, "x"), percent(loss, "width")) == pytest.approx((0, 25))
    whisker = next(g for g in parse(bars(items)).iter("g") if g.attrib["class"] == "whisker")
    assert (percent(whisker[0], "x1"), percent(whisker[0], "x2")) == pytest.approx((50, 100))


def test_bars_of_one_label_stand_together_under_one_heading():
    items = [
        {"label": x, "value": v, "group": g} for g in ("before", "after") for x, v in (("web", 0.7), ("code", 0.3))
    ]
    tree = parse(bars(items, "share"))
    assert [(head.text, head.attrib["rowspan"]) for head in tree.iter("th")] == [("web", "2"), ("code", "2")]
    assert [data.text for data in tree.iter("data")] == ["70.0%", "70.0%", "30.0%", "30.0%"]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_dots_at_the_ends_of_the_axis(value: float):
    row = Dot("stage", value, [max(0, value - 0.01), min(1, value + 0.01)], "text", "c0")
    tree = parse(dots([row], [Mark("majority", 0.25, "25%")], Scale(0, 1), "baselines", "{:.0%}".format))
    assert [percent(circle, "cx") for circle in tree.iter("circle")] == [100 * value]
    shades = [rect for rect in tree.iter("rect") if rect.attrib["class"] == "shade"]
    assert {percent(rect, "width") for rect in shades} == {25.0} and len(shades) == 2


def test_line_chart_places_points_and_keeps_gaps():
    series = [{"name": "loss", "x": [0, 1, 2, 3, 4], "y": [4.0, 3.0, math.nan, 2.0, 0.0]}]
    tree = parse(lines(series, "step", "nats"))
    paths = [path.attrib["d"] for path in tree.iter("path")]
    assert len(paths) == 2
    # y spans 0..4 with 5% of room on both sides, so 4 stands at 0.2/4.4 from the top
    assert paths[0] == f"M0.00,{100 * 0.2 / 4.4:.2f} L25.00,{100 * 1.2 / 4.4:.2f}"
    assert [data.attrib["value"] for data in tree.iter("data")] == ["0.0"]


def test_logarithmic_axis_drops_what_has_no_logarithm_and_spaces_decades_equally():
    tree = parse(lines([{"name": "lr", "x": [1, 2, 3, 4], "y": [1.0, 0.0, 10.0, 100.0]}], "step", "lr", log_y=True))
    first, second = (path.attrib["d"] for path in tree.iter("path"))
    height = [float(point.split(",")[1]) for point in (first[1:], *second[1:].split(" L"))]
    assert height[0] - height[1] == pytest.approx(height[1] - height[2], abs=0.02)


def test_a_right_axis_has_its_own_scale_and_no_grid():
    x = [0, 1, 2]
    series = [
        {"name": "reward", "x": x, "y": [0, 50, 100]},
        {"name": "share", "x": x, "y": [0.2, 0.4, 0.3], "right": 1},
    ]
    tree = parse(lines(series, "step", "reward", right_label="share verified"))
    heights = [[float(p.split(",")[1]) for p in path.attrib["d"][1:].split(" L")] for path in tree.iter("path")]
    low, high = 100 - 100 * 0.05 / 1.1, 100 * 0.05 / 1.1  # 5% of room on both sides, on each axis for itself
    assert heights[0] == pytest.approx([low, 50, high], abs=0.01)
    assert heights[1] == pytest.approx([low, high, 50], abs=0.01)
    ticks = {text.text: percent(text, "y") for text in tree.iter("text") if text.attrib.get("class") == "right"}
    assert ticks["0.4"] == pytest.approx(high, abs=0.01) and ticks["0.3"] == pytest.approx(50, abs=0.01)
    left = [text.text for text in tree.iter("text") if text.attrib.get("text-anchor") == "end"]
    assert len([line for line in tree.iter("line") if line.attrib.get("class") == "grid"]) == len(left)
    assert [span.text for span in tree.findall(".//p[@class='axis-name both']/span")] == [
        "reward",
        "share verified (right)",
    ]


def test_series_that_all_ask_for_the_right_share_the_one_axis():
    one = {"name": "a", "x": [0, 1], "y": [1, 2]}
    assert lines([one | {"right": True}], "x", "y") == lines([one], "x", "y")


def make_step(label: str, value: float, half: float = 0.05, **more: Any) -> Step:
    ci95 = [max(0.0, value - half), min(1.0, value + half)]
    return Step(label, {"stage": f"eval-{label}", "metric": "accuracy", "value": value, "ci95": ci95}, **more)


def test_staircase_stands_where_its_scores_are():
    steps = [make_step("a", 0.0), make_step("b", 0.5, rise=0.5), make_step("c", 1.0, rise=0.5)]
    steps.append(make_step("d", 0.25, rise=-0.75, undone={"kept": 0.0}))
    tree = parse(staircase(steps, [0.1, 0.25], {f"eval-{x}": f"{x}/manifest.json" for x in "abcd"}))
    wide, narrow = tree[0]
    groups = wide.findall(".//g[@data-stage]")
    for index, (group, step) in enumerate(zip(groups, steps, strict=True)):
        point = group.find("circle")
        assert point is not None and percent(point, "cx") == pytest.approx(12.5 + 25 * index)
        assert float(point.attrib["cy"]) == pytest.approx(PLOT * (1 - step.score["value"]))
    limit = wide.find(".//line[@class='limit']")
    assert limit is not None and float(limit.attrib["y1"]) == pytest.approx(0.75 * PLOT)  # the better of two baselines
    risers = [float(r.attrib[end]) for r in wide.findall(".//line[@class='riser']") for end in ("y1", "y2")]
    assert risers == pytest.approx([PLOT, PLOT / 2, PLOT / 2, 0, 0, 0.75 * PLOT])
    bodies = [float(rect.attrib["height"]) for rect in wide.findall(".//rect[@class='body']")]
    assert bodies == pytest.approx([0, PLOT / 2, PLOT, PLOT])  # what was rolled back takes nothing away
    lying = [percent(circle, "cx") for circle in narrow.iter("circle")]
    assert lying == pytest.approx([0, 50, 100, 25])
    assert [link.attrib["href"] for link in narrow.iter("a")] == [f"{x}/manifest.json" for x in "abcd"]


def test_a_staircase_ends_at_a_round_value_above_its_intervals():
    tree = parse(staircase([make_step("a", 0.31, 0.05), make_step("b", 0.02)], [], {"eval-a": None, "eval-b": None}))
    circle = next(tree.iter("circle"))
    assert float(circle.attrib["cy"]) == pytest.approx(PLOT * (1 - 0.31 / 0.4), abs=0.01)
    ticks = [text.text for text in tree[0][0].iter("text") if text.attrib["text-anchor"] == "end"]
    assert ticks == ["0%", "10%", "20%", "30%", "40%"]


def test_nothing_to_draw_is_said():
    assert "No finite points" in lines(
        [{"name": "a", "x": [], "y": []}, {"name": "b", "x": [1], "y": [None]}], "x", "y"
    )
    assert "No items" in bars([]) and "No steps" in funnel([])


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=21, max_size=80))
def test_thinning_keeps_ends_extremes_and_order(values: list[float]):
    run = [(float(i), value) for i, value in enumerate(values)]
    kept = thin(run, 20)
    assert len(kept) <= 20 and kept[0] == run[0] and kept[-1] == run[-1]
    assert set(kept) <= set(run) and kept == sorted(kept)
    assert max(y for _, y in kept) == max(values) and min(y for _, y in kept) == min(values)


def test_a_short_series_is_not_thinned():
    xs = list(range(MAX_POINTS))
    assert broken_runs(xs, xs, log_y=False) == [[(float(x), float(x)) for x in xs]]
    long = list(range(10 * MAX_POINTS))
    assert len(broken_runs(long, long, log_y=False)[0]) <= MAX_POINTS


@settings(deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_lie_inside_and_are_round(low: float, width: float):
    high = low + width
    if not high > low or width < 1e-9 * abs(low):
        return
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), width)
    assert 2 <= len(ticks) <= 11
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert max(steps) - min(steps) <= 1e-6 * max(abs(low), abs(high), 1) + 1e-9


def test_logarithmic_ticks():
    assert log_ticks(0.5, 2000) == pytest.approx([1, 10, 100, 1000])
    assert log_ticks(1.0, 9.0) == pytest.approx([1, 2, 3, 5])
    assert log_ticks(3e11, 2.4e12) == pytest.approx([3e11, 5e11, 1e12, 2e12])
    assert log_ticks(1e6, 1e18) == pytest.approx([1e6, 1e8, 1e10, 1e12, 1e14, 1e16, 1e18])
    assert all(1.2 <= tick <= 1.3 for tick in log_ticks(1.2, 1.3))
    assert log_ticks(7.0, 7.0) == [7.0]


@given(st.floats(-12, 28), st.floats(0.05, 30))
def test_logarithmic_ticks_are_few_inside_and_their_texts_do_not_touch(start: float, decades: float):
    low, high = 10**start, 10 ** (start + decades)
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
    # A page of 500 pixels leaves 350 for the drawing; a character of 12 pixels' height is 7 wide.
    width, texts = 350, tick_texts(ticks)
    places = [width * math.log10(tick / low) / decades for tick in ticks]
    for left, right, a, b in zip(places, places[1:], texts, texts[1:], strict=False):
        assert right - left >= 7 * (len(a) + len(b)) / 2
    written = [float(text) for text in texts if "e" in text]
    assert all(any(value == pytest.approx(tick) for tick in ticks) for value in written)
    assert len(written) == (sum(not 1e-3 <= t < 1e3 for t in ticks) if max(ticks) >= 1e6 or min(ticks) < 1e-3 else 0)


def test_panels_with_logarithmic_axes_show_powers_and_refuse_other_scales():
    series = [{"name": "ladder", "x": [3e11, 6e11, -1, 2.4e12], "y": [3.2, 3.0, 2.9, 2.8]}]
    panel = {"kind": "lines", "title": "t", "x_label": "FLOPs", "y_label": "loss", "series": series}
    tree = parse(render_panel({**panel, "x_scale": "log", "y_scale": "log"}, None))
    first, second = (path.attrib["d"][1:].split(" L") for path in tree.iter("path"))
    places = [float(spot.split(",")[0]) for spot in (*first, *second)]
    assert places == pytest.approx([0, 100 / 3, 100], abs=0.01)  # an eightfold range, once doubled
    texts = [text for text in tree.iter("text") if text.attrib["text-anchor"] == "middle"]
    assert [text.text for text in texts] == ["3e11", "5e11", "1e12", "2e12"]
    assert percent(texts[2], "x") == pytest.approx(100 * math.log(1e12 / 3e11) / math.log(8), abs=0.001)
    names = [line.text for line in tree.iter("p") if "axis-name" in line.attrib.get("class", "")]
    assert names == ["loss (logarithmic)", "FLOPs (logarithmic)"]
    assert "x_scale is linear or log, not" in render_panel({**panel, "x_scale": "lin"}, None)


STAGES = [
    {"name": "world", "fingerprint": "aa" * 8, "artifact": "world-aa", "inputs": {}},
    {
        "name": "curate",
        "fingerprint": "bb" * 8,
        "artifact": "curate-bb",
        "inputs": {
            "crawl": [{"stage": "world", "fingerprint": "aa" * 8}, {"path": "data/<x>.warc", "fingerprint": "ff" * 8}]
        },
    },
    {
        "name": "tokens",
        "fingerprint": "cc" * 8,
        "artifact": "tokens-cc",
        "inputs": {
            "documents": [{"stage": "curate", "fingerprint": "00" * 8}],
            "truth": [{"stage": "world", "fingerprint": "aa" * 8}],
        },
    },
]


def test_lineage_graph_reads_every_input_and_marks_the_stale_one():
    tree = parse(lineage_graph(STAGES))
    titles = [title.text for path in tree.iter("path") for title in path.iter("title")]
    assert sorted(titles) == [
        "curate reads <x>.warc as crawl",
        "curate reads world as crawl",
        "tokens reads curate as documents (made anew since: stale)",
        "tokens reads world as truth",
    ]
    assert [link.attrib["href"] for link in tree.iter("a")] == [f"{s['artifact']}/manifest.json" for s in STAGES]
    assert [text.text for text in tree.iter("text")][1] == "aa" * 4


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("round1.generate", "round1.generate"),
        ("round12.dev-after", "round12.dev-after"),
        ("a" * 18, "a" * 16 + "\u2026"),
    ],
)
def test_lineage_graph_shows_names_of_rounds_whole(name: str, shown: str):
    stage = {"name": name, "fingerprint": "aa" * 8, "artifact": None, "inputs": {}}
    tree = parse(lineage_graph([stage]))
    assert next(text.text for text in tree.iter("text")) == shown
    assert next(title.text for title in tree.iter("title")) == name


def test_lineage_graph_goes_left_to_right_without_overlap():
    chain = [
        {
            "name": f"s{i}",
            "fingerprint": f"{i:016x}",
            "artifact": None,
            "inputs": {"x": [{"stage": f"s{j}", "fingerprint": f"{j:016x}"} for j in {i // 3, i - 1} if 0 <= j < i]},
        }
        for i in range(20)
    ]
    nodes, edges = read_graph(chain)
    columns = place(nodes, edges)
    assert all(nodes[edge.source].column < nodes[edge.target].column for edge in edges)
    for column in columns:
        boxes = sorted(node.y for node in column if node.name is not None)
        assert all(b - a >= HEIGHT for a, b in pairwise(boxes))
    assert WIDTH > 0 and min(node.y for node in nodes.values()) == pytest.approx(0)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_heat_map_has_a_cell_for_each_share_in_its_place():
    drawn = heat_map(["512", "4096"], ["0%", "50%", "100%"], [[1.0, 0.5], [0.25, None], [0.0, 0.95]], "length", "depth")
    root = ElementTree.fromstring(drawn)
    boxes = [(b.attrib["x"], b.attrib["width"], float(b.attrib["y"]), b.attrib["fill"]) for b in root.iter("rect")]
    assert [(x, y / CELL) for x, _, y, _ in boxes] == [
        *(("0.000%", 0), ("50.000%", 0), ("0.000%", 1), ("0.000%", 2), ("50.000%", 2))
    ]
    assert {width for _, width, _, _ in boxes} == {"50.000%"}
    assert [fill for *_, fill in boxes] == [cell_colour(share) for share in (1.0, 0.5, 0.25, 0.0, 0.95)]
    texts = [text.text for text in root.iter("text")]
    assert texts == ["100", "50", "25", "0", "95", "512", "4096", "0%", "50%", "100%"]
    places = [text.attrib["x"] for text in root.iter("text")][:7]
    assert places == ["25.000%", "75.000%", "25.000%", "25.000%", "75.000%", "25.000%", "75.000%"]
    titles = [title.text for title in root.iter("title")]
    assert titles[2] == "depth 50%, length 512: 25.0%"
    for wrong in ([[1.0, 0.5]], [[1.0], [0.5], [0.1]], [[1.5, 0.5], [0, 0], [0, 0]]):
        with pytest.raises(ValueError, match="expected"):
            heat_map(["512", "4096"], ["0%", "50%", "100%"], wrong, "length", "depth")


def test_numbers_of_a_heat_map_stand_out_from_every_share():
    """Dark on light in both themes: 9 to 1."""
    for hundredth in range(101):
        ground = luminance(cell_colour(hundredth / 100))
        assert (ground + 0.05) / (luminance(INK) + 0.05) >= 9
    assert len({cell_colour(share) for share in (0.0, 0.5, 0.9, 1.0)}) == 4


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_of_text_and_charts(theme: dict[str, str]):
    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(theme[a]), luminance(theme[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("paper", "card"):
        for text in ("ink", "quiet", "link", "good", "bad", "open"):
            assert contrast(text, ground) >= 4.5, (text, ground)
        for index in range(NUM_COLOURS):
            assert contrast(f"c{index}", ground) >= 3, (index, ground)
    for verdict in ("good", "bad", "open"):
        assert contrast(verdict, f"{verdict}-soft") >= 4.5, verdict

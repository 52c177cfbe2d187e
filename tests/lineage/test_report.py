"""The report: report.json by its schema, the page by parsing it and holding it against report.json."""

import copy
import io
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from puna.lineage.report import build_report, report_card, write_report
from puna.lineage.report.formats import format_bytes, format_number, format_score, format_seconds
from puna.lineage.report.headline import gain_line
from puna.lineage.report.markup import artifact_href, tag
from puna.lineage.report.page import render_page
from puna.lineage.report.panels import MAX_SAMPLES, MAX_TEXT, merge_samples, render_panel
from puna.lineage.report.passk import DODGE, EDGE
from puna.lineage.report.steps import lap_steps
from tests.lineage.example_lap import (
    ATTACK,
    BASELINE,
    CLIMB,
    MODELS,
    PASS,
    PREFERENCE,
    example_manifests,
    example_recipe,
    long_manifests,
    long_recipe,
    manifest,
)


@pytest.fixture(scope="module")
def lap(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The written report.json, read back, and the page."""
    manifests = example_manifests()
    page = write_report(build_report(manifests, example_recipe()), manifests, tmp_path_factory.mktemp("run") / "report")
    return json.loads((page.parent / "report.json").read_text()), page.read_text()


def tree_of(page: str) -> ElementTree.Element:
    """The page as XML; a prompt that breaks out of its element would break this."""
    return ElementTree.fromstring(page.removeprefix("<!doctype html>"))


def text_of(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


def by_id(tree: ElementTree.Element, id_: str) -> ElementTree.Element:
    return next(element for element in tree.iter() if element.attrib.get("id") == id_)


def test_report_json_has_the_promised_shape(lap: tuple[dict[str, Any], str]):
    report, _ = lap
    manifests = example_manifests()
    assert report["recipe"] == example_recipe()
    for stage, made in zip(report["stages"], manifests, strict=True):
        assert stage["name"] == made["stage"]
        assert all(stage[key] == made[key] for key in ("seconds", "peak_memory_bytes", "fingerprint", "metrics"))
    expected = [{"stage": made["stage"], **score} for made in manifests for score in made["scores"]]
    assert report["scores"] == expected
    assert {"stage", "task", "metric", "value", "ci95", "n", "headline"} <= set(report["scores"][0])
    assert report["total_seconds"] == pytest.approx(18.4 + 31.2 + 6.1 + 4.0 + 247.9 + 88.0 + 9.3 + 38.5 + 44.2)
    assert report["peak_memory_bytes"] == 1_702_000_000
    assert report["missing"] == ["export"]
    assert report["environment"]["commit"] == "3f2c9a17d0be"
    assert report["finished"] == "2026-11-21T09:18:09"  # all began at 09:14:02, the longest took 247.9 s


def test_page_is_self_contained_and_small(lap: tuple[dict[str, Any], str]):
    _, page = lap
    assert len(page.encode()) < 1_500_000
    assert not re.search(r"https?://|//[a-z]+\.|url\(|@import|<link|<img|<iframe", page)
    sources = []

    class Reader(HTMLParser):
        def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
            sources.extend(value for key, value in attrs if key in ("src", "href", "action", "data", "srcset"))

    Reader().feed(page)
    assert sources and all(s and (s.startswith("#") or s.endswith(("manifest.json", "report.json"))) for s in sources)


def test_every_score_on_the_page_equals_report_json_and_links_to_its_artifact(lap: tuple[dict[str, Any], str]):
    report, page = lap
    artifacts = {stage["name"]: stage["artifact"] for stage in report["stages"]}
    rows = list(by_id(tree_of(page), "scores").iter("tr"))[1:]
    assert len(rows) == len(report["scores"])
    found = {}
    for row in rows:
        cells = list(row)
        value = next(cells[3].iter("data"))
        href = next(cells[3].iter("a")).attrib["href"]
        key = (text_of(cells[2]), text_of(cells[0]).removesuffix(" \u2605"), text_of(cells[1]))
        found[key] = (float(value.attrib["value"]), value.text, href, int(next(cells[5].iter("data")).attrib["value"]))
    for s in report["scores"]:
        href = f"{artifacts[s['stage']]}/manifest.json"
        assert found[s["stage"], s["task"], s["metric"]] == (
            s["value"],
            format_score(s["metric"], s["value"]),
            href,
            s["n"],
        )


def test_headline_figure_shows_stages_and_baselines(lap: tuple[dict[str, Any], str]):
    report, page = lap
    blocks = [e for e in by_id(tree_of(page), "results").iter("section") if e.attrib.get("class") == "task"]
    assert [text_of(block.find(".//h3")) for block in blocks] == list(BASELINE)
    for block, (task, baselines) in zip(blocks, BASELINE.items(), strict=True):
        values = {s["stage"]: s["value"] for s in report["scores"] if s["task"] == task and s["metric"] == "accuracy"}
        drawn = [float(circle.attrib["cx"].rstrip("%")) for circle in block.iter("circle")]
        assert drawn == pytest.approx([100 * values["eval-base"], 100 * values["eval-chat"]], abs=1e-3)
        shown = [float(data.attrib["value"]) for data in block.iter("data")]
        assert shown == [values["eval-chat"], values["eval-base"], values["eval-chat"], *baselines]
        shade = next(rect for rect in block.iter("rect") if rect.attrib["class"] == "shade")
        assert float(shade.attrib["width"].rstrip("%")) == pytest.approx(100 * max(baselines), abs=1e-3)
    assert "+20.8 points over eval-base" in text_of(blocks[0])


def test_costs_and_metrics_are_those_of_report_json(lap: tuple[dict[str, Any], str]):
    report, page = lap
    tree = tree_of(page)
    for stage in report["stages"]:
        card = by_id(tree, f"stage-{stage['name']}")
        values = [data.attrib["value"] for data in card.iter("data")]
        expected = [stage["seconds"], stage["peak_memory_bytes"], *stage["metrics"].values()]
        assert [float(value) for value in values[: len(expected)]] == expected
    header = [data.attrib["value"] for data in next(tree.iter("header")).iter("data")]
    assert [float(value) for value in header] == [report["total_seconds"], report["peak_memory_bytes"]]


def test_markup_in_the_data_stays_text(lap: tuple[dict[str, Any], str]):
    _, page = lap
    tree = tree_of(page)
    assert ATTACK in text_of(by_id(tree, "samples")) and ATTACK in text_of(by_id(tree, "stage-curate"))
    assert len(list(tree.iter("script"))) == 1 and not [b for b in tree.iter("b") if text_of(b) == "bold"]


def test_hostile_names_everywhere_leave_the_page_whole():
    evil = "\"><script>x</script>&amp;\x00\ud800'"
    one = manifest(
        evil,
        evil,
        1.0,
        1,
        {evil: evil + "/"},
        metrics={evil: 1.0},
        artifact=f"javascript:{evil}",
        scores=[
            {
                "task": evil,
                "metric": evil,
                "value": 0.5,
                "ci95": [0.4, 0.6],
                "n": 9,
                "headline": True,
                "settings": {evil: evil},
            }
        ],
        panels=[
            {"kind": evil, "title": evil},
            {"kind": "table", "title": evil, "columns": [evil], "rows": [[evil]], "note": evil},
            {"kind": "funnel", "title": evil, "steps": [{"name": evil, "documents": 3}]},
            {"kind": "bars", "title": evil, "unit": evil, "items": [{"label": evil, "value": 1, "group": evil}]},
            {
                "kind": "lines",
                "title": evil,
                "x_label": evil,
                "y_label": evil,
                "series": [{"name": evil, "x": [1], "y": [2]}],
            },
            {
                "kind": "samples",
                "title": evil,
                "items": [{"id": evil, "prompt": evil, "answer": evil, "expected": evil, "verdict": evil}],
            },
        ],
        environment={evil: evil},
    )
    report = build_report([one], {"name": evil, "description": evil, "stages": {evil: {}}})
    page = render_page(report, [one])
    page.encode()
    tree = tree_of(page)
    assert len(list(tree.iter("script"))) == 1
    assert all(":" not in link.attrib["href"].split("/")[0] for link in tree.iter("a"))


def test_samples_of_several_stages_stand_beside_each_other(lap: tuple[dict[str, Any], str]):
    _, page = lap
    cards = list(by_id(tree_of(page), "samples").iter("article"))
    stages = [[text_of(box.find("p/span/b")) for box in card.findall("div/div")] for card in cards]
    assert stages == [["eval-base", "eval-chat"]] * 3 + [["eval-base"]]
    first = text_of(cards[0])
    assert first.count("How many eggs did she have?") == 1 and "expected 47" in first
    assert first.index("\u2717 wrong") < first.index("The answer is 22") < first.index("\u2713 correct")


def test_merging_puts_shared_items_first_and_loses_no_answer():
    def panel(*rows: tuple[str, str]) -> dict[str, Any]:
        return {
            "items": [{"id": id_, "prompt": "p", "expected": 1, "answer": a, "verdict": "wrong"} for id_, a in rows]
        }

    merged = merge_samples(
        [("base", panel(("x", "1"), ("y", "2"))), ("chat", panel(("y", "3"), ("z", "4"), ("y", "5")))]
    )
    answers = {sample.id: {stage: item["answer"] for stage, item in sample.answers.items()} for sample in merged}
    assert list(answers) == ["y", "x", "z"]
    assert answers == {"y": {"base": "2", "chat": "3", "chat (2)": "5"}, "x": {"base": "1"}, "z": {"chat": "4"}}


def test_a_stage_that_saw_another_prompt_shows_it():
    rows = [
        {"id": 1, "expected": 2, "answer": "2", "verdict": "correct", "prompt": p} for p in ("Q: 1+1?", "1+1, please")
    ]
    manifests = [
        manifest(name, "evaluate", 1.0, 1, panels=[{"kind": "samples", "title": "s", "items": [row]}])
        for name, row in zip(("base", "chat"), rows, strict=True)
    ]
    tree = tree_of(render_page(build_report(manifests, {"name": "x"}), manifests))
    assert [text_of(details.find("div")) for details in tree.iter("details")] == ["1+1, please"]


def test_a_stage_without_artifact_and_panels_that_cannot_be_drawn_are_named(lap: tuple[dict[str, Any], str]):
    _, page = lap
    lap_text = text_of(by_id(tree_of(page), "lap"))
    assert "10exportno artifactNot finished" in lap_text
    assert "kind 'hologram', ValueError" in lap_text and "kind 'funnel', KeyError: 'steps'" in lap_text


def test_machine_and_stages_made_elsewhere_are_named():
    one, two = (manifest(name, name, 1.0, 1) for name in ("early", "late"))
    for_all = {"platform": "Linux-6.1.0-x86_64-with-glibc2.36", "machine": "x86_64", "cores": 2, "commit": "abc"}
    one["environment"], two["environment"] = for_all, {**for_all, "torch": "2.13.0"}
    same = text_of(tree_of(render_page(build_report([one, two], {"name": "x", "seed": 7}), [one, two])))
    assert "machineLinux x86_64, 2 cores" in same and "seed7" in same and "another environment" not in same
    one["environment"] = {**for_all, "commit": "def"}
    moved = text_of(tree_of(render_page(build_report([one, two], {"name": "x"}), [one, two])))
    assert "Made in another environment (see their manifests): early." in moved


def test_an_empty_run_has_a_page():
    report = build_report([], {"name": "nothing", "stages": {"world": {}}})
    text = text_of(tree_of(render_page(report, [])))
    assert "0 of 1" in text and "No headline score yet" in text and "No stage has finished" in text
    assert (report["total_seconds"], report["peak_memory_bytes"], report["missing"]) == (0, 0, ["world"])


def test_values_that_are_not_finite_become_null(tmp_path: Path):
    bad = manifest("pretrain", "pretrain", 2.0, 1, metrics={"loss": float("nan")})
    bad["scores"] = [{"task": "t", "metric": "accuracy", "value": float("inf"), "ci95": None, "n": 3, "headline": True}]
    original = copy.deepcopy(bad["scores"])
    page = write_report(build_report([bad], {"name": "x"}), [bad], tmp_path)
    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["stages"][0]["metrics"] == {"loss": None} and report["scores"][0]["value"] is None
    assert bad["scores"] == original
    tree_of(page.read_text())


def test_heavy_panels_stay_light():
    table = {"kind": "table", "title": "t", "columns": ["a", "b"], "rows": [[i, "word " * 20] for i in range(20_000)]}
    items = [
        {"id": i, "prompt": "p" * 9000, "answer": "a" * 9000, "expected": "", "verdict": "wrong"} for i in range(500)
    ]
    x = list(range(100_000))
    curves = {
        "kind": "lines",
        "title": "l",
        "x_label": "x",
        "y_label": "y",
        "series": [{"name": "n", "x": x, "y": x}] * 4,
    }
    heavy = manifest("s", "s", 1.0, 1, panels=[table, {"kind": "samples", "title": "s", "items": items}, curves])
    page = render_page(build_report([heavy], {"name": "x"}), [heavy])
    assert len(page.encode()) < 400_000
    assert "and 19,800 more rows" in page and f"and {500 - MAX_SAMPLES} more samples" in page
    assert "a" * MAX_TEXT + "\u2026 (7,500 more characters)" in page and "a" * (MAX_TEXT + 1) not in page


def test_table_cells_by_type():
    panel = {
        "kind": "table",
        "title": "t",
        "columns": ["n", "mixed"],
        "rows": [[1, "x"], [None, True], [2.5, {"k": 1}]],
    }
    rows = list(ElementTree.fromstring(render_panel(panel, None)).iter("tr"))
    assert [cell.attrib.get("class") for cell in rows[1]] == ["value", None]
    assert [[text_of(cell) for cell in row] for row in rows[1:]] == [
        ["1", "x"],
        ["\u2013", "true"],
        ["2.5", '{"k": 1}'],
    ]


def test_numbers_as_people_read_them():
    expected = {
        0: "0",
        41250: "41,250",
        0.70123456: "0.7012",
        8713.4: "8,713",
        3e-5: "3e\u22125",
        -0.25: "\u22120.25",
        None: "\u2013",
    }
    assert {value: format_number(value) for value in expected} == expected
    times = {0.42: "0.4 s", 41.2: "41 s", 59.7: "1 min 00 s", 247.9: "4 min 08 s", 7439: "2 h 04 min"}
    assert {value: format_seconds(value) for value in times} == times
    sizes = {512: "512 B", 1_204_000_000: "1.20 GB", 312_000_000: "312 MB", 61_200_411: "61.2 MB"}
    assert {value: format_bytes(value) for value in sizes} == sizes
    assert (format_score("accuracy", 0.8633), format_score("bits_per_byte", 0.8633)) == ("86.3%", "0.8633")
    assert (format_score("accuracy", 0.0), format_score("pass@1", 1.0)) == ("0.0%", "100.0%")


def test_markup_escapes_what_is_not_markup():
    assert tag("p", "<&>", tag("b", 1), None, [" ", 'x"'], class_='a"b') == (
        '<p class="a&quot;b">&lt;&amp;&gt;<b>1</b> x&quot;</p>'
    )
    assert artifact_href("artifacts/a b#c") == "artifacts/a%20b%23c/manifest.json" and artifact_href(None) is None


def test_report_card_names_the_best_baseline(lap: tuple[dict[str, Any], str]):
    console = Console(width=140, file=io.StringIO(), color_system=None)
    console.print(report_card(lap[0], Path("runs/nano/report/report.html")))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"village-choice +nearest item 31\.8% +65\.5% \(61\.7 to 69\.3\) +86\.3% \(83\.6 to 89\.1\)", text)
    assert re.search(r"village-hard .* 0\.0% .* 21\.4%", text)
    assert "8 min 08 s, peak memory 1.70 GB" in text and "not finished: export" in text
    assert "runs/nano/report/report.html" in text


@pytest.mark.parametrize(("text", "wide"), [("short", False), ("x" * 80, True)])
def test_tables_with_long_texts_take_the_whole_width(text: str, wide: bool) -> None:
    panel = {"kind": "table", "title": "t", "columns": ["a", "b", "c"], "rows": [["1", "2", text]]}
    assert ('class="panel wide"' in str(render_panel(panel, None))) is wide


def test_a_long_prompt_shows_its_end_and_folds_the_whole() -> None:
    prompt = "first example. " * 60 + "At last the question?"
    item = {"id": "a", "prompt": prompt, "answer": "x", "expected": "y", "verdict": "wrong"}
    html = str(render_panel({"kind": "samples", "title": "t", "items": [item]}, None))
    shown, _, folded = html.partition("<details")
    assert "At last the question?" in shown and shown.count("first example.") < 40
    assert folded.count("first example.") == 60 and f"{len(prompt):,} characters" in folded


@pytest.mark.parametrize(("metric", "worse"), [("accuracy", False), ("bits_per_byte", True)])
def test_a_rise_is_a_gain_or_a_loss_by_the_metric(metric: str, worse: bool) -> None:
    rows = [
        {"stage": s, "metric": metric, "value": v, "ci95": [v - 0.1, v + 0.1]}
        for s, v in (("base", 0.5), ("chat", 0.7))
    ]
    assert ('class="gain less"' in str(gain_line(rows))) is worse


@pytest.fixture(scope="module")
def long_lap() -> tuple[dict[str, Any], str]:
    """The report of the lap with seven evaluations, and its page."""
    manifests = long_manifests()
    report = build_report(manifests, long_recipe())
    return report, render_page(report, manifests)


def test_the_staircase_has_a_step_for_each_model_with_what_it_gained(long_lap: tuple[dict[str, Any], str]):
    blocks = by_id(tree_of(long_lap[1]), "results").findall(".//section[@class='task']")
    assert [text_of(block.find(".//h3")) for block in blocks] == list(CLIMB)
    for block, values in zip(blocks, CLIMB.values(), strict=True):
        steps = block.findall(".//div[@class='wide-only']//g[@data-stage]")
        assert [step.attrib["data-stage"] for step in steps] == list(MODELS)
        assert [float(step.attrib["data-value"]) for step in steps] == list(values)
        texts = [[text.text for text in step.iter("text")] for step in steps]
        rises = [f"{100 * (b - a):+.1f}".replace("-", "\u2212") for a, b in itertools.pairwise(values)]
        assert [text[1] for text in texts[1:]] == rises and len(texts[0]) == 1
        assert [text[2:] for text in texts] == [[]] * 6 + [["rolled back"]]
        names = [text_of(foot) for foot in block.findall(".//div[@class='feet']/div")]
        assert names == list(MODELS.values())
        large = block.find(".//p[@class='large']//data")
        assert float(large.attrib["value"]) == values[5]  # the last round was rolled back: the lap ended with round 1
    assert "+27.3 points over pretrain" in text_of(blocks[0]) and "best baseline: nearest item 31.8%" in text_of(
        blocks[0]
    )
    last = blocks[0].findall(".//g[@data-stage]")[-1]
    assert last.attrib["class"] == "step undone" and "gain \u22120.021, p 0.048" in text_of(last.find("title"))


def test_a_step_is_coloured_only_where_its_difference_is_clear(long_lap: tuple[dict[str, Any], str]):
    scores = [s for s in long_lap[0]["scores"] if s["task"] == "village-hard"]
    verdicts = [step.verdict for step in lap_steps([s for s in scores if s["headline"]], long_lap[0])]
    # +21.4 and +6.0 of 500 items are clear; +4.8 with 95% intervals of 3.7 points each is not, nor -5.2
    assert verdicts == ["open", "better", "open", "open", "better", "open", "open"]


def evaluation(name: str, model: str, value: float, **settings: Any) -> dict[str, Any]:
    ci95 = [value - 0.04, value + 0.04]
    score = {"task": "t", "metric": "accuracy", "value": value, "ci95": ci95, "n": 500, "headline": True}
    return manifest(name, "evaluate", 1.0, 1, {"model": model}, scores=[{**score, "settings": settings}])


def keep(name: str, before: str, after: str, kept: float) -> dict[str, Any]:
    inputs = {"before": before, "after": after}
    return manifest(name, "keep", 1.0, 1, inputs, metrics={"kept": kept, "gain": kept - 0.5, "p_value": 0.01})


def steps_of(*manifests: dict[str, Any]) -> list[tuple[str, float | None, bool]]:
    report = build_report(manifests, {"name": "x"})
    steps = lap_steps(report["scores"], report)
    return [(step.label, None if step.rise is None else round(step.rise, 3), step.stands) for step in steps]


def test_a_model_is_one_step_unless_it_was_asked_in_another_way():
    made = [evaluation("e1", "sft", 0.5), evaluation("e2", "sft", 0.51), evaluation("e3", "sft", 0.6, shots=5)]
    assert steps_of(*made) == [("sft", None, True), ("sft", 0.1, True)]
    report = build_report(made, {"name": "x"})
    assert [step.also for step in lap_steps(report["scores"], report)] == [None, "e3"]


def test_after_a_rollback_the_lap_goes_on_from_what_stood():
    made = [
        evaluation("e0", "sft", 0.5),
        evaluation("e1", "round1.dpo", 0.3),
        keep("round1.keep", "sft", "round1.dpo", 0.0),
        evaluation("e2", "round2.dpo", 0.6),
        keep("round2.keep", "round1.keep", "round2.dpo", 1.0),
        evaluation("e3", "round2.keep", 0.6),
    ]
    # what round 2 kept is the model that round 2 made: no step of its own
    assert steps_of(*made) == [("sft", None, True), ("round1.dpo", -0.2, False), ("round2.dpo", 0.1, True)]


def test_an_evaluation_of_what_a_rolled_back_round_handed_on_says_so():
    made = [evaluation("e0", "sft", 0.5), keep("round1.keep", "sft", "round1.dpo", 0.0)]
    made.append(evaluation("e1", "round1.keep", 0.5))
    assert steps_of(*made) == [("sft", None, True), ("round1.keep", 0.0, False)]
    page = render_page(build_report(made, {"name": "x"}), made)
    assert text_of(by_id(tree_of(page), "results")).count("rolled back") >= 2  # a lap of two evaluations as well


def test_pass_at_k_is_a_curve_and_no_headline(long_lap: tuple[dict[str, Any], str]):
    _, page = long_lap
    results = by_id(tree_of(page), "results")
    assert "village-hard-samples" not in [text_of(h3) for h3 in results.iter("h3")]
    card = results.find(".//div[@class='card passk']")
    assert [text_of(h4) for h4 in card.iter("h4")] == ["village-hard-samples"]
    points = card.findall(".//g[@data-metric]")
    assert [float(p.attrib["data-value"]) for p in points] == [v for values in PASS.values() for v in values]
    for index, values in enumerate(PASS.values()):
        circles = [p.find("circle") for p in points[5 * index : 5 * index + 5]]
        shift = DODGE * (index - 2.5)  # six curves beside each other
        places = [float(c.attrib["cx"].rstrip("%")) for c in circles]
        assert places == pytest.approx([EDGE + (100 - 2 * EDGE) * k / 4 + shift for k in range(5)], abs=1e-3)
        heights = [float(c.attrib["cy"].rstrip("%")) for c in circles]
        assert heights == pytest.approx([100 * (1 - v / 0.8) for v in values], abs=1e-3)  # the axis ends at 80%
    marks = [text.text for text in card.iter("text") if text.attrib["text-anchor"] == "middle"]
    assert marks == ["1", "2", "4", "8", "16"]
    legend = [text_of(span) for span in card.findall(".//p[@class='legend']/span")]
    assert legend[0] == "sft21.1% \u2192 53.1%" and legend[-1] == "round2.average (rolled back)30.9% \u2192 52.5%"
    rows = [text_of(row) for row in by_id(tree_of(page), "scores").iter("tr")]
    assert sum("pass@16" in row for row in rows) == len(PASS)


def test_models_keep_their_colour_from_curve_to_answer(long_lap: tuple[dict[str, Any], str]):
    tree = tree_of(long_lap[1])
    group = by_id(tree, "results").findall(".//g[@data-metric]")[0]
    box = by_id(tree, "samples").findall(".//div[@class='answers']/div")[1]
    assert text_of(box.find("p/span/b")) == "eval-sft"
    assert group.attrib["class"].split()[1] == box.find(".//rect").attrib["class"].split()[1]


def test_preference_accuracy_stands_against_length_alone(long_lap: tuple[dict[str, Any], str]):
    tree = tree_of(long_lap[1])
    figure = by_id(tree, "results").find(".//table[@class='chart bars preference']")
    heads = [text_of(head) for head in figure.iter("th")]
    assert heads == [f"{stage}length alone {100 * values[1]:.1f}%" for stage, values in PREFERENCE.items()]
    shown = [float(data.attrib["value"]) for data in figure.iter("data")]
    assert shown == [value for accuracy, _, truth in PREFERENCE.values() for value in (accuracy, truth)]
    bars = [float(rect.attrib["width"].rstrip("%")) for rect in figure.iter("rect")]
    assert bars == pytest.approx([100 * value for value in shown], abs=1e-3)
    marks = [line for line in figure.iter("line") if line.attrib.get("class") == "mark-line"]
    places = [float(mark.attrib["x1"].rstrip("%")) for mark in marks]
    assert places == pytest.approx([100 * values[1] for values in PREFERENCE.values() for _ in range(2)], abs=1e-3)


def test_a_lap_without_them_has_no_curves_and_no_preferences(lap: tuple[dict[str, Any], str]):
    text = text_of(by_id(tree_of(lap[1]), "results"))
    assert "pass@K" not in text and "Preference accuracy" not in text and "rolled back" not in text


def test_many_answers_stand_below_their_prompt_and_are_cut_short(long_lap: tuple[dict[str, Any], str]):
    samples = by_id(tree_of(long_lap[1]), "samples")
    cards = list(samples.iter("article"))
    assert {card.attrib["class"] for card in cards} == {"sample many"}
    for card in cards:
        assert [text_of(box.find("p/span/b")) for box in card.findall("div/div")] == list(MODELS)
    rambling = cards[0].findall("div/div")[4].find("div[@class='answer']")
    assert len(text_of(rambling.find("div"))) <= 281 and "827 characters" in text_of(rambling.find("details/summary"))
    assert text_of(rambling.find("details/div")).count("The basket") == 12


def test_report_card_of_a_long_lap_fits_a_hundred_columns(long_lap: tuple[dict[str, Any], str]):
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(report_card(long_lap[0]))
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, shown)) <= 100
    assert [line.split()[0] for line in shown[2:9]] == list(MODELS.values())
    assert re.search(r"^best baseline +nearest item 31\.8% +nearest item 10\.6% +nearest item 5\.0%", shown[1])
    assert re.search(r"^dpo +90\.2% \(87\.8 to 92\.6\) +86\.8% .* +25\.8% \(22\.0 to 29\.6\)", shown[5])
    assert shown[8].startswith("round2.average rolled back  92.2% (")


def test_report_card_of_many_tasks_puts_three_beside_each_other():
    manifests = long_manifests()
    for made in manifests:
        more = [{**s, "task": f"{s['task']}-{i}"} for s in made["scores"] if s["metric"] == "accuracy" for i in (2, 3)]
        made["scores"] = [*made["scores"], *more]
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(report_card(build_report(manifests, long_recipe())))
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, shown)) <= 100 and sum(line.startswith("model of") for line in shown) == 3
    assert sum(line.startswith("sft-rs ") and line.count(" to ") == 3 for line in shown) == 3


def test_a_long_table_is_folded_behind_its_first_rows() -> None:
    columns = ["name", "value"]
    short, long = (
        str(render_panel({"kind": "table", "title": "T", "columns": columns, "rows": rows}, None))
        for rows in ([[f"row-{i}", i] for i in range(25)], [[f"row-{i}", i] for i in range(26)])
    )
    assert "<details" not in short and "row-24" in short
    head, _, fold = long.partition("<details")
    assert "row-19" in head and "row-20" not in head
    assert "6 more rows" in fold and all(f"row-{i}" in fold for i in range(20, 26))

"""The stage `annotate`: annotators err on samples as often as they say, whatever the order of the rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.world.annotate import AnnotateConfig, run
from puna.world.annotators import ANNOTATORS, STRENGTHS

RIGHT, WRONG, OTHER = "2+2=4. The answer is 4.", "2+2=5. The answer is 5.", "2+2=6. The answer is 6."


def judged(identity: str, *samples: tuple[str, Any]) -> dict[str, Any]:
    """A row of a judge stage."""
    return {
        "id": identity,
        "messages": [{"role": "user", "content": f"What is 2+2, {identity}?"}],
        "task": "village-word",
        "kind": "number",
        "answer": "4",
        "samples": [{"text": t, "verdict": v, "score": None, "finish": "stop"} for t, v in samples],
    }


def mixed(count: int) -> list[dict[str, Any]]:
    """Rows with one right and two wrong samples, all of one length."""
    return [judged(f"row-{i}", (RIGHT, "correct"), (WRONG, "wrong"), (OTHER, "error")) for i in range(count)]


def annotated(folder: Path, rows: list[dict[str, Any]], seed: int = 3, **settings: float) -> StageOutput:
    """Run the stage on rows; its output is read back from files."""
    source = folder / "judged"
    source.mkdir(parents=True)
    write_jsonl(source / "judged.jsonl", rows)
    out = StageOutput(folder / "out", seed=seed)
    run(AnnotateConfig(**settings), Inputs({"judged": source}), out)
    return out


def preferences(out: StageOutput) -> list[dict[str, Any]]:
    return list(read_jsonl(out.path / "preferences.jsonl"))


def test_rows_have_the_form_of_the_preferences_of_a_world(tmp_path: Path) -> None:
    out = annotated(tmp_path, mixed(50))
    rows = preferences(out)
    assert len(rows) == len({row["id"] for row in rows}) == out.metrics["num_pairs"] == 50
    for row, source in zip(rows, mixed(50), strict=True):
        names = "id prompt chosen rejected annotator strength error source task"
        assert list(row) == names.split()
        assert row["prompt"] == source["messages"] and row["task"] == "village-word"
        assert row["source"] == "world/annotate" and row["strength"] in STRENGTHS
        assert {row["chosen"], row["rejected"]} < {RIGHT, WRONG, OTHER} and row["chosen"] != row["rejected"]
        assert row["error"] == (row["rejected"] == RIGHT)


def test_a_file_is_read_like_its_folder(tmp_path: Path) -> None:
    folder = annotated(tmp_path / "a", mixed(9))
    out = StageOutput(tmp_path / "b", seed=3)
    run(AnnotateConfig(), Inputs({"judged": tmp_path / "a" / "judged" / "judged.jsonl"}), out)
    assert preferences(out) == preferences(folder)


def test_measured_error_rates_are_near_the_stated_ones(tmp_path: Path) -> None:
    out = annotated(tmp_path, mixed(6000), contrast=1.0)
    (panel,) = out.panels
    assert [row[:2] for row in panel["rows"]] == [[a.name, a.error_rate] for a in ANNOTATORS]
    found = preferences(out)
    for name, stated, measured, errors, pairs, ties in panel["rows"]:
        mine = [row for row in found if row["annotator"] == name]
        low, high = binom.interval(0.999, len(mine), stated)  # texts of one length, in random order: no bias left
        assert low <= sum(row["error"] for row in mine) == errors <= high
        assert (pairs, ties, measured) == (len(mine), 0, f"{errors / pairs:.3f}") and pairs > 1300
    rate = sum(row["error"] for row in found) / len(found)
    assert out.metrics["error_rate"] == rate and abs(rate - 0.125) < 0.02
    assert out.metrics["ties"] == 0


def test_biases_show_where_the_worse_samples_are_long(tmp_path: Path) -> None:
    long = f"Let me think about it for a while. {WRONG}"
    out = annotated(tmp_path, [judged(f"r{i}", (RIGHT, "correct"), (long, "wrong")) for i in range(6000)])
    for row, annotator in zip(out.panels[0]["rows"], ANNOTATORS, strict=True):
        low, high = binom.interval(0.999, row[4], annotator.error_rate + annotator.length_bias)
        assert low <= row[3] <= high


def test_contrast_is_the_share_of_pairs_that_must_differ(tmp_path: Path) -> None:
    # Of three pairs one is of two wrong samples: a third of the free draws are ties.
    for contrast, share in ((1.0, 0.0), (0.7, 0.1), (0.0, 1 / 3)):
        out = annotated(tmp_path / str(contrast), mixed(3000), contrast=contrast)
        low, high = binom.interval(0.999, 3000, share)
        assert low <= out.metrics["ties"] <= high
        ties = [row for row in preferences(out) if RIGHT not in (row["chosen"], row["rejected"])]
        assert len(ties) == out.metrics["ties"] and not any(row["error"] for row in ties)


def test_rows_are_judged_alone(tmp_path: Path) -> None:
    rows = mixed(200)
    forward, backward = annotated(tmp_path / "a", rows), annotated(tmp_path / "b", rows[::-1])
    few = annotated(tmp_path / "c", rows[50:60])
    assert preferences(forward) == preferences(backward)[::-1]
    assert preferences(forward)[50:60] == preferences(few)
    assert preferences(annotated(tmp_path / "d", rows, seed=4)) != preferences(forward)


def test_prompts_whose_samples_say_the_same_are_left_out(tmp_path: Path) -> None:
    same = [judged("same", (RIGHT, "correct"), (f"{RIGHT} ", "correct")), judged("one", (RIGHT, "correct"))]
    out = annotated(tmp_path / "some", same + mixed(4))
    assert (out.metrics["left_out"], out.metrics["num_pairs"]) == (2, 4)
    with pytest.raises(DataError, match="two different samples"):
        annotated(tmp_path / "none", same)


def test_ties_alone_have_no_error_rate(tmp_path: Path) -> None:
    out = annotated(tmp_path, [judged("a", (WRONG, "wrong"), (OTHER, "error"))])
    assert out.metrics == {"num_pairs": 1, "left_out": 0, "ties": 1}
    assert all(row[2] == "-" for row in out.panels[0]["rows"])


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"id": 7}, "`id` and `task`"),
        ({"task": None}, "`id` and `task`"),
        ({"messages": []}, "`messages`"),
        ({"samples": "none"}, "`samples`"),
        ({"samples": [{"verdict": "correct"}]}, "a `text`"),
        (
            {"samples": [{"text": "4", "verdict": None}]},
            "a verdict among correct, wrong, error in each sample, came None",
        ),
        ({"samples": [{"text": "4", "verdict": ["wrong"]}]}, "a verdict among"),
        ({"id": "row-0"}, "an id of its own"),
    ],
)
def test_rows_that_are_no_judged_prompts_are_named(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    rows = [*mixed(2), {**judged("bad", (RIGHT, "correct")), **changes}]
    with pytest.raises(DataError, match=f"judged.jsonl: row 3, id .*{expected}"):
        annotated(tmp_path, rows)


def test_bad_settings_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contrast"):
        validate(AnnotateConfig, {"contrast": 1.5}, "annotate")
    with pytest.raises(DataError, match="judged.jsonl"):
        run(AnnotateConfig(), Inputs({"judged": tmp_path}), StageOutput(tmp_path / "out"))


def test_a_finished_file_is_not_written_again(tmp_path: Path) -> None:
    first = annotated(tmp_path, mixed(20))
    path = first.path / "preferences.jsonl"
    before, inode = path.read_bytes(), path.stat().st_ino
    again = StageOutput(tmp_path / "out", seed=3)
    run(AnnotateConfig(), Inputs({"judged": tmp_path / "judged"}), again)
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert again.metrics == first.metrics and json.dumps(again.panels) == json.dumps(first.panels)

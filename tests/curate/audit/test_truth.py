import json
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import DataError
from puna.curate.audit.truth import Fate, compare, word_f1


def row(
    url: str, keep: bool, dirt: list[str] | None = None, twin: str = "", date: str = "", text: str = ""
) -> dict[str, Any]:
    return {"url": url, "keep": keep, "dirt": dirt or [], "duplicate_of": twin, "date": date, "text": text}


def measure(tmp_path: Path, rows: list[dict[str, Any]], fates: list[Fate]) -> dict[str, Any]:
    path = tmp_path / "truth.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    return compare(fates, path)


def test_precision_recall_and_dirt_by_hand(tmp_path: Path) -> None:
    rows = [
        row("http://a/good1", True, text="one two three four"),
        row("http://a/good2", True, ["personal"], text="five six"),
        row("http://a/lost", True),
        row("http://a/spam1", False, ["spam"]),
        row("http://a/spam2", False, ["spam"]),
        row("http://a/unread", False, ["broken"]),
    ]
    fates = [
        Fate("https://www.a/good1", "", True, "one two three five"),
        Fate("http://a/good2", "", True, "five six"),
        Fate("http://a/lost", "", False, rule="c4:too few sentences"),
        Fate("http://a/spam1", "", True, "buy"),
        Fate("http://a/spam2", "", False, rule="blocked:blocked words"),
        Fate("http://elsewhere/x", "", True, "not in the truth"),
    ]
    found = measure(tmp_path, rows, fates)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["extraction_f1"] == pytest.approx((0.75 + 1.0) / 2)
    assert found["dirt"]["spam"] == {"pages": 2, "should_go": 2, "went": 1}
    assert found["dirt"]["personal"] == {"pages": 1, "may_stay": 1, "stayed": 1}
    assert found["pages_unread"] == 1
    assert found["wrong_rules"] == {"c4:too few sentences": 1}


@pytest.mark.parametrize(
    ("kept", "precision", "recall", "went"),
    [
        (["original"], 1.0, 1.0, 2),
        (["copy1"], 1.0, 1.0, 2),  # which one of a page and its copies stays does not matter
        (["original", "copy2"], 0.5, 1.0, 1),
        (["original", "copy1", "copy2"], 1 / 3, 1.0, 0),
        ([], 0.0, 0.0, 2),
    ],
)
def test_a_page_and_its_copies_are_one(
    tmp_path: Path, kept: list[str], precision: float, recall: float, went: int
) -> None:
    rows = [
        row("http://a/original", True),
        row("http://a/copy1", False, ["near-copy"], "http://a/original"),
        row("http://a/copy2", False, ["near-copy"], "http://a/copy1"),
    ]
    fates = [Fate(item["url"], "", item["url"].split("/")[-1] in kept) for item in rows]
    found = measure(tmp_path, rows, fates)
    assert (found["precision"], found["recall"]) == (pytest.approx(precision), recall)
    assert found["dirt"]["near-copy"]["went"] == went


def test_versions_of_an_address_are_told_apart_by_date(tmp_path: Path) -> None:
    rows = [row("http://a/x", False, ["older"], "http://a/x", date="2023"), row("http://a/x", True, date="2025")]
    good = measure(tmp_path, rows, [Fate("http://a/x", "2025", True), Fate("http://a/x", "2023", False)])
    assert (good["precision"], good["recall"], good["dirt"]["older"]["went"]) == (1.0, 1.0, 1)
    both = measure(tmp_path, rows, [Fate("http://a/x", "2025", True), Fate("http://a/x", "2023", True)])
    assert (both["precision"], both["dirt"]["older"]["went"]) == (0.5, 0)


def test_word_f1() -> None:
    assert word_f1("a b b c", "b b d") == pytest.approx(2 * 2 / 7)
    assert word_f1("磨坊在", "磨坊") == pytest.approx(4 / 5)
    assert word_f1("", "x") == 0.0


def test_a_row_without_keep_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'truth.jsonl:1: expected a row with "url"'):
        measure(tmp_path, [{"url": "http://a/"}], [])

"""The books balance, and what they say of relaxing is what relaxing does."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from puna.base.records import read_documents
from puna.curate.supply import ledger
from tests.curate.pages import curate, html_page, sentences, write_warc

SETTINGS = {"languages": [], "rules": ["gopher_quality"], "heldout_min": 0, "heldout_fraction": 0, "shards": 1}


def crawl(tmp_path: Path) -> list[Path]:
    """Two sources: long, short (45 words) and very short pages, copies, and a line that all pages of one have."""
    pages = {
        "a": [sentences(i, 8) for i in range(12)] + [sentences(0, 8)],
        "b": [sentences(50 + i, 3) for i in range(6)] + ["Too short to stay."] + [sentences(i, 8) for i in range(2)],
    }
    for name, texts in pages.items():
        rows = [(f"https://{name}.example/{i}", html_page(text)) for i, text in enumerate(texts)]
        write_warc(tmp_path / f"{name}.warc.gz", rows)
    return [tmp_path / "a.warc.gz", tmp_path / "b.warc.gz"]


def report_of(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads((folder / "files" / "report.json").read_text())


def test_words_add_up_by_source(tmp_path: Path) -> None:
    curate(crawl(tmp_path), tmp_path / "out", max_line_copies=6, **SETTINGS)
    report = report_of(tmp_path / "out")
    kept = list(read_documents(tmp_path / "out" / "files"))
    dropped = pq.read_table(tmp_path / "out" / "files" / "rejects" / "rejects-00000.parquet").to_pylist()
    for name, book in report["ledger"].items():
        mine = [document for document in kept if document.source == name]
        assert book["documents"] == len(mine)
        assert book["words"] == sum(len(document.text.split()) for document in mine)
        assert book["words_extracted"] == book["words"] + sum(words for _, words in book["lost"].values())
        for step, (documents, words) in book["lost"].items():
            rows = [row for row in dropped if row["source"] == name and row["rule"].startswith(f"{step}:")]
            assert (documents, words) == (len(rows), sum(len(row["text"].split()) for row in rows)) or step == "lines"
    assert report["ledger"]["a"]["lost"]["exact"] == [1, 8 * 13 + 2] or "exact" in report["ledger"]["b"]["lost"]
    assert report["ledger"]["a"]["lost"]["lines"] == [0, 2 * report["ledger"]["a"]["documents"]]  # the title "A page"
    assert sum(book["bytes"] for book in report["ledger"].values()) == report["bytes_in"]


def test_what_relaxing_adds_is_what_a_relaxed_run_keeps(tmp_path: Path) -> None:
    paths = crawl(tmp_path)
    for threshold in (46, 41):
        quality = {"min_words": threshold, "min_stop_words": 0}
        curate(paths, tmp_path / f"{threshold}", gopher_quality=quality, near_duplicates=False, **SETTINGS)
    strict, loose = (report_of(tmp_path / name)["ledger"] for name in ("46", "41"))
    gained = {name: loose[name]["words"] - strict[name]["words"] for name in strict}
    assert strict["b"]["relaxed"] == gained["b"] > 200
    assert strict["a"]["relaxed"] == gained["a"] == 0


def test_of_many_rejects_some_are_looked_at(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(ledger, "MAX_LOOKED_AT", 3)
    quality = {"min_words": 46, "min_stop_words": 0}
    curate(crawl(tmp_path), tmp_path / "out", gopher_quality=quality, near_duplicates=False, **SETTINGS)
    assert 0 < report_of(tmp_path / "out")["ledger"]["b"]["relaxed"] < 7 * 50


def test_panels_have_a_bar_for_what_is_kept_and_lost_and_the_seconds() -> None:
    book = {"records": 9, "bytes": 99, "documents": 3, "words": 30, "relaxed": 4}
    book["lost"] = {"c4": [2, 20], "near": [1, 10], "url": [1, 7], "lines": [0, 5]}  # type: ignore[assignment]
    figure, table = ledger.ledger_panels({"web": book}, {"web": 1.234})
    assert [(item["group"], item["value"]) for item in figure["items"]] == [
        ("kept", 30),
        ("lost to rules", 20),
        ("lost as copies", 17),
    ]
    assert table["rows"] == [["web", 9, 3, 30, 20, 17, 5, 4, 1.23]]
    assert len(table["columns"]) == 9

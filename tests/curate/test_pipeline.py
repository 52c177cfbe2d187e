"""The stage as a whole: what comes out, and the laws: no order, no number of workers and no kill changes a byte."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from puna.base.errors import DataError
from puna.base.output import StageOutput
from puna.base.records import read_documents
from tests.curate.pages import curate, files_of, html_page, sentences, write_warc

EASY = {"gopher_repetition": {"top_ngrams": {}, "duplicate_ngrams": {}}}


def rejects(folder: Path) -> dict[str, dict[str, str]]:
    """Rejects by address."""
    paths = sorted((folder / "files" / "rejects").glob("*.parquet"))
    return {row["url"]: row for path in paths for row in pq.ParquetFile(path).read().to_pylist()}


def kept(folder: Path) -> dict[str, str]:
    """Ids of kept documents, held-out ones too, by address."""
    folders = (folder / "files", folder / "files" / "heldout")
    return {document.url: document.id for place in folders for document in read_documents(place)}


@pytest.fixture
def crawl(tmp_path: Path) -> list[Path]:
    """Two archives of 30 good pages each, with dirt, copies across the archives, and a text of another kind."""
    good = {f"https://a.example/{i}": sentences(i, 8) for i in range(60)}
    pages = [(url, html_page(text, f"The page {i}")) for i, (url, text) in enumerate(good.items())]
    first, second = tmp_path / "one.warc.gz", tmp_path / "two.warc.gz"
    short, german = html_page("Too short."), html_page("Der Müller ist am Fluss und das Brot ist auf dem Tisch. " * 9)
    copy = html_page(good["https://a.example/3"], "The page 3")
    near = html_page(good["https://a.example/40"] + " A copied page.", "The page 40")
    write_warc(first, [*pages[:30], ("https://b.example/short", short), ("https://b.example/near", near)])
    write_warc(second, [*pages[30:], ("https://b.example/german", german), ("https://b.example/copy", copy)])
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": sentences(99, 9)}) + "\n" + json.dumps({"instruction": "x"}) + "\n")
    return [first, second, rows]


def test_every_record_is_kept_or_dropped_with_its_rule_and_twin(tmp_path: Path, crawl: list[Path]) -> None:
    out = curate(crawl, tmp_path / "out", **EASY)
    dropped, stays = rejects(tmp_path / "out"), kept(tmp_path / "out")
    assert (
        dropped["https://b.example/short"]["rule"] == "language:unknown"
        or "c4" in dropped["https://b.example/short"]["rule"]
    )
    assert dropped["https://b.example/german"]["rule"] == "language:de"
    assert dropped[""]["rule"] == 'read:no string in field "text"'
    for pair in (("https://b.example/copy", "https://a.example/3"), ("https://b.example/near", "https://a.example/40")):
        lost, winner = sorted(pair, key=lambda url: url in stays)
        assert dropped[lost]["rule"] == ("exact:duplicate" if "copy" in pair[0] else "near:duplicate")
        assert dropped[lost]["twin"] == stays[winner]
    report = json.loads((tmp_path / "out" / "files" / "report.json").read_text())
    assert report["records"] == 66 == report["kept"] + sum(report["rejects"].values())
    assert report["kept"] == len(stays) == 61
    assert report["funnel"][0]["documents"] == 66
    assert report["funnel"][-1]["documents"] == 61
    assert [step["documents"] for step in report["funnel"]] == sorted(
        (s["documents"] for s in report["funnel"]), reverse=True
    )
    assert out.metrics["kept"] == 61
    assert [panel["kind"] for panel in out.panels] == ["funnel", "bars", "bars", "table", "table"]


def test_all_copies_stay_when_no_duplicates_are_looked_for(tmp_path: Path, crawl: list[Path]) -> None:
    older = tmp_path / "older.warc.gz"
    write_warc(older, [("https://a.example/3", html_page(sentences(70, 8)))], date="2020-01-01T00:00:00Z")
    off = {"near_duplicates": False, "exact_duplicates": False}
    curate([*crawl, older], tmp_path / "out", **EASY, **off)
    report = json.loads((tmp_path / "out" / "files" / "report.json").read_text())
    assert report["kept"] == 64  # the copy, the near-copy and the older version too
    assert not [rule for rule in report["rejects"] if rule.endswith("duplicate")]
    assert report["funnel"][-1] == {**report["funnel"][-1], "name": "Gopher repetition", "documents": 64}


def test_the_text_is_the_page_without_its_frame(tmp_path: Path, crawl: list[Path]) -> None:
    curate(crawl, tmp_path / "out", **EASY)
    folders = (tmp_path / "out" / "files", tmp_path / "out" / "files" / "heldout")
    documents = {d.url: d for place in folders for d in read_documents(place)}
    document = documents["https://a.example/7"]
    assert document.text == f"The page 7\n\n{sentences(7, 8)}"
    assert (document.source, document.lang, document.date) == ("one", "en", "2026-01-01T00:00:00Z")
    assert document.meta["title"] == "The page 7"


def test_no_order_and_no_number_of_workers_changes_a_byte(tmp_path: Path, crawl: list[Path]) -> None:
    curate(crawl, tmp_path / "a", workers=1, max_line_copies=3, **EASY)
    curate(crawl[::-1], tmp_path / "b", workers=2, max_line_copies=3, **EASY)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert len(files_of(tmp_path / "a")) == 10


def test_the_seed_chooses_only_what_is_held_out(tmp_path: Path, crawl: list[Path]) -> None:
    curate(crawl, tmp_path / "a", heldout_fraction=0.2, **EASY)
    heldout = [document.id for document in read_documents(tmp_path / "a" / "files" / "heldout")]
    train = [document.id for document in read_documents(tmp_path / "a" / "files")]
    assert len(heldout) == 12  # 20% of the 60 pages, and none of the one text
    assert not set(heldout) & set(train)
    assert set(heldout) | set(train) == set(kept(tmp_path / "a").values())


def test_killed_after_each_unit_gives_the_same_bytes(
    tmp_path: Path, crawl: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    curate(crawl, tmp_path / "whole", **EASY)
    whole = files_of(tmp_path / "whole")

    class Killed(BaseException):
        pass

    record = StageOutput._record_path
    attempts = 0
    for stop_after in range(1, len(whole)):
        written = 0

        def dying(self: StageOutput, name: str, limit: int = stop_after) -> Path:
            nonlocal written
            written += 1
            if written > 1:  # one unit an attempt, then death between the rename and the record of the next
                raise Killed
            return record(self, name)

        monkeypatch.setattr(StageOutput, "_record_path", dying)
        with pytest.raises(Killed):
            curate(crawl, tmp_path / "killed", **EASY)
        attempts += 1
    monkeypatch.setattr(StageOutput, "_record_path", record)
    curate(crawl, tmp_path / "killed", **EASY)
    assert attempts == len(whole) - 1
    assert files_of(tmp_path / "killed") == whole


def test_sigkill_while_cleaning_keeps_finished_parts_and_bytes(tmp_path: Path) -> None:
    archive = tmp_path / "crawl.warc.gz"
    write_warc(archive, [(f"https://a.example/{i}", html_page(sentences(i, 20))) for i in range(1200)])
    command = (
        "from pathlib import Path; from tests.curate.pages import curate;"
        f"curate([Path({str(archive)!r})], Path({str(tmp_path / 'killed')!r}), **{EASY!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", command], cwd=Path(__file__).parents[2])
    state = tmp_path / "killed" / "state"
    deadline = time.monotonic() + 60
    while len(list(state.glob("part-*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in state.glob("part-*.parquet")}
    assert 2 <= len(before) < 5
    curate([archive], tmp_path / "killed", **EASY)
    curate([archive], tmp_path / "whole", **EASY)
    assert {name: (state / name).stat().st_mtime_ns for name in before} == before
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_newest_version_of_an_address_stays(tmp_path: Path) -> None:
    for name, date, text in (("x", "2024-05-01T00:00:00Z", 1), ("y", "2025-05-01T00:00:00Z", 2)):
        write_warc(tmp_path / f"{name}.warc.gz", [("http://a.example/p", html_page(sentences(text, 8)))], date)
    curate([tmp_path / "x.warc.gz", tmp_path / "y.warc.gz"], tmp_path / "out", **EASY)
    (document,) = read_documents(tmp_path / "out" / "files")
    assert document.date.startswith("2025")
    assert rejects(tmp_path / "out")["http://a.example/p"]["rule"] == "url:duplicate"


def test_the_same_record_twice_gets_two_ids(tmp_path: Path) -> None:
    page = ("http://a.example/p", html_page(sentences(1, 8)))
    write_warc(tmp_path / "x.warc.gz", [page, page, page])
    curate([tmp_path / "x.warc.gz"], tmp_path / "out", **EASY)
    (document,) = read_documents(tmp_path / "out" / "files")
    rows = [
        row
        for path in (tmp_path / "out" / "files" / "rejects").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert sorted(row["id"] for row in rows) == [f"{document.id}-2", f"{document.id}-3"]
    assert {row["twin"] for row in rows} == {document.id}


def test_a_twin_that_goes_itself_leads_on_to_the_one_that_stays(tmp_path: Path) -> None:
    for name, date, text in (("y1", "2024", 1), ("y2", "2025", 2)):
        page = ("http://a.example/p", html_page(sentences(text, 8)))
        write_warc(tmp_path / f"{name}.warc.gz", [page], f"{date}-05-01T00:00:00Z")
    write_warc(tmp_path / "a.warc.gz", [("http://b.example/q", html_page(sentences(2, 8)))])
    curate([tmp_path / f"{name}.warc.gz" for name in ("y1", "y2", "a")], tmp_path / "out", **EASY)
    (document,) = read_documents(tmp_path / "out" / "files")
    paths = (tmp_path / "out" / "files" / "rejects").glob("*.parquet")
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    assert {row["rule"]: row["twin"] for row in rows} == dict.fromkeys(
        ("url:duplicate", "exact:duplicate"), document.id
    )


def test_the_same_record_in_two_sources_is_numbered_by_source(tmp_path: Path) -> None:
    for folder, name in (("a", "z"), ("b", "c")):
        (tmp_path / folder).mkdir()
        write_warc(tmp_path / folder / f"{name}.warc.gz", [("http://a.example/p", html_page(sentences(1, 8)))])
    curate([tmp_path / "b", tmp_path / "a"], tmp_path / "out", **EASY)
    (document,) = read_documents(tmp_path / "out" / "files")
    (reject,) = rejects(tmp_path / "out").values()
    assert (document.source, reject["source"], reject["id"]) == ("a", "b", f"{document.id}-2")


def test_the_smallest_source_and_id_stays_for_its_copies(tmp_path: Path) -> None:
    same = [(f"http://{host}.example/p", html_page(sentences(1, 8))) for host in "abcdef"]
    write_warc(tmp_path / "x.warc.gz", same[:5])
    write_warc(tmp_path / "a.warc.gz", same[5:])
    curate([tmp_path / "x.warc.gz"], tmp_path / "one", **EASY)
    (document,) = read_documents(tmp_path / "one" / "files")
    assert document.id == min([document.id, *(row["id"] for row in rejects(tmp_path / "one").values())])
    curate([tmp_path / "x.warc.gz", tmp_path / "a.warc.gz"], tmp_path / "two", **EASY)
    (document,) = read_documents(tmp_path / "two" / "files")
    assert document.source == "a"


@pytest.mark.parametrize(("keep", "stays"), [("first", "a"), ("longest", "c"), ("newest", "b")])
def test_which_of_the_near_copies_stays_is_a_setting(tmp_path: Path, keep: str, stays: str) -> None:
    text = sentences(1, 30)
    for name, date, more in (
        ("a", "2026-01-01", ""),
        ("b", "2026-03-01", " Short."),
        ("c", "2026-02-01", " One more word."),
    ):
        page = html_page(f"{text}{more}", "A page")
        write_warc(tmp_path / f"{name}.warc.gz", [(f"https://{name}.example/", page)], f"{date}T00:00:00Z")
    crawl = [tmp_path / f"{name}.warc.gz" for name in "cba"]
    curate(crawl, tmp_path / "out", **EASY, keep_copy=keep, heldout_fraction=0, heldout_min=0)
    assert list(kept(tmp_path / "out")) == [f"https://{stays}.example/"]
    twins = {row["twin"] for row in rejects(tmp_path / "out").values()}
    assert twins == set(kept(tmp_path / "out").values())


def test_rows_of_every_file_are_sorted_by_id(tmp_path: Path, crawl: list[Path]) -> None:
    curate(crawl, tmp_path / "out", **EASY)
    for path in (tmp_path / "out" / "files").rglob("*.parquet"):
        ids = pq.read_table(path)["id"].to_pylist()
        assert ids == sorted(ids)


def test_personal_data_and_blocked_words(tmp_path: Path) -> None:
    texts = [
        f"{sentences(i, 8)} {more}"
        for i, more in enumerate(["Write to bo@mail.example now.", "You nasty snollygoster!"])
    ]
    write_warc(tmp_path / "x.warc.gz", [(f"http://a.example/{i}", html_page(text)) for i, text in enumerate(texts)])
    words = tmp_path / "words.txt"
    words.write_text("nasty snollygoster\n")
    curate([tmp_path / "x.warc.gz"], tmp_path / "out", blocked_words=[str(words)], heldout_min=0, **EASY)
    (document,) = read_documents(tmp_path / "out" / "files")
    assert document.text.endswith("Write to [email] now.")
    assert document.meta["masked"] == 1
    assert rejects(tmp_path / "out")["http://a.example/1"]["rule"] == "blocked:blocked words"


def test_inputs_without_documents_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"instruction": "x"}\n')
    (tmp_path / "empty").mkdir()
    write_warc(tmp_path / "short.warc.gz", [("http://a.example/", html_page("Hi."))])
    (tmp_path / "none.jsonl").write_text("\n")
    cases = {
        "bad.jsonl": "expected at least one document, came 1 records that cannot be read",
        "empty": "found no such file",
        "short.warc.gz": "all were dropped: ",
        "none.jsonl": "expected pages or texts",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            curate([tmp_path / name], tmp_path / f"out-{name}")
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="expected a UTF-8 file of words"):
        curate([tmp_path / "short.warc.gz"], tmp_path / "out", blocked_words=["no/such/file.txt"])


def test_real_sources_of_many_kinds(tmp_path: Path, shared_data: Path) -> None:
    names = ("web-warc", "text-zh-wikipedia", "text-wikitext2", "text-c4-en")
    out = curate([shared_data / name for name in names], tmp_path / "out", workers=2)
    report = json.loads((tmp_path / "out" / "files" / "report.json").read_text())
    assert set(report["mix"]["source"]) == set(names)
    # Rows known from the table of the data; the rules drop few of them.
    for name, rows, least in (("text-zh-wikipedia", 816, 0.95), ("text-c4-en", 200, 0.8)):
        assert least * rows <= report["mix"]["source"][name]["documents"] <= rows
    assert out.metrics["records_unreadable"] == 7  # damaged archives and empty bodies: see test_warc.py

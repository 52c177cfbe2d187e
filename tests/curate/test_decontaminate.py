"""Items of exams in pages: against sets of word n-grams written out, and through the stage."""

import gzip
import json
import random
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from puna.base.errors import DataError
from puna.curate.decontaminate import Decontaminate, ExamIndex, read_items
from puna.curate.text.words import Words
from tests.curate.pages import curate, html_page, sentences, write_warc


def write_items(path: Path, items: list[str]) -> Path:
    rows = [{"id": f"i{number}", "question": item, "answer": "x"} for number, item in enumerate(items)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.lower().replace(".", "").split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_shares_are_those_of_sets_of_ngrams(tmp_path: Path) -> None:
    draw = random.Random(1)
    for n in (3, 8, 13):
        items = [" ".join(draw.choices("abcdefgh", k=draw.randint(5, 30))) for _ in range(20)]
        index = ExamIndex([write_items(tmp_path / "exam.jsonl", items)], Decontaminate(ngram=n))
        for _ in range(40):
            source = draw.choice(items).split()
            page = " ".join([*draw.choices("abcdefgh", k=5), *source[: draw.randint(1, len(source))], "z", "z"])
            widths = [min(n, len(item.split())) for item in items]
            wanted = [(grams(item, width), width) for item, width in zip(items, widths, strict=True)]
            shares = [len(item & grams(page, width)) / len(item) for item, width in wanted]
            match = index.best(Words(page))
            best = max(shares)
            assert (match is None) == (best == 0)
            assert match is None or (match.share == best and shares[int(match.item.rpartition("i")[2])] == best)


def test_an_item_of_fewer_words_than_an_ngram_is_looked_for_whole(tmp_path: Path) -> None:
    exam = write_items(tmp_path / "exam.jsonl", ["Who is the miller of Norby?", "What is it?"])
    index = ExamIndex([exam], Decontaminate())
    assert index.too_short == 1
    match = index.best(Words("They asked: who is the MILLER of Norby, and nobody knew."))
    assert match == ("exam:i0", 1.0)
    assert index.best(Words("Who is the miller of this village? What is it?")) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"prompt": "one two three", "answer": "no"}\n{"n": 1, "x": ["four", "five six"]}\n'),
        ("a.json", '[{"question": "one two three"}, "four five six"]'),
        ("a.json", '{"examples": [{"input": "one two three"}, {"input": "four five six"}]}'),
        ("a.csv", '"one two three",A,B,C,D,A\n"four five six",A,B,C,D,B\n'),
        ("a.tsv", "one two three\t5\nfour five six\t7\n"),
        ("a.txt", "one two three\n\nfour five six\n"),
    ],
)
def test_exams_of_any_usual_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    for path in (tmp_path / name, tmp_path / f"{name}.gz"):
        assert [text.strip() for _, text in read_items([path])] == ["one two three", "four five six"]


def test_a_folder_and_an_archive_are_all_exams_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "exams"
    folder.mkdir()
    write_items(folder / "word.jsonl", ["one two"])
    (folder / "LICENSE.txt").write_text("not an exam")
    (folder / "notes.md").write_text("not an exam")
    (folder / "more.csv").write_text("three four,A\n")
    with tarfile.open(tmp_path / "exams.tar.gz", "w:gz") as archive:
        archive.add(folder, "exams")
    expected = [("more:1", "three four"), ("word:i0", "one two")]
    assert list(read_items([folder])) == expected
    assert sorted(read_items([tmp_path / "exams.tar.gz"])) == expected


@pytest.mark.parametrize(("name", "content"), [("a.json", "{"), ("a.json", "5"), ("a.bin", "x"), ("a.jsonl", "")])
def test_what_is_no_exam_is_told(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match="exams: expected"):
        list(read_items([tmp_path / name]))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_stage_drops_the_page_and_shows_the_match(tmp_path: Path, workers: int) -> None:
    item = "The baker of the old village sells seven loaves and two of his apples. How many does he sell in all?"
    exams = tmp_path / "exams"
    exams.mkdir()
    write_items(exams / "word.jsonl", [sentences(9, 1), item])
    pages = {"clean": sentences(1, 8), "dirty": f"{sentences(2, 6)} {item.upper()}"}
    pages["near"] = f"{sentences(3, 6)} {item[:50]}."
    write_warc(tmp_path / "crawl.warc.gz", [(f"https://x.org/{name}", html_page(text)) for name, text in pages.items()])
    settings = {"languages": [], "gopher_repetition": {"top_ngrams": {}, "duplicate_ngrams": {}}, "heldout_fraction": 0}
    out = curate([tmp_path / "crawl.warc.gz"], tmp_path / "run", workers, exams=exams, heldout_min=0, **settings)
    (row,) = [one for path in out.path.glob("rejects/*.parquet") for one in pq.read_table(path).to_pylist()]
    assert row["url"] == "https://x.org/dirty"
    assert row["rule"] == "decontaminate:exam item (word:i1, 100% of its n-grams)"
    report = json.loads((out.path / "report.json").read_text())
    (exam,) = report["exams"]
    assert (exam["exam"], exam["items"], exam["pages"], exam["item"]) == ("word", 2, 1, "word:i1")
    assert report["rejects"] == {"decontaminate:exam item": 1}
    assert "no exam items" in [step["name"] for step in report["funnel"]]
    assert out.metrics["contaminated"] == 1

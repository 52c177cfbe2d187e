"""Books through the process that reads them: what comes out, and that nothing they do ends the run."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from puna.base.errors import InputError
from puna.curate.read import books
from puna.curate.read.limits import Reading
from puna.curate.read.record import Record
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs
from tests.curate.pages import curate, html_page, sentences
from tests.curate.read.packs import epub

ABOUT = (
    "<dc:title>The Mill</dc:title><dc:creator>A. Baker</dc:creator><dc:language>en</dc:language><dc:date>1901</dc:date>"
)


def read(path: Path, max_chars: int = 0, **reading: float) -> list[Record]:
    (file,), _ = list_inputs([path])
    return list(read_file(file, Counter(), max_chars, Reading.model_validate(reading)))


def test_an_epub_is_one_text_in_the_order_of_its_spine(tmp_path: Path) -> None:
    chapters = {f"c{i}.xhtml": html_page(sentences(i, 5), f"Chapter {i}") for i in range(3)}
    order = ["c2.xhtml", "c0.xhtml", "c1.xhtml", "c0.xhtml"]
    (tmp_path / "a.epub").write_bytes(epub(chapters, order, about=ABOUT))
    (book,) = read(tmp_path / "a.epub")
    assert (book.form, book.title, book.date) == ("text", "The Mill", "1901")
    assert book.notes == {"author": "A. Baker", "language": "en"}
    positions = [str(book.body).index(sentences(i, 5)) for i in (2, 0, 1)]
    assert positions == sorted(positions)
    assert str(book.body).count("Chapter 0") == 1
    pieces = read(tmp_path / "a.epub", max_chars=200)
    assert "".join(str(piece.body) for piece in pieces) == book.body
    assert {piece.title for piece in pieces} == {"The Mill"}


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"META-INF/rights.xml": b"<rights/>"}, "encrypted EPUB (DRM)"),
        ({"META-INF/encryption.xml": b'<e><EncryptionMethod Algorithm="aes256-cbc"/></e>'}, "encrypted EPUB (DRM)"),
        ({"META-INF/encryption.xml": b'<e><EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/></e>'}, ""),
        ({"META-INF/container.xml": b"<container/>"}, "damaged EPUB (no package)"),
        ({"META-INF/container.xml": b"<container"}, "damaged EPUB (ParseError)"),
        ({"OEBPS/a.xhtml": b"<p> </p>"}, "no text in EPUB"),
    ],
)
def test_what_makes_an_epub_unreadable(tmp_path: Path, extra: dict[str, bytes], problem: str) -> None:
    (tmp_path / "a.epub").write_bytes(epub({"a.xhtml": b"<p>some words</p>"}, extra=extra))
    (book,) = read(tmp_path / "a.epub")
    assert book.problem == problem


def test_a_damaged_chapter_costs_itself(tmp_path: Path) -> None:
    chapters = {f"c{i}.xhtml": html_page(sentences(i, 40)) for i in range(3)}
    content = bytearray(epub(chapters, ["c0.xhtml", "c1.xhtml", "none.xhtml", "c2.xhtml"]))
    at = content.index(b"OEBPS/c1.xhtml") + 200
    content[at : at + 30] = bytes(30)
    (tmp_path / "a.epub").write_bytes(content)
    records = read(tmp_path / "a.epub")
    assert [(r.locator, r.problem) for r in records if r.problem] == [
        ("a.epub:OEBPS/c1.xhtml", "damaged chapter (BadZipFile)")
    ] or records[0].problem.startswith("damaged chapter (")
    assert sentences(0, 40) in str(records[-1].body)
    assert sentences(2, 40) in str(records[-1].body)
    assert sentences(1, 40) not in str(records[-1].body)


def test_no_zip_and_too_large_a_book(tmp_path: Path) -> None:
    (tmp_path / "a.epub").write_bytes(b"no zip at all")
    assert [book.problem for book in read(tmp_path / "a.epub")] == ["damaged EPUB (no list of files)"]
    chapters = {f"c{i}.xhtml": b"<p>" + b"word " * 300 for i in range(3)}
    (tmp_path / "b.epub").write_bytes(epub(chapters))
    assert [book.problem for book in read(tmp_path / "b.epub", max_record_bytes=4000)] == ["larger than 4000 bytes"]
    assert [book.problem for book in read(tmp_path / "b.epub", max_record_bytes=1024)] == ["larger than 1024 bytes"] * 3


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import time; time.sleep(60)", "takes more than 0.5 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "kills its reader"),
        ("raise SystemExit(1)", "damaged EPUB (its reader failed)"),
    ],
)
def test_a_reader_that_hangs_or_dies_is_a_problem_of_the_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, problem: str
) -> None:
    real = books.subprocess.Popen
    monkeypatch.setattr(
        books.subprocess, "Popen", lambda command, **rest: real([sys.executable, "-c", program], **rest)
    )
    (tmp_path / "a.epub").write_bytes(epub({"a.xhtml": b"<p>some words</p>"}))
    seconds = 0.5 if "sleep" in program else 60
    assert [book.problem for book in read(tmp_path / "a.epub", book_s=seconds)] == [problem]


def test_pdfs_without_their_library_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    files, _ = list_inputs([tmp_path])
    monkeypatch.setattr(books.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"a\.pdf: reading PDF needs .* pip install 'puna\[books\]'"):
        books.require_libraries(files)


def test_a_book_and_its_author_come_through_curation(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "mill.epub").write_bytes(epub({"a.xhtml": html_page(sentences(1, 30))}, about=ABOUT))
    (tmp_path / "books" / "broken.epub").write_bytes(b"PK")
    curate([tmp_path / "books"], tmp_path / "out", rules=[])
    from puna.base.records import read_documents

    (document,) = read_documents(tmp_path / "out" / "files")
    assert (document.meta["title"], document.meta["author"], document.date) == ("The Mill", "A. Baker", "1901")
    report = json.loads((tmp_path / "out" / "files" / "report.json").read_text())
    assert report["rejects"] == {"read:damaged EPUB": 1}

"""PDF: pages made by reportlab and by matplotlib; pypdf, which shares no code with PDFium, says what is in them."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from puna.curate.read.damage import Damaged
from puna.curate.read.pdf import join_lines, read_pdf, without_running_heads
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs
from tests.curate.pages import sentences

TEXTS = [sentences(number, 6) for number in range(30)]


def typeset(texts: list[str], columns: int = 1, head: str = "The Book of Mills") -> bytes:
    """Paragraphs on A4, each page with a head and its number."""
    pytest.importorskip("pypdfium2", reason="PDF wants the extra `books`")
    platypus = pytest.importorskip("reportlab.platypus", reason="the tests make their PDFs with reportlab")
    from reportlab.lib.styles import getSampleStyleSheet

    def on_page(canvas: Any, document: Any) -> None:
        canvas.drawString(60, 800, head)
        canvas.drawString(280, 30, f"- {document.page} -")

    sink = io.BytesIO()
    width = 470 if columns == 1 else 220
    frames = [platypus.Frame(60 + 250 * column, 60, width, 700) for column in range(columns)]
    document = platypus.BaseDocTemplate(sink, title="Mills", author="A. Baker")
    document.addPageTemplates(platypus.PageTemplate(frames=frames, onPage=on_page))
    style = getSampleStyleSheet()["Normal"]
    document.build([platypus.Paragraph(text, style) for text in texts])
    return sink.getvalue()


@pytest.mark.parametrize("columns", [1, 2])
def test_text_without_heads_and_numbers(columns: int) -> None:
    content = typeset(TEXTS, columns)
    pypdf = pytest.importorskip("pypdf")
    pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]
    assert len(pages) >= 3
    assert all("The Book of Mills" in page for page in pages)
    book = read_pdf(io.BytesIO(content), 1 << 20)
    assert (book["title"], book["author"], len(book["date"])) == ("Mills", "A. Baker", 10)
    assert "The Book of Mills" not in book["text"]
    assert book["text"].split() == " ".join(TEXTS).split()
    found = set(book["text"].split("\n\n"))
    assert len(found & set(TEXTS)) > 20  # a paragraph whose last line is full cannot be told from the next


def test_a_figure_is_read_too() -> None:
    pytest.importorskip("pypdfium2")
    import matplotlib.figure

    figure = matplotlib.figure.Figure()
    figure.text(0.1, 0.5, "The office of the mill\nfinds the river.")
    sink = io.BytesIO()
    figure.savefig(sink, format="pdf")
    assert read_pdf(sink, 1 << 20)["text"] == "The office of the mill finds the river."


def test_what_cannot_be_read() -> None:
    with pytest.raises(Damaged, match=r"no text in PDF \(scanned pages\)"):
        read_pdf(io.BytesIO(typeset(["."], head="")), 1 << 20)
    content = typeset(TEXTS)
    with pytest.raises(Damaged, match="larger than 5000 bytes"):
        read_pdf(io.BytesIO(content), 5000)
    with pytest.raises(Damaged, match="damaged PDF"):
        read_pdf(io.BytesIO(b"%PDF-1.4 and nothing"), 1 << 20)
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(io.BytesIO(content))
    writer.encrypt("secret", algorithm="RC4-128")
    sink = io.BytesIO()
    writer.write(sink)
    with pytest.raises(Damaged, match="encrypted PDF"):
        read_pdf(sink, 1 << 20)


def test_a_pdf_through_its_process(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(typeset(TEXTS))
    (file,), _ = list_inputs([tmp_path / "a.pdf"])
    (book,) = read_file(file, Counter())
    assert (book.problem, book.title, book.notes) == ("", "Mills", {"author": "A. Baker"})
    assert str(book.body).split() == " ".join(TEXTS).split()


def test_lines_become_paragraphs() -> None:
    lines = [
        "Chapter One",
        "The miller of the river carries his flour to the mar-",
        "ket, where a well-known baker waits. He is a well-",
        "known man of the town and has bread.",
        "On the next day the farmer brings apples. The sheep fol-",
        "low him over the bridge.",
        "• one thing",
        "• another thing",
    ]
    assert join_lines(lines).split("\n\n") == [
        "Chapter One",
        "The miller of the river carries his flour to the market, where a well-known baker waits. He is a well-known "
        "man of the town and has bread.",
        "On the next day the farmer brings apples. The sheep follow him over the bridge.",
        "• one thing",
        "• another thing",
    ]


def test_chinese_lines_are_joined_without_spaces() -> None:
    lines = ["磨坊在河边很安静面包师在市场上卖面包", "农夫带来苹果和羊", "第二天他又来了。"]
    assert join_lines(lines) == "磨坊在河边很安静面包师在市场上卖面包农夫带来苹果和羊第二天他又来了。"


def test_heads_of_left_and_right_pages_and_of_a_short_chapter_go() -> None:
    def page(number: int) -> list[str]:
        head = "The Book of Mills" if number % 2 else ("Of Rivers" if number < 6 else "Of Bread")
        body = [f"line {'abcdefghijkl'[number]} {word} of the text" for word in ("one", "two", "three", "four", "five")]
        return [head, *body, str(100 + number)]

    kept = without_running_heads([page(number) for number in range(12)])
    assert [len(lines) for lines in kept] == [5] * 12
    assert all("of the text" in line for lines in kept for line in lines)
    assert without_running_heads([["only", "page", "1"]]) == [["only", "page", "1"]]

"""PDF with text -> its paragraphs: running heads and page numbers go, lines and broken words are put together.

PDFium gives the characters of a page in lines, in the order of drawing; what a line is, is guessed here. Scans without
text are no text. (pypdf gives the same lines in 3.5 times the time: docs/curate.md)
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from typing import IO, Any

from puna.curate.read.damage import Damaged, larger_than, one_line

_EDGE_LINES = 3  # where heads and numbers stand, from the top and from the bottom
_NEIGHBOURS = 4
_MIN_CHARS_A_PAGE = 10
_NUMBER = re.compile(r"\d+")
_HYPHENS = ("-", "\xad", "\u2010", "\ufffe")  # PDFium writes U+FFFE for one at the end of a line
_WORD_END, _WORD_BEGIN = re.compile(r"[^\W\d_]+$"), re.compile(r"[^\W\d_]+")
_HYPHENATED = re.compile(r"[^\W\d_]+-[^\W\d_]+")
_SENTENCE_END = re.compile(r"[.!?:;…。！？：]['\"”’»)\]]*$")
_ITEM = re.compile(r"([•▪◦*–-]|\(?\d{1,3}[.)]|[a-z]\))\s")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uff00-\uffef\u3000-\u303f]")
_SHORT_LINE = 0.8  # of the width of the text: a sentence that ends in such a line ends a paragraph


def read_pdf(content: IO[bytes], max_bytes: int) -> dict[str, Any]:
    """text, title, author, date of a PDF. Raises Damaged if it has no text or cannot be read."""
    import pypdfium2

    try:
        book = pypdfium2.PdfDocument(content)
        about, num_pages = book.get_metadata_dict(), len(book)
    except pypdfium2.PdfiumError as error:
        is_locked = "password" in str(error).lower()
        raise Damaged("encrypted PDF" if is_locked else f"damaged PDF ({one_line(error)})") from None
    pages, problems, num_chars = [], [], 0
    for number in range(num_pages):
        try:
            page = book[number].get_textpage()
            num_chars += page.count_chars()
            if 4 * num_chars > max_bytes:  # at most four bytes each
                raise Damaged(larger_than(max_bytes))
            pages.append([line.strip() for line in page.get_text_range().splitlines() if line.strip()])
        except pypdfium2.PdfiumError as error:
            problems.append([f"page {number + 1}", f"damaged page ({one_line(error)})"])
    if num_chars < _MIN_CHARS_A_PAGE * len(pages) or not num_chars:
        raise Damaged("no text in PDF (scanned pages)")
    text = join_lines(line for page in without_running_heads(pages) for line in page)
    named = {"title": about.get("Title", ""), "author": about.get("Author", "")}
    named = {key: " ".join(value.split())[:500] for key, value in named.items()}
    return {"text": text, "problems": problems, "date": _iso_date(about.get("CreationDate", "")), **named}


def without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """Pages without the lines at their edges that come again, but for numbers, on pages beside.

    Beside are the four pages before and the four behind, of which two must have it: a title on every left page, even
    that of a short chapter, comes again on two of them. One page alone keeps all.
    """
    edges = [_edges(page) for page in pages]
    kept = []
    for number, page in enumerate(pages):
        near = [other for other in range(number - _NEIGHBOURS, number + _NEIGHBOURS + 1) if other != number]
        near = [other for other in near if 0 <= other < len(pages)]
        votes = Counter(head for other in near for head in edges[other])
        needed = min(2, len(near))
        last = len(page) - _EDGE_LINES
        kept.append(
            [
                line
                for at, line in enumerate(page)
                if (_EDGE_LINES <= at < last) or not near or votes[_unnumbered(line)] < needed
            ]
        )
    return kept


def join_lines(lines: Iterable[str]) -> str:
    """Paragraphs, a blank line between, of lines that were broken for print."""
    lines = list(lines)
    if not lines:
        return ""
    width = sorted(map(len, lines))[int(0.9 * (len(lines) - 1))]
    known = {word.lower() for line in lines for word in _HYPHENATED.findall(line)}
    paragraphs, text = [], lines[0]
    for before, line in itertools.pairwise(lines):
        if _ends_paragraph(before, line, width):
            paragraphs.append(text)
            text = line
        else:
            text = _joined(text, line, known)
    return "\n\n".join([*paragraphs, text]).replace("\ufffe", "-")


def _edges(page: list[str]) -> set[str]:
    return {_unnumbered(line) for line in page[:_EDGE_LINES] + page[-_EDGE_LINES:]}


def _unnumbered(line: str) -> str:
    line = _NUMBER.sub("0", line.casefold())
    return "0" if re.fullmatch(r"[ivxlc]{1,7}", line) else line


def _ends_paragraph(line: str, following: str, width: int) -> bool:
    is_short = len(line) < _SHORT_LINE * width
    if _ITEM.match(following) or (is_short and _SENTENCE_END.search(line)):
        return True
    # A heading: short, no sentence, and what comes begins one.
    is_open = line.endswith((",", *_HYPHENS))
    return len(line) < 0.5 * width and not is_open and not following[:1].islower() and not _WIDE.match(following)


def _joined(text: str, line: str, known: set[str]) -> str:
    if text.endswith(_HYPHENS):
        first, second = _WORD_END.search(text[:-1]), _WORD_BEGIN.match(line)
        if first and second and second[0][0].islower():
            is_compound = f"{first[0]}-{second[0]}".lower() in known
            return text[:-1] + ("-" if is_compound else "") + line
        return text + line if first else f"{text} {line}"
    is_wide = _WIDE.match(text[-1:]) and _WIDE.match(line)
    return text + line if is_wide else f"{text} {line}"


def _iso_date(date: str) -> str:
    """`D:20200131...` (PDF 32000-1, 7.9.4) as 2020-01-31."""
    match = re.match(r"D:(\d{4})(\d\d)?(\d\d)?", date)
    return "-".join(part for part in match.groups() if part) if match else ""

import pytest

from puna.curate.extract.page import ExtractConfig, extract_page
from tests.curate.extract.labelled import CODE_PAGES, MATHS_PAGES, Labelled, kept_formulas, kept_lines, shares

CHROME = ("Legal notice", "Chapter 3", "Copy", "Search", "Mill docs")


@pytest.mark.parametrize("page", CODE_PAGES, ids=lambda page: page.name)
def test_code_comes_out_line_by_line(page: Labelled) -> None:
    text = extract_page(page.html).text
    for code in page.expected:
        assert f"\n\n{code}\n" in text
    assert not any(word in text for word in CHROME)


@pytest.mark.parametrize("page", MATHS_PAGES, ids=lambda page: page.name)
def test_formulas_come_out_once(page: Labelled) -> None:
    text = extract_page(page.html).text
    for piece in page.expected:
        assert text.count(piece) == 1
    assert not any(word in text for word in CHROME)


def test_shares_of_code_and_formulas() -> None:
    """What docs/curate.md says of us."""
    assert len(CODE_PAGES) >= 12
    assert len(MATHS_PAGES) >= 12
    assert shares(lambda html: extract_page(html).text) == {"code lines": 1.0, "formulas": 1.0}


def test_counts_of_kept_pieces() -> None:
    page = Labelled("", "", ("a\n    b", "c"))
    assert kept_lines("x\na\nb\n c", page) == (1, 3)
    assert kept_lines("a\n    b  \nc", page) == (3, 3)
    assert kept_formulas("see  a b then c", Labelled("", "", ("ab", "d"))) == (1, 2)


def test_markdown_puts_code_in_fences() -> None:
    text = extract_page(CODE_PAGES[0].html, config=ExtractConfig(markdown=True)).text
    assert f"\n\n```python\n{CODE_PAGES[0].expected[0]}\n```\n\n" in text
    assert "# Counting sacks" in text or "## Counting" in text

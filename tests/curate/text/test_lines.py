"""Lines counted in one pass against the same counted line by line with strings."""

import string

from hypothesis import given
from hypothesis import strategies as st

from puna.curate.text.lines import CHARACTERS, END, LENGTH, LONGEST, START, WORDS, Lines

PIECES = ["\n", "\n", "\n\n", " ", "\t", "\r\n", "\u2028", "a", "bb cc", "Mr.", "•", "-", "– ", "...", "…", ".", "磨坊"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
BULLETS = tuple("•‣▶◀◦■□▪▫●○–*-")


def copies(blocks: list[str]) -> tuple[int, int]:
    again = [block for i, block in enumerate(blocks) if block in blocks[:i]]
    return len(again), sum(map(len, again))


@given(TEXTS)
def test_counts_of_each_line(text: str) -> None:
    lines, counts = text.split("\n"), Lines(text).counts
    assert counts[WORDS].tolist() == [len(line.split()) for line in lines]
    assert counts[LONGEST].tolist() == [max(map(len, line.split()), default=0) for line in lines]
    assert counts[CHARACTERS].tolist() == [line.count("磨") + line.count("坊") for line in lines]
    assert counts[LENGTH].tolist() == [len(line) for line in lines]
    assert [text[a:b] for a, b in zip(counts[START], counts[END], strict=True)] == [line.strip() for line in lines]


@given(TEXTS)
def test_totals(text: str) -> None:
    totals, lines = Lines(text).totals, text.split("\n")
    full = [line for line in lines if line.strip()]
    assert totals.words == len(text.split())
    assert totals.blank == len(lines) - len(full)
    assert totals.empty == lines.count("")
    assert totals.bulleted == sum(line.lstrip().startswith(BULLETS) for line in lines)
    assert totals.datatrove_bulleted == sum(line.lstrip().startswith(("•", "-")) for line in lines)
    assert totals.trailing_off == sum(line.rstrip().endswith(("...", "…")) for line in lines)
    assert totals.ended == sum(line.endswith(".") for line in full)
    assert totals.ellipses == text.count("...") + text.count("…")
    assert (totals.copies, totals.chars_in_copies) == copies([line for line in lines if line])
    assert totals.chars_in_blank_copies == copies([line for line in lines if line and not line.strip()])[1]


@given(TEXTS)
def test_paragraphs(text: str) -> None:
    totals = Lines(text).totals
    paragraphs = [part.strip("\n") for part in text.split("\n\n") if part.strip("\n")]
    assert totals.paragraphs == len(paragraphs)
    assert (totals.paragraph_copies, totals.chars_in_paragraph_copies) == copies(paragraphs)


@given(TEXTS)
def test_universal_lines_are_those_of_splitlines(text: str) -> None:
    lines = text.splitlines()
    universal = Lines(text).universal
    assert universal.text == (text if "\n".join(lines) == text else "\n".join(lines))
    assert len(universal) == max(1, len(lines))


@given(st.lists(st.text(string.ascii_letters + " ", max_size=6), min_size=1), st.integers(0, 6))
def test_short_lines(lines: list[str], most: int) -> None:
    assert Lines("\n".join(lines)).num_short(most) == sum(
        0 < len(line) <= most and bool(line.strip()) for line in lines
    )

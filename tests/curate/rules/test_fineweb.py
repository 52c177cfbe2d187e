"""FineWeb's rules on both sides of each threshold."""

import pytest

from puna.curate.rules.check import first_failure
from puna.curate.rules.fineweb import FineWeb, fineweb
from puna.curate.text.words import Words

SENTENCES = [
    f"The miller of the village number {i} grinds the corn of all his neighbours in the morning." for i in range(60)
]


def verdict(lines: list[str], **limits: object) -> str | None:
    text = "\n".join(lines)
    return first_failure(fineweb(Words(text), FineWeb.model_validate(limits)))


@pytest.mark.parametrize(("ended", "reason"), [(3, None), (2, "lines without an end")])
def test_lines_that_end(ended: int, reason: str | None) -> None:
    # of 25 lines 3 are 0.12
    lines = [line if i < ended else line.removesuffix(".") for i, line in enumerate(SENTENCES[:25])]
    assert verdict(lines) == reason


@pytest.mark.parametrize(("short", "reason"), [(66, None), (69, "short lines")])
def test_short_lines(short: int, reason: str | None) -> None:
    lines = [f"{i:02d} is thirty characters long.." for i in range(short)]
    assert all(len(line) == 30 for line in lines)
    assert verdict([*lines, *SENTENCES[: 100 - short]], max_newlines_per_word=1.0) == reason


@pytest.mark.parametrize(
    ("variant", "copies", "reason"),
    [
        ("datatrove", 0, None),
        ("datatrove", 1, "repeated lines"),
        ("fineweb2", 1, None),
        ("fineweb2", 8, "repeated lines"),
    ],
)
def test_lines_that_come_again(variant: str, copies: int, reason: str | None) -> None:
    # one line of 60 is 1.6% of the characters, eight are 12%
    assert verdict([*SENTENCES[:59], *SENTENCES[:copies]], variant=variant) == reason


def test_a_number_that_is_set_wins_over_the_variant() -> None:
    assert verdict([*SENTENCES, SENTENCES[0]], max_repeated_chars=0.02) is None


def test_line_breaks_by_tokens() -> None:
    # a line of 31 characters, two words and a stop: a break for every three tokens is too many
    lines = [f"{chr(97 + i % 26) * 20} {i:09d}." for i in range(40)]
    assert all(len(line) == 31 for line in lines)
    assert verdict(lines) == "a list"
    assert verdict([f"{line[:15]} {line[15:]}" for line in lines]) is None


def test_nothing_is_no_page() -> None:
    assert verdict([" ", ""]) == "empty"

"""Rules on documents counted by hand, on both sides of each threshold; the reason is asserted, not only the drop."""

import pytest

from puna.curate.rules.check import first_failure
from puna.curate.rules.gopher_quality import GopherQuality, gopher_quality
from puna.curate.text.words import Words

STOP = "the of"


def quality(text: str, language: str = "en", **limits: object) -> str | None:
    return first_failure(gopher_quality(Words(text), language, GopherQuality.model_validate(limits)))


def text_of(num_words: int, word: str = "stone") -> str:
    return " ".join([STOP, *[word] * (num_words - 2)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (text_of(49), "too few words"),
        (text_of(50), None),
        (text_of(100_000), None),
        (text_of(100_001), "too many words"),
        # the, of, then 58 words: mean (5 + 58 n) / 60
        (text_of(60, "abc"), "word length"),  # 179 / 60 = 2.98
        (text_of(60, "abcd"), None),  # 237 / 60 = 3.95
        (text_of(60, "a" * 10), None),  # 585 / 60 = 9.75
        (text_of(60, "a" * 11), "word length"),  # 643 / 60 = 10.7
        (text_of(60) + " #" * 6, None),  # 6 / 60 = 0.1
        (text_of(60) + " #" * 7, "hashes"),
        (text_of(58) + " ..." * 5 + " end", None),  # 5 / 59
        (text_of(58) + " ..." * 4 + " …" * 2 + " end", "ellipses"),  # 6 / 59
        (text_of(60) + " 12345" * 15, None),  # 60 of 75 = 0.8 with a letter
        (text_of(60) + " 12345" * 16, "words without letters"),
        ("the " + "stone " * 59, "stop words"),
        ("The OF " + "stone " * 58, None),
    ],
)
def test_gopher_quality_thresholds(text: str, reason: str | None) -> None:
    assert quality(text) == reason


@pytest.mark.parametrize(("bullets", "reason"), [(9, None), (10, "bullet lines")])
def test_bullet_lines(bullets: int, reason: str | None) -> None:
    lines = [f"{'• ' if i < bullets else ''}the mill of the river stone" for i in range(10)]
    assert quality("\n".join(lines)) == reason


@pytest.mark.parametrize(("ellipses", "reason"), [(3, None), (4, "ellipsis lines")])
def test_lines_that_trail_off(ellipses: int, reason: str | None) -> None:
    lines = [f"the mill of the river stone house goes{'...' if i < ellipses else '.'}" for i in range(10)]
    assert quality("\n\n".join(lines)) == reason


def test_chinese_counts_characters_and_has_its_own_stop_words() -> None:
    sentence = "磨坊在河边，村里的人都知道去那里的路，面包师每天早上都在市场上卖面包。"
    assert quality(sentence * 2, "zh") is None
    assert quality(sentence, "zh") == "too few words"
    assert quality("磨坊河边面包市场" * 10, "zh") == "stop words"


def test_a_language_without_a_list_needs_no_stop_words() -> None:
    assert quality("sanat " * 60, "fi") is None
    assert quality("palabra " * 60, "es") == "stop words"


@pytest.mark.parametrize(
    ("text", "paper", "datatrove", "dclm"),
    [
        # 60 words and 20 commas: four fifths of the words have a letter, of all tokens three fifths
        (text_of(48) + " 12345," * 12 + " ," * 8, None, "words without letters", None),
        ("the the " + "stone " * 58, "stop words", "stop words", None),  # one word twice
        ("The Of " + "stone " * 58, None, "stop words", None),  # only in lower case
        ("\n".join(["* the mill of the river stone house"] * 10), "bullet lines", None, "bullet lines"),
    ],
)
def test_libraries_count_differently(text: str, paper: str | None, datatrove: str | None, dclm: str | None) -> None:
    for variant, reason in (("paper", paper), ("datatrove", datatrove), ("dclm", dclm)):
        assert quality(text, variant=variant) == reason, variant


def test_all_checks_can_be_asked_for() -> None:
    checks = list(gopher_quality(Words(text_of(60, "a" * 11) + " #" * 7), "en", GopherQuality()))
    assert [check.reason for check in checks if check.failed] == ["word length", "hashes"]
    assert all(check.setting in GopherQuality.model_fields for check in checks)

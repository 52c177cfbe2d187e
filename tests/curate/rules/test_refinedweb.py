"""RefinedWeb's lines, and the page that loses too many."""

import pytest

from puna.curate.rules.check import first_failure
from puna.curate.rules.refinedweb import RefinedWeb, refinedweb

BODY = "\n".join(f"The miller of village {i} grinds the corn of all of his neighbours today." for i in range(20))


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("SALE NOW ON at mill", False),  # 9 of 15 letters
        ("SALE NOW ON at the mill", True),  # 9 of 18,
        ("1 234 567", False),
        ("at 12:30", True),
        ("3 likes", False),
        ("1.2k comments", False),
        ("he likes 3 apples", True),
        ("Home", False),
        ("Home page", True),
        ("磨坊在河边", True),
        ("", True),
    ],
)
def test_lines(line: str, stays: bool) -> None:
    text, checks = refinedweb(f"{BODY}\n{line}\nThe end of it.", RefinedWeb())
    assert text == (f"{BODY}\n{line}\nThe end of it." if stays else f"{BODY}\nThe end of it.")
    assert first_failure(checks) is None


@pytest.mark.parametrize(("lines", "reason"), [(14, None), (15, "lines removed")])
def test_a_page_that_loses_a_twentieth_of_its_words(lines: int, reason: str | None) -> None:
    # 20 lines of 14 words: 14 single words are 14 / 294 = 0.0476, 15 are 15 / 295 = 0.0508
    _, checks = refinedweb("\n".join([BODY, *["Menu"] * lines]), RefinedWeb())
    assert first_failure(checks) == reason


def test_each_rule_can_be_left_off() -> None:
    off = RefinedWeb(max_uppercase=1.0, max_digits=1.0, counters=False, single_words=False)
    text = f"{BODY}\nSHOUT\n12\n3 likes"
    assert refinedweb(text, off)[0] == text

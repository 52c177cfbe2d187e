"""Rules on documents counted by hand, on both sides of each threshold; the reason is asserted, not only the drop."""

import pytest

from puna.curate.rules.c4 import C4, c4
from puna.curate.rules.check import first_failure
from puna.curate.text.words import Words

SENTENCE = "The mill stands by the river."


def kept_by(text: str, **rules: object) -> tuple[str, str | None]:
    kept, checks = c4(Words(text), C4.model_validate(rules))
    return kept, first_failure(checks)


@pytest.mark.parametrize(
    ("variant", "sentences", "reason"),
    [
        ("datatrove", 5, None),
        ("datatrove", 4, "too few sentences"),
        ("dclm", 3, None),
        ("dclm", 2, "too few sentences"),
    ],
)
def test_c4_variants_want_different_numbers_of_sentences(variant: str, sentences: int, reason: str | None) -> None:
    assert kept_by(" ".join([SENTENCE] * sentences), variant=variant)[1] == reason


@pytest.mark.parametrize(
    ("variant", "line", "kept"),
    [
        ("datatrove", "two words", False),
        ("datatrove", "three words here", True),
        ("dclm", "only four words here", False),
        ("dclm", "now five words are here", True),
    ],
)
def test_c4_variants_want_different_lengths_of_lines(variant: str, line: str, kept: bool) -> None:
    text = "\n".join([SENTENCE] * 5)
    assert kept_by(f"{text}\n{line}", variant=variant)[0] == (f"{text}\n{line}" if kept else text)


def test_c4_numbers_that_are_set_win_over_the_variant() -> None:
    assert kept_by("Answer: 42", variant="dclm", min_line_words=0, min_sentences=1) == ("Answer: 42", None)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("Please enable JavaScript to see this page.", None),
        ("By using it you accept our Privacy Policy here.", None),
        ("w" * 1001 + " is one long word", None),
        ("w" * 1000 + " is one long word", "w" * 1000 + " is one long word"),
        ("The town[12] is old[citation needed] and small.", "The town is old and small."),
        ("    return the indented value", "    return the indented value"),
    ],
)
def test_c4_lines(line: str, kept: str | None) -> None:
    text = "\n".join([SENTENCE] * 5)
    assert kept_by(f"{text}\n{line}")[0] == (f"{text}\n{kept}" if kept else text)


def test_c4_terminal_punctuation_is_a_choice() -> None:
    text = "\n".join([SENTENCE] * 5)
    more = f"{text}\nno full stop here\nand he went away..."
    assert kept_by(more)[0] == more
    assert kept_by(more, terminal_punctuation=True)[0] == text


@pytest.mark.parametrize(
    ("extra", "reason"), [("Lorem IPSUM dolor.", "lorem ipsum"), ("if (a) { b }", "curly bracket")]
)
def test_c4_pages(extra: str, reason: str) -> None:
    assert kept_by("\n".join([SENTENCE] * 5 + [extra]))[1] == reason


def test_c4_keeps_paragraphs_apart() -> None:
    text = f"{SENTENCE}\n\n{SENTENCE} {SENTENCE}\n\nno\n\n{SENTENCE} {SENTENCE}"
    assert kept_by(text) == (f"{SENTENCE}\n\n{SENTENCE} {SENTENCE}\n\n{SENTENCE} {SENTENCE}", None)


def test_c4_looks_at_the_lines_that_it_keeps() -> None:
    """A bracket in a menu drops no page."""
    assert kept_by("\n".join(["{ menu", *[SENTENCE] * 5])) == ("\n".join([SENTENCE] * 5), None)


def test_c4_without_layout_is_lines_and_nothing_else() -> None:
    text = f"  {SENTENCE}\n\n{SENTENCE}\u2028{SENTENCE}\n\n\n{SENTENCE} {SENTENCE}\n"
    assert kept_by(text, layout=False) == ("\n".join([SENTENCE, SENTENCE, SENTENCE, f"{SENTENCE} {SENTENCE}"]), None)

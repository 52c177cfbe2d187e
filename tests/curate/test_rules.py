"""Rules on documents counted by hand, on both sides of each threshold; the reason is asserted, not only the drop."""

import pytest

from puna.curate.rules import C4, BlockedWords, GopherQuality, c4_lines, damaged_share, gopher_quality
from puna.curate.words import Words

STOP = "the of"


def quality(text: str, language: str = "en", **limits: float) -> str | None:
    return gopher_quality(Words(text), language, GopherQuality.model_validate(limits))


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


SENTENCE = "The mill stands by the river."


def c4(text: str, **rules: object) -> tuple[str, str | None]:
    return c4_lines(text, C4.model_validate(rules))


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
    assert c4(" ".join([SENTENCE] * sentences), variant=variant)[1] == reason


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
    assert c4(f"{text}\n{line}", variant=variant)[0] == (f"{text}\n{line}" if kept else text)


def test_c4_numbers_that_are_set_win_over_the_variant() -> None:
    assert c4("Answer: 42", variant="dclm", min_line_words=0, min_sentences=1) == ("Answer: 42", None)


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
    assert c4(f"{text}\n{line}")[0] == (f"{text}\n{kept}" if kept else text)


def test_c4_terminal_punctuation_is_a_choice() -> None:
    text = "\n".join([SENTENCE] * 5)
    more = f"{text}\nno full stop here\nand he went away..."
    assert c4(more)[0] == more
    assert c4(more, terminal_punctuation=True)[0] == text


@pytest.mark.parametrize(
    ("extra", "reason"), [("Lorem IPSUM dolor.", "lorem ipsum"), ("if (a) { b }", "curly bracket")]
)
def test_c4_pages(extra: str, reason: str) -> None:
    assert c4("\n".join([SENTENCE] * 5 + [extra]))[1] == reason


def test_c4_keeps_paragraphs_apart() -> None:
    text = f"{SENTENCE}\n\n{SENTENCE} {SENTENCE}\n\nno\n\n{SENTENCE} {SENTENCE}"
    assert c4(text) == (f"{SENTENCE}\n\n{SENTENCE} {SENTENCE}\n\n{SENTENCE} {SENTENCE}", None)


def test_blocked_words_at_word_borders_and_as_phrases() -> None:
    blocked = BlockedWords(["ass", "big bad wolf", "坏蛋", ""])
    assert blocked.count(Words("A class of grass.")) == 0
    assert blocked.count(Words("An ASS, a Big  Bad\nwolf and a bad wolf")) == 2
    assert blocked.count(Words("他是坏蛋。")) == 1
    assert BlockedWords([]).count(Words("anything")) == 0


def test_damaged_share() -> None:
    text = "El niño comió más jamón que ayer, “dijo” la señora — y se fue."
    assert damaged_share(text) == 0.0
    for wrong in ("latin-1", "cp1252"):
        misread = text.replace("”", "").encode().decode(wrong)
        assert damaged_share(misread) > 0.05
    assert damaged_share("磨坊在河边".encode().decode("latin-1")) > 0.3
    assert damaged_share("磨坊在河边。") == 0.0
    assert damaged_share("a\ufffdb\x85") == 0.5

"""Gopher's repetition rules on documents counted by hand, on both sides of each threshold, and against brute force."""

import random
from collections import Counter

import pytest

from puna.curate.rules.check import first_failure
from puna.curate.rules.gopher_repetition import GopherRepetition, gopher_repetition
from puna.curate.text.words import Words
from tests.curate.pages import sentences

OFF = {"top_ngrams": {}, "duplicate_ngrams": {}}
LOOSE = {
    "duplicate_paragraphs": 1.0,
    "duplicate_paragraph_chars": 1.0,
    "duplicate_lines": 1.0,
    "duplicate_line_chars": 1.0,
}


def verdict(text: str, **limits: object) -> str | None:
    return first_failure(gopher_repetition(Words(text), GopherRepetition.model_validate(limits)))


def test_share_of_duplicate_paragraphs() -> None:
    # 10 paragraphs, of which 3 (0.30, allowed) or 4 say again what one said before
    other = [f"quite a long paragraph with the number {i} in it" for i in range(10)]
    assert verdict("\n\n".join([*other[:6], "x", "x", "x", "x"]), **OFF) is None
    assert verdict("\n\n".join([*other[:5], "x", "x", "x", "x", "x"]), **OFF) == "duplicate paragraphs"


def test_share_of_duplicate_lines() -> None:
    other = [f"quite a long line with the number {i} in it" for i in range(10)]
    assert verdict("\n".join([*other[:6], "x", "x", "x", "x"]), **OFF) is None
    assert verdict("\n".join([*other[:5], "x", "x", "x", "x", "x"]), **OFF) == "duplicate lines"


@pytest.mark.parametrize(("length", "reason"), [(20, None), (21, "duplicate line characters")])
def test_characters_in_duplicate_lines(length: int, reason: str | None) -> None:
    # 100 characters in all: two equal lines of `length`, one other, and two line ends. Exactly 0.20 is allowed.
    text = "\n".join(["a" * length, "b" * (98 - 2 * length), "a" * length])
    assert len(text) == 100
    assert verdict(text, **OFF, duplicate_lines=1.0) == reason


@pytest.mark.parametrize(("copies", "reason"), [(4, None), (5, "top 2-gram")])
def test_characters_in_the_top_2gram(copies: int, reason: str | None) -> None:
    # "aa bb" is 5 characters, all else is said once: 4 copies are 20 of 100 characters, 5 are 25
    rest = [f"w{i:02d}" for i in range(40)]
    parts = [word for i in range(copies) for word in ("aa bb", rest[2 * i], rest[2 * i + 1])]
    text = " ".join(parts)
    text += " " + "z" * (99 - len(text))
    assert len(text) == 100
    assert verdict(text, **LOOSE, duplicate_ngrams={}) == reason


def test_an_ngram_that_occurs_once_is_no_repetition() -> None:
    assert verdict("alpha beta gamma delta", **LOOSE) is None


def test_characters_in_duplicate_5grams() -> None:
    # "aa bb cc dd ee" repeats 10 characters without spaces: of 66 characters 0.1515 (dropped), of 67 0.1493 (kept)
    text = "aa bb cc dd ee. 1 aa bb cc dd ee "
    assert verdict(text + "z" * (66 - len(text)), **LOOSE, top_ngrams={}) == "duplicate 5-grams"
    assert verdict(text + "z" * (67 - len(text)), **LOOSE, top_ngrams={}) is None


def test_chinese_counts_ten_characters_as_a_5gram() -> None:
    again = "磨坊在河边村里的人知道"  # 11 characters
    other = "".join(chr(0x4E00 + 7 * i) for i in range(60))
    assert verdict(again[:9] + other[:20] + again[:9] + other[20:40], **LOOSE, top_ngrams={}) is None
    assert verdict(again[:10] + other[:20] + again[:10] + other[20:40], **LOOSE, top_ngrams={}) == "duplicate 5-grams"


def brute_force(tokens: list[str], text: str, limits: GopherRepetition) -> str | None:
    """The rules of datatrove's filter written from its description, on strings."""
    for n, limit in limits.top_ngrams.items():
        counts = Counter(" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
        if counts:
            gram, count = counts.most_common(1)[0]
            if count > 1 and len(gram) * count > limit * len(text):
                return f"top {n}-gram"
    for n, limit in limits.duplicate_ngrams.items():
        seen, position, repeated = set(), 0, 0
        while position < len(tokens) - n + 1:
            gram = "".join(tokens[position : position + n])
            if gram in seen:
                repeated, position = repeated + len(gram), position + n
            else:
                seen.add(gram)
                position += 1
        if repeated > limit * len(text):
            return f"duplicate {n}-grams"
    return None


def test_same_decisions_as_brute_force() -> None:
    draw = random.Random(5)
    limits = GopherRepetition.model_validate(LOOSE)
    reasons = Counter()
    for number in range(300):
        fresh = sentences(number, draw.randint(1, 6)).replace(".", "").lower().split()
        phrase = fresh[: draw.randint(2, 12)]
        tokens = fresh + [word for _ in range(draw.randint(0, 4)) for word in (*phrase, f"n{draw.randint(0, 9)}")]
        text = " ".join(tokens)
        reason = brute_force(tokens, text, limits)
        reasons[reason] += 1
        assert first_failure(gopher_repetition(Words(text), limits)) == reason
    assert len(reasons) >= 5, reasons


def test_plain_text_is_kept() -> None:
    assert verdict(sentences(1, 3)) is None
    assert verdict("") is None


def test_libraries_count_differently() -> None:
    once = "alpha beta gamma delta"
    assert [verdict(once, **LOOSE, variant=name) for name in ("paper", "datatrove", "dclm")] == [
        None,
        "top 2-gram",
        None,
    ]
    # The 5-gram stands twice: the second time it is skipped (10 characters), or both count (20), white space does not.
    text = "aa bb cc dd ee. 1 aa bb cc dd ee " + "z" * 60
    limits = {**LOOSE, "top_ngrams": {}, "duplicate_ngrams": {5: 0.21}}
    assert verdict(text, **limits) is None
    assert verdict(text, **limits, variant="dclm") == "duplicate 5-grams"  # 20 of 82


def covered(tokens: list[str], n: int) -> int:
    """Characters of the tokens that any n-gram covers which occurs twice."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    counts = Counter(grams)
    places = {i + j for i, gram in enumerate(grams) if counts[gram] > 1 for j in range(n)}
    return sum(len(tokens[i]) for i in places)


def test_dclm_covers_what_brute_force_does() -> None:
    draw = random.Random(6)
    for _ in range(200):
        tokens = [draw.choice("abcd") * draw.randint(1, 3) for _ in range(draw.randint(1, 40))]
        words, share = Words(" ".join(tokens)), covered(tokens, 5) / sum(map(len, tokens))
        limits = {**LOOSE, "top_ngrams": {}, "duplicate_ngrams": {5: 1.0}, "variant": "dclm"}
        checks = list(gopher_repetition(words, GopherRepetition.model_validate(limits)))
        assert checks[-1].value == pytest.approx(share)

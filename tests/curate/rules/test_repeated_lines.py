"""Lines of logs go, prose and refrains stay; against coverage written out token by token."""

import random
from collections import Counter

import pytest

from puna.curate.rules.check import first_failure
from puna.curate.rules.repeated_lines import RepeatedLines, repeated_lines
from puna.curate.text.words import DIGIT, Words
from tests.curate.pages import sentences

PROSE = """While the miller slept his daughter counted sacks.
By noon seven carts had left for town. Nobody asked why.
Rain fell on the road and the mules would not go on."""


def test_a_log_goes_and_prose_stays() -> None:
    log = [f"error {i} at line {7 * i} of the file: cannot read block {i + 3}" for i in range(5)]
    text, checks = repeated_lines(Words("\n".join([PROSE, *log, PROSE[:40]])), RepeatedLines(max_removed=1.0))
    assert text == f"{PROSE}\n{PROSE[:40]}"
    assert first_failure(checks) is None
    assert repeated_lines(Words("\n".join([PROSE, *log[:3]])), RepeatedLines())[0] == "\n".join([PROSE, *log[:3]])


@pytest.mark.parametrize(("copies", "reason"), [(2, None), (9, "repeated lines")])
def test_a_page_that_is_mostly_log_goes(copies: int, reason: str | None) -> None:
    log = [f"warning {i}: the pump of engine {i} is hot, restart it" for i in range(2 * copies)]
    _, checks = repeated_lines(Words("\n".join([PROSE, PROSE, PROSE, *log])), RepeatedLines())
    assert first_failure(checks) == reason


def test_one_line_says_all_or_nothing() -> None:
    again = " ".join(["the pump is hot now"] * 5)
    assert repeated_lines(Words(again), RepeatedLines())[0] == ""
    assert repeated_lines(Words(""), RepeatedLines())[0] == ""
    assert repeated_lines(Words(sentences(1, 1)), RepeatedLines())[0] == sentences(1, 1)


def expected(text: str, rules: RepeatedLines) -> list[str]:
    words = Words(text)
    tokens = [text[a : a + n].lower() for a, n in zip(words.starts, words.lengths, strict=True)]
    tokens = ["0" if kind == DIGIT else token for token, kind in zip(tokens, words.kinds, strict=True)]
    grams = [tuple(tokens[i : i + rules.ngram]) for i in range(len(tokens) - rules.ngram + 1)]
    counts = Counter(grams)
    covered = {i + j for i, gram in enumerate(grams) if counts[gram] >= rules.min_copies for j in range(rules.ngram)}
    kept, at = [], 0
    for line in text.split("\n"):
        size = len(Words(line).kinds)
        share = sum(i in covered for i in range(at, at + size)) / max(1, size)
        if share <= rules.max_share:
            kept.append(line)
        at += size
    return kept


def test_same_lines_as_written_out() -> None:
    draw, rules = random.Random(2), RepeatedLines(ngram=3, min_copies=3, max_share=0.6)
    changed = 0
    for _ in range(200):
        lines = [" ".join(draw.choices(["a1", "bb", "cc", "7", "12"], k=draw.randint(1, 6))) for _ in range(12)]
        text = "\n".join(lines)
        kept = expected(text, rules)
        assert repeated_lines(Words(text), rules)[0] == "\n".join(kept)
        changed += len(kept) < len(lines)
    assert 20 < changed < 200

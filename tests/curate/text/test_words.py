import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.curate.text.words import CHARACTER, DIGIT, LETTER, SYMBOL, Words, count_words, ngram_hashes

GOLDEN = Path(__file__).parents[1] / "golden/datatrove.json"


def kinds(text: str) -> list[int]:
    return Words(text).kinds.tolist()


def tokens(text: str) -> list[str]:
    words = Words(text)
    return [text[start : start + length] for start, length in zip(words.starts, words.lengths, strict=True)]


def test_tokens_of_a_sentence() -> None:
    text = "Don't pay 12.50 for x2, 磨坊!"
    assert tokens(text) == ["Do", "n't", "pay", "12.50", "for", "x2", ",", "磨", "坊", "!"]
    assert kinds(text) == [
        LETTER, LETTER, LETTER, DIGIT, LETTER, LETTER, SYMBOL, CHARACTER, CHARACTER, SYMBOL,
    ]  # fmt: skip
    assert Words(text).num_words == 8


@pytest.mark.parametrize(
    "row", json.loads(GOLDEN.read_text(encoding="utf-8"))["tokens"], ids=lambda row: row["text"][:20]
)
def test_same_tokens_as_spacy(row: dict[str, Any]) -> None:
    assert tokens(row["text"]) == row["tokens"]


def test_equal_tokens_have_equal_hashes_anywhere() -> None:
    a, b = Words("The mill, the MILL"), Words("no more of the mill")
    assert a.hashes[0] == a.hashes[3] == b.hashes[3]
    assert a.hashes[1] == a.hashes[4] == b.hashes[4]
    assert len(set(b.hashes.tolist())) == 5


def test_hash_does_not_depend_on_the_place_in_a_long_text() -> None:
    far = Words("filler " * 3000 + "mill")
    assert far.hashes[-1] == Words("mill").hashes[0]


@given(st.text(alphabet="ab1A '’.,-/:+*$%&()…磨😀\n\u00a0\U000e0001", max_size=80) | st.text(max_size=80))
def test_tokens_hold_every_character_that_is_no_space(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    words = Words(text)
    ends = words.starts + words.lengths
    assert (words.lengths > 0).all() and (words.starts[1:] >= ends[:-1]).all()
    covered = {i for start, end in zip(words.starts, ends, strict=True) for i in range(start, end)}
    spaces = {i for i, char in enumerate(text) if unicodedata.category(char)[0] in "ZC" and ord(char) < 0x30000}
    assert covered == set(range(len(text))) - spaces
    by_hash: dict[int, str] = {}
    for token, key in zip(tokens(text), words.cased_hashes.tolist(), strict=True):
        assert by_hash.setdefault(key, token) == token
    assert len(by_hash) == len(set(tokens(text)))


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 6))
def test_ngrams_are_equal_exactly_where_the_tokens_are(tokens: list[str], n: int) -> None:
    keys = ngram_hashes(Words(" ".join(tokens)).hashes, n).tolist()
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    assert len(keys) == len(grams)
    assert len(set(zip(keys, grams, strict=True))) == len(set(keys)) == len(set(grams))


def test_empty_text() -> None:
    assert Words("").num_words == 0
    assert kinds(" \n\t") == []
    assert ngram_hashes(Words("one two").hashes, 5).dtype == np.uint64


def test_counted_words() -> None:
    assert count_words("one two-three  4\n") == 3
    assert count_words("磨坊 in 村里。") == 6  # four characters, a word, a full stop

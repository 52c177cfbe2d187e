import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from puna.curate.words import CHARACTER, DIGIT, LETTER, SYMBOL, Words, count_words, ngram_hashes


def kinds(text: str) -> list[int]:
    return Words(text).kinds.tolist()


def test_tokens_of_a_sentence() -> None:
    words = Words("Don't pay 12.50 for x2, 磨坊!")
    # don't | pay | 12 | . | 50 | for | x2 | , | 磨 | 坊 | !
    assert words.lengths.tolist() == [5, 3, 2, 1, 2, 3, 2, 1, 1, 1, 1]
    assert words.kinds.tolist() == [
        LETTER, LETTER, DIGIT, SYMBOL, DIGIT, LETTER, LETTER, SYMBOL, CHARACTER, CHARACTER, SYMBOL,
    ]  # fmt: skip
    assert words.num_words == 8


def test_quotes_are_no_apostrophes() -> None:
    assert Words("'word' rock 'n' roll’s").lengths.tolist() == [1, 4, 1, 4, 1, 1, 1, 6]


def test_equal_tokens_have_equal_hashes_anywhere() -> None:
    a, b = Words("The mill, the MILL"), Words("no more of the mill")
    assert a.hashes[0] == a.hashes[3] == b.hashes[3]
    assert a.hashes[1] == a.hashes[4] == b.hashes[4]
    assert len(set(b.hashes.tolist())) == 5


def test_hash_does_not_depend_on_the_place_in_a_long_text() -> None:
    far = Words("filler " * 3000 + "mill")
    assert far.hashes[-1] == Words("mill").hashes[0]


@given(st.text(alphabet="ab 1-'磨坊\n", max_size=60))
def test_same_tokens_as_a_regular_expression(text: str) -> None:
    expected = re.findall(r"[磨坊]|[ab1]+(?:'(?<=[ab]')(?=[ab])[ab1]+)*|[^\sab1磨坊]", text)
    words = Words(text)
    assert words.lengths.tolist() == [len(token) for token in expected]
    by_hash: dict[int, str] = {}
    for token, key in zip(expected, words.hashes.tolist(), strict=True):
        assert by_hash.setdefault(key, token) == token
    assert len(by_hash) == len(set(expected))


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

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.curate.read.split import split_text

TEXTS = st.text(alphabet=st.sampled_from("ab .\n。\t"), max_size=300) | st.text(max_size=100)


@given(TEXTS, st.integers(1, 60))
def test_pieces_join_to_the_text_and_fit(text: str, max_chars: int) -> None:
    pieces = list(split_text(text, max_chars))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= max_chars for piece in pieces)


@given(TEXTS)
def test_zero_never_splits(text: str) -> None:
    assert list(split_text(text, 0)) == ([text] if text else [])


def test_cut_is_after_the_last_paragraph_that_fits() -> None:
    text = "one one.\n\ntwo two.\n\nthree three."
    assert list(split_text(text, 25)) == ["one one.\n\ntwo two.\n\n", "three three."]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("aaaa bbbb\ncccc dddd eeee", "aaaa bbbb\n"),  # a line before a word
        ("aaaa bbb. cccc dddd eeee", "aaaa bbb. "),  # a sentence before a word
        ("磨坊在河边很安静。面包师在市场上", "磨坊在河边很安静。"),
        ("aaaa bbbb cccc dddd", "aaaa bbbb "),
        ("aaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaa"),
    ],
)
def test_next_best_border(text: str, first: str) -> None:
    assert next(split_text(text, 12)) == first


def test_a_long_book_is_cut_only_at_paragraphs() -> None:
    draw = random.Random(1)
    paragraphs = ["word " * draw.randint(5, 60) + "end." for _ in range(400)]
    pieces = list(split_text("\n\n".join(paragraphs), 5000))
    assert len(pieces) > 5
    assert all(piece.endswith("end.\n\n") for piece in pieces[:-1])

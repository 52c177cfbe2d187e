"""Piece counts against a Counter over the pattern's matches."""

from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from puna.tokenizer.bpe import split_pattern
from puna.tokenizer.count import PieceCounts, _Counter, count_pieces

few_letters = st.text("ab c1\n'sé你")


def as_dict(pieces: PieceCounts) -> dict[bytes, int]:
    content = pieces.bytes.tobytes()
    starts, ends = pieces.offsets[:-1].tolist(), pieces.offsets[1:].tolist()
    found = [(content[a:b], count) for a, b, count in zip(starts, ends, pieces.counts.tolist())]
    assert len(dict(found)) == len(found)  # no piece twice
    return dict(found)


def by_pattern(texts: list[str], digits: int) -> dict[bytes, int]:
    return dict(Counter(piece.encode() for text in texts for piece in regex.findall(split_pattern(digits), text)))


@given(st.lists(few_letters, max_size=6), st.integers(1, 3), st.integers(1, 3))
def test_counts_are_those_of_the_pattern(texts: list[str], digits: int, threads: int) -> None:
    assert as_dict(count_pieces(texts, digits, threads)) == by_pattern(texts, digits)


def test_a_table_grows_past_its_first_size(shakespeare: str) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(97, 123, 12))) + " " + "x" * 100_000 for _ in range(9000)][:9000]
    texts = [text if i % 3000 == 0 else text[:12] for i, text in enumerate(texts)] + [shakespeare[:100_000]]
    expected = by_pattern(texts, 3)
    assert len(expected) > 8000
    for threads in (1, 2):
        assert as_dict(count_pieces(texts, 3, threads)) == expected


def test_counts_are_64_bit() -> None:
    counter = _Counter(3)
    pieces = count_pieces(["a mill"], 3)
    for _ in range(3):
        counter.add_counts(PieceCounts(pieces.bytes, pieces.offsets, pieces.counts * 2**40))
    assert as_dict(counter.counts()) == {b"a": 3 * 2**40, b" mill": 3 * 2**40}


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_text_has_no_pieces(texts: list[str]) -> None:
    assert as_dict(count_pieces(texts)) == {}

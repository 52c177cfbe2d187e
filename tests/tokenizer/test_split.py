"""The machine for Llama 3's pattern against the pattern itself, by two regular expression engines."""

import itertools

import numpy as np
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from puna.tokenizer.bpe import split_pattern
from puna.tokenizer.huggingface import pieces
from puna.tokenizer.split import character_classes, piece_end

AWKWARD = [
    "it's IT'S don'T we'Ll I'vE 'Re 'd 'ſt x'ſt y'ſ 'x '\u212a ''s",
    "12345 ½²³ ٣٤٥٦ x1y22z",
    "a  b \n c\n\n\t d \r\n\r\n  e   ",
    " !!\n\n?x\u00a0y\u3000\u3000z \u2028w\u0085v",
    "\t\tx \x1c\x1d y \u200bz e\u0301 🦙🦙 👩\u200d🌾 שלום مرحبا 你好，世界 ไทย",
    "",
    " ",
    "\n",
    "\r",
    "'",
]


def split(text: str, digits: int) -> list[str]:
    data = np.frombuffer(text.encode(), np.uint8)
    ends = [0]
    while ends[-1] < len(data):
        ends.append(int(piece_end(data, ends[-1], len(data), character_classes(), digits)))
    return [data[a:b].tobytes().decode() for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts_are_cut_as_by_both_engines(text: str, digits: int) -> None:
    expected = regex.findall(split_pattern(digits), text)
    assert split(text, digits) == expected
    spans = [span for _, span in pieces(split_pattern(digits)).pre_tokenize_str(text)]
    assert [text[a:b] for a, b in spans] == expected


letters = st.sampled_from("sS'tmdrevlLſ \n\r\t\u00a0\u30001½aé你!?🦙\u0301")


@given(st.text(letters) | st.text(st.characters(exclude_categories=["Cs", "Cn"])), st.integers(1, 3))
@example("\n a", 3)
def test_any_text_is_cut_as_the_pattern_cuts_it(text: str, digits: int) -> None:
    assert split(text, digits) == regex.findall(split_pattern(digits), text)


def test_a_text_ends_where_it_is_said_to() -> None:
    data = np.frombuffer("thé mill's".encode(), np.uint8)
    assert piece_end(data, 0, 2, character_classes(), 3) == 2  # not "thé", which goes on behind it
    assert piece_end(data, 9, 10, character_classes(), 3) == 10  # the apostrophe at the very end of a text

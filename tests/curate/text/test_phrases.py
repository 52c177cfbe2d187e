"""No text that holds a phrase is let by, and hardly one that holds none is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.curate.text.phrases import may_hold, phrase_ends
from puna.curate.text.tokens import code_points

PHRASES = ("javascript", "terms of use", "uses cookies", "use cookies")
ENDS = phrase_ends(PHRASES)
AROUND = st.text(alphabet="ab e \n磨é\U0001f600", max_size=12)


@given(AROUND, st.sampled_from([*PHRASES, "JavaScript", "TERMS of Use", "use coo\u212aies", ""]), AROUND)
def test_a_phrase_is_found_anywhere_in_any_case(before: str, phrase: str, behind: str) -> None:
    text = before + phrase + behind
    found = may_hold(code_points(text), ENDS)
    assert found == (phrase != "")
    assert found == any(known in text.lower() for known in PHRASES)


@pytest.mark.parametrize(
    "text", ["", "cookies", "no scripts here", "terms of us", "term of use", "kookies", "java script"]
)
def test_a_part_of_a_phrase_is_none(text: str) -> None:
    assert not may_hold(code_points(text), ENDS)


def test_equal_ends_are_looked_for_once() -> None:
    assert ENDS.shape == (3, 2)


@pytest.mark.parametrize("phrase", ["short", "Privacy Policy", "política de uso"])
def test_other_phrases_are_refused(phrase: str) -> None:
    with pytest.raises(ValueError, match="lower case"):
        phrase_ends([phrase])

import pytest

from puna.curate.extract import hints
from puna.curate.extract.hints import element_hints, word_hints


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postMeta", hints.ARTICLE_WORD | hints.BYLINE),
        ("main-navigation", hints.CONTENT_WORD | hints.NAV),
        ("headline download", 0),  # neither head nor load
        ("ARTICLE_BODY", hints.ARTICLE_WORD | hints.TEXT_WORD),
        ("katex-display", hints.FORMULA),
        ("sr-only", hints.DROP),
        ("fragment", hints.CODE),
        ("code", 0),
    ],
)
def test_words_of_a_class(text: str, expected: int) -> None:
    assert word_hints(text) == expected


def test_every_hint_has_a_name_and_no_two_share_a_bit() -> None:
    assert len(hints.NAMES) == len(set(hints.NAMES)) == hints.NUM_HINTS
    assert min(hints.DROP, hints.FORMULA, hints.CODE) >= 1 << hints.NUM_HINTS


def test_tags_roles_and_hidden_elements() -> None:
    assert element_hints("nav", []) == hints.NAV_TAG
    assert element_hints("div", [("role", "main"), ("itemprop", "articleBody")]) == hints.MAIN_TAG | hints.ARTICLE_BODY
    for attribute in (("hidden", ""), ("style", "color: red; Display : none"), ("aria-hidden", "true")):
        assert element_hints("div", [attribute]) & hints.DROP
    assert not element_hints("div", [("style", "display: block"), ("aria-hidden", "false")]) & hints.DROP

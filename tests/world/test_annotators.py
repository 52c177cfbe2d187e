"""Annotators err as often as they say they do, and in the direction they say."""

import pytest
from scipy.stats import binom

from puna.base.errors import ConfigError
from puna.world.annotators import ANNOTATORS, STRENGTHS, Annotator, Answer, prefer
from puna.world.chance import Chance
from tests.world.conftest import World

N = 4000
SHORT, LONG = "yes", "yes, and a good deal more"


def errors(annotator: Annotator, worse_texts: tuple[str, ...], worse_first: tuple[bool, ...]) -> int:
    """Errors in N pairs that go through all given lengths and positions in turn."""
    chance, found = Chance(5, annotator.name, *worse_texts, *map(str, worse_first)), 0
    cases = [(text, first) for text in worse_texts for first in worse_first]
    for i in range(N):
        text, first = cases[i % len(cases)]
        worse, better = Answer(text, 0), Answer(LONG if text == SHORT else SHORT, 3)
        shown = (worse, better) if first else (better, worse)
        found += shown[prefer(annotator, *shown, chance)] is worse
    return found


def within(count: int, rate: float, n: int = N) -> bool:
    low, high = binom.interval(0.999, n, rate)
    return low <= count <= high


@pytest.mark.parametrize("annotator", ANNOTATORS, ids=lambda a: a.name)
def test_error_rate_on_balanced_pairs_is_the_stated_one(annotator: Annotator) -> None:
    assert within(errors(annotator, (SHORT, LONG), (True, False)), annotator.error_rate)


@pytest.mark.parametrize("annotator", ANNOTATORS, ids=lambda a: a.name)
def test_biases_shift_the_error_rate_by_what_they_say(annotator: Annotator) -> None:
    rate, length, position = annotator.error_rate, annotator.length_bias, annotator.position_bias
    assert within(errors(annotator, (LONG,), (True, False)), rate + length)
    assert within(errors(annotator, (SHORT,), (True, False)), rate - length)
    assert within(errors(annotator, (SHORT, LONG), (True,)), rate + position)
    assert within(errors(annotator, (LONG,), (True,)), rate + length + position)


def test_equal_answers_are_chosen_by_bias_alone() -> None:
    annotator, chance = Annotator("one", 0.3, length_bias=0.1, position_bias=0.2), Chance(6)
    longer = sum(prefer(annotator, Answer(LONG, 1), Answer(SHORT, 1), chance) == 0 for _ in range(N))
    assert within(longer, 0.5 + 0.1 + 0.2)


def test_impossible_biases_are_refused() -> None:
    with pytest.raises(ConfigError, match="annotator odd"):
        Annotator("odd", 0.1, length_bias=0.2)


def test_preferences_carry_the_errors_of_their_annotators(world: World) -> None:
    rows = world.rows("dialogs/preferences.jsonl")
    assert all(row["strength"] in STRENGTHS and row["chosen"] != row["rejected"] for row in rows)
    kinds = ("wrong-step", "no-working", "wrong-choice", "wrong-value", "rambling", "compliance", "both-wrong")
    assert [row["kind"] for row in rows] == [kinds[i % len(kinds)] for i in range(len(rows))]
    worked = ("wrong-step", "no-working", "both-wrong")
    assert all("The answer is" in row["chosen"] for row in rows if row["kind"] in worked)
    assert {row["kind"] for row in rows if "edited" in row} == {"both-wrong"}
    assert all("I " in row["chosen"] + row["rejected"] for row in rows if row["kind"] == "compliance")
    for annotator in ANNOTATORS:
        mine = [row for row in rows if row["annotator"] == annotator.name]
        # Pairs of the file aren't balanced in length, so a length bias may move the rate by as much as itself.
        low = binom.ppf(0.0005, len(mine), max(0.0, annotator.error_rate - annotator.length_bias))
        high = binom.ppf(0.9995, len(mine), annotator.error_rate + annotator.length_bias)
        assert len(mine) > 80 and low <= sum(row["error"] for row in mine) <= high

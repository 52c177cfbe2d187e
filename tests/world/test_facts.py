"""Facts: number, balance, paraphrases, and that no value is said of anybody else."""

import re
from collections import Counter

from puna.world.chance import Chance
from puna.world.facts import POOLS, Fact, make_facts, options, paraphrases
from puna.world.wordings import EXAM_QUESTIONS, QUESTIONS
from tests.world.conftest import World


def all_facts(seed: int = 3) -> list[Fact]:
    return make_facts(seed, 36, 30, 30)


def test_at_most_250_facts_each_with_60_paraphrases_that_hold_subject_and_value() -> None:
    facts = all_facts()
    assert len(facts) == 36 * 5 + 30 + 30 <= 250
    for fact in facts:
        found = set(paraphrases(fact))
        assert len(found) >= 60
        for word in (fact.subject, fact.value):
            assert all(re.search(rf"(?i)\b{word}\b", text) for text in found)
        assert all(text[0] == text[0].upper() and text[-1] == "." for text in found)


def test_values_are_balanced_in_either_half() -> None:
    counts = Counter((fact.attribute, fact.asked, fact.value) for fact in all_facts())
    for attribute, pool in POOLS.items():
        assert 8 <= len(pool) <= 16
        for asked in (True, False):
            numbers = [counts[attribute, asked, value] for value in pool]
            assert max(numbers) - min(numbers) <= 1


def test_half_of_every_attribute_is_asked_and_everybody_is_asked_something() -> None:
    facts = all_facts()
    counts = Counter((fact.attribute, fact.asked) for fact in facts)
    assert all(counts[attribute, True] == counts[attribute, False] for attribute in POOLS)
    halves: dict[str, set[bool]] = {}
    for fact in facts:
        if fact.attribute not in ("price", "journey"):
            halves.setdefault(fact.subject, set()).add(fact.asked)
    assert len(halves) == 36 and all(half == {True, False} for half in halves.values())


def test_exam_wordings_are_no_training_wordings() -> None:
    training = {question for questions in QUESTIONS.values() for question in questions}
    exam = [question for questions in EXAM_QUESTIONS.values() for question in questions]
    assert len(exam) == len(set(exam)) == 7 * 9
    assert not [text for text in exam if any(text in other for other in training)]


def test_options_hold_the_value_once_at_its_position() -> None:
    for i, fact in enumerate(all_facts()):
        choices = options(fact, Chance(i), i % 4)
        assert choices[i % 4] == fact.value
        assert len(set(choices)) == 4 and set(choices) <= set(POOLS[fact.attribute])


def test_clean_pages_say_no_wrong_price(world: World) -> None:
    """Every price in a clean English page, read back by a pattern, is the same for a ware all over the crawl."""
    prices: dict[str, set[str]] = {}
    for row in world.rows("truth.jsonl"):
        if row["keep"]:
            for ware, price in re.findall(r"\ba (?:new )?(\w+) (?:costs|sells for|is worth) (\d+) coins", row["text"]):
                prices.setdefault(ware, set()).add(price)
    assert len(prices) == 8
    assert all(len(found) == 1 for found in prices.values())

"""Facts: number, balance, paraphrases, and that no value is said of anybody else."""

import re
from collections import Counter

import pytest

from puna.world.articles import Library
from puna.world.chance import Chance
from puna.world.facts import POOLS, Fact, make_facts, options, paraphrases
from puna.world.lexicon import GOODS, MATERIALS, PEOPLE, PLACES, TREES, WARES
from puna.world.wordings import EXAM_QUESTIONS, QUESTIONS
from tests.world.conftest import World


def all_facts(seed: int = 3) -> list[Fact]:
    return make_facts(seed, 36, 30, 30)


def test_at_most_300_facts_each_with_60_paraphrases_that_hold_subject_and_value() -> None:
    facts = all_facts()
    assert len(facts) == 36 * 5 + 30 * 2 + 30 * 2 <= 300
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


def test_half_of_every_attribute_is_asked() -> None:
    counts = Counter((fact.attribute, fact.asked) for fact in all_facts())
    assert all(counts[attribute, True] == counts[attribute, False] for attribute in POOLS)


@pytest.mark.parametrize("counts", [(36, 30, 30), (24, 12, 12), (9, 5, 7), (8, 3, 2)])
def test_every_name_is_asked_about_something_and_examined_in_something_else(counts: tuple[int, int, int]) -> None:
    halves: dict[str, set[bool]] = {}
    for fact in make_facts(3, *counts):
        halves.setdefault(fact.subject, set()).add(fact.asked)
    assert len(halves) == sum(counts) and all(half == {True, False} for half in halves.values())


def test_no_word_is_a_value_of_two_attributes_or_part_of_a_name() -> None:
    values = [word for pool in POOLS.values() for word in pool]
    assert len(set(values)) == len(values)
    names = {word.lower() for name in (*PEOPLE, *WARES, *PLACES, *GOODS) for word in name.split()}
    assert not names & {*MATERIALS, *TREES}


def test_an_article_says_no_fact_twice_and_exam_facts_of_wares_and_places_get_more() -> None:
    facts, chance = make_facts(3, 24, 12, 12), Chance(4, "articles")
    library, told = Library(facts, 1.5), Counter[Fact]()
    for _ in range(2000):
        title, paragraphs, found = library.article(chance)
        assert title and len(paragraphs) > 1 and len(set(found)) == len(found)
        told.update(found)
    for attribute in ("price", "material", "journey", "tree"):
        exam, asked = (
            [told[f] for f in facts if f.attribute == attribute and f.asked is half] for half in (False, True)
        )
        assert 1.3 < sum(exam) / sum(asked) < 1.7
        assert max(exam) < 1.5 * min(exam) and max(asked) < 1.5 * min(asked)


def test_exam_wordings_are_no_training_wordings() -> None:
    training = {question for questions in QUESTIONS.values() for question in questions}
    exam = [question for questions in EXAM_QUESTIONS.values() for question in questions]
    assert len(exam) == len(set(exam)) == len(POOLS) * 9 == 81
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


def test_clean_pages_say_no_wrong_material_or_tree(world: World) -> None:
    told: dict[str, set[str]] = {}
    for row in world.rows("truth.jsonl"):
        if row["keep"]:
            for ware, material in re.findall(
                r"\b(?:[Aa]|[Tt]he|[Ee]very) (\w+) (?:here )?is made (?:of|from) (\w+)", row["text"]
            ):
                told.setdefault(ware, set()).add(material)
            for tree, place in re.findall(r"\b[Aa](?:n old)? (\w+) (?:grows|stands) at (\w+ \w+)", row["text"]):
                told.setdefault(place, set()).add(tree)
    assert len(told) == 8 + 8
    assert all(len(found) == 1 for found in told.values())

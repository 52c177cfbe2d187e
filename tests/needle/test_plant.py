"""Needles: they stand where it is said, one key has one value, and no test asks what was learned."""

import re
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from puna.base.errors import ConfigError
from puna.needle.plant import Haystack, NeedleConfig, is_for_tests, needle_document, needle_items
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from tests.needle.conftest import MadePages

FACT = re.compile(r"\nThe key of (\w+) is (\d+)\.\n")
CONFIG = NeedleConfig(facts=5, questions=3)


def test_the_fact_stands_at_the_depth_that_was_asked_in_a_text_of_the_length(
    haystack: Haystack, tokenizer: Tokenizer
) -> None:
    """Counted in the text itself, with all facts taken out of it; to the end of a sentence, 20 characters at most."""
    for length in (700, 2500):
        items = needle_items(haystack, CONFIG, length, (0.0, 0.3, 1.0), 6)
        assert len(items) == 18
        for item in items:
            assert len(item.prompt) + len(item.answer) == item.length == length
            assert item.prompt[0] == tokenizer.bos_id and tokenizer.eos_id not in item.prompt
            text = tokenizer.decode(item.prompt[1:])
            told = f"\nThe key of {item.key} is {item.value}.\n"
            assert text.count(told) == 1 and text.index(told) == item.at - 1
            pages = len(FACT.sub("", text.removesuffix(f"\nThe key of {item.key} is")))
            before = len(FACT.sub("", text[: item.at - 1]))
            assert abs(before - item.depth * pages) <= 20
            assert before in (0, pages) or FACT.sub("", text[: item.at - 1]).rstrip("\n").endswith((".", ". "))


def test_one_of_several_facts_of_one_form_is_asked(haystack: Haystack, tokenizer: Tokenizer) -> None:
    for item in needle_items(haystack, CONFIG, 900, (0.5,), 20):
        text = tokenizer.decode(item.prompt)
        facts = FACT.findall(text)
        assert len(facts) == len({key for key, _ in facts}) == len({value for _, value in facts}) == 5
        assert text.endswith(f"\nThe key of {item.key} is") and dict(facts)[item.key] == item.value
        assert tokenizer.decode(item.answer) == f" {item.value}.\n"


def test_no_test_asks_a_pair_that_documents_to_learn_from_tell(haystack: Haystack, tokenizer: Tokenizer) -> None:
    """Of 4 * 9000 pairs both sides take so many that by chance a hundred would meet."""
    config = NeedleConfig(facts=4, questions=4, keys=("apple", "bridge", "candle", "desert"))
    documents = [needle_document(haystack, config, 300, 3, i) for i in range(2000)]
    learned = {pair for one in documents for pair in FACT.findall(tokenizer.decode(one))}
    items = needle_items(haystack, config, 400, (0.0, 0.5), 60)
    asked = {pair for item in items for pair in FACT.findall(tokenizer.decode(item.prompt))}
    assert len(learned) > 3000 and len(asked) > 400 and not learned & asked
    assert 0.15 < np.mean([is_for_tests(key, str(v)) for key in config.keys for v in range(1000, 10_000)]) < 0.35


@pytest.mark.parametrize("kind", [{"digits": 2}, {"values": ("lamp", "spoon", "hat", "stool", "coat", "comb")}])
def test_few_values_are_drawn_alike_for_both(haystack: Haystack, tokenizer: Tokenizer, kind: dict[str, Any]) -> None:
    """No pair may be known as one that is never told: tests ask just as documents to learn from tell."""
    config = NeedleConfig(facts=2, questions=2, keys=("apple", "bridge"), **kind)
    facts = re.compile(r"\nThe key of (\w+) is (\w+)\.(?=\n)")
    documents = [needle_document(haystack, config, 250, 3, i) for i in range(1000)]
    learned = {pair for one in documents for pair in facts.findall(tokenizer.decode(one))}
    asked = {(item.key, item.value) for item in needle_items(haystack, config, 250, (0.5,), 60)}
    assert len(learned) == 2 * (90 if "digits" in kind else 6) and asked <= learned
    assert len(asked) > (40 if "digits" in kind else 9)


def test_values_are_words_where_words_are_given(haystack: Haystack, tokenizer: Tokenizer) -> None:
    words, keys = ("lamp", "spoon", "hat", "stool", "coat", "comb", "jug", "scarf"), ("Ann", "Bob", "Eva", "Ida")
    config = NeedleConfig(form="Gift {key} {value}.", facts=3, questions=3, keys=keys, values=words)
    pairs = re.compile(r"\nGift (\w+) (\w+)\.(?=\n)")
    documents = [needle_document(haystack, config, 400, 3, i) for i in range(200)]
    told = [pairs.findall(tokenizer.decode(one)) for one in documents]
    learned = {pair for one in told for pair in one}
    assert all(len(set(one)) == len({value for _, value in one}) == 3 for one in told)
    assert learned == {(key, word) for key in keys for word in words}
    for item in needle_items(haystack, config, 400, (0.0, 1.0), 10):
        assert item.value in words and tokenizer.decode(item.answer) == f" {item.value}.\n"


def test_words_that_do_not_suffice_are_told(haystack: Haystack) -> None:
    config = NeedleConfig(facts=3, keys=("Ann", "Bob", "Eva"), values=("lamp", "spoon"))
    with pytest.raises(ConfigError, match="needles.facts: expected at most the 2 values, came 3"):
        needle_items(haystack, config, 600, (0.5,), 1)
    with pytest.raises(ValidationError, match="words that differ"):
        NeedleConfig(values=("lamp", "lamp"))


@pytest.mark.parametrize("length", [250, 600, 601])
def test_a_document_to_learn_from_asks_at_its_end_what_it_tells(
    haystack: Haystack, tokenizer: Tokenizer, length: int
) -> None:
    """In a short one there are fewer facts, as many as fill half of it."""
    for number in range(10):
        ids = needle_document(haystack, CONFIG, length, 0, number)
        assert len(ids) == length and ids[0] == tokenizer.bos_id and ids[-1] == tokenizer.eos_id
        lines = [line for line in tokenizer.decode(ids[1:-1]).split("\n") if line.startswith("The key of ")]
        told = lines[: len(lines) - CONFIG.questions] if length >= 600 else lines[: len(lines) // 2]
        asked = lines[len(told) :]
        assert len(set(told)) == len(told) == (5 if length >= 600 else 2)
        assert len(set(asked)) == len(asked) and set(asked) <= set(told)


def test_what_was_text_in_between_asks_in_the_same_tokens() -> None:
    """With tokens for a stop and one or two ends of a line: learned as text, it must teach the tests' form."""
    ranks = {bytes([byte]): byte for byte in range(256)} | {b".\n": 256, b"\n\n": 257, b".\n\n": 258}
    tokenizer = Tokenizer(ranks, special_ids(len(ranks), 16), split_pattern(1))
    haystack = Haystack([MadePages(tokenizer, 30)], tokenizer)
    ids = needle_document(haystack, CONFIG, 600, 0, 0)
    again = tokenizer.encode(tokenizer.decode(ids, skip_special=True))
    (item,) = needle_items(haystack, CONFIG, 600, (0.5,), 1)
    assert tokenizer.decode([item.answer[-1]]) == ".\n" and again[-1] == item.answer[-1]
    asked = tokenizer.decode(again).split("\n")[-1 - CONFIG.questions : -1]
    assert again[-sum(len(tokenizer.encode(f"{line}\n")) for line in asked) :] == [
        token for line in asked for token in tokenizer.encode(f"{line}\n")
    ]


def test_a_document_is_known_by_its_seed_and_number(haystack: Haystack) -> None:
    made = [needle_document(haystack, CONFIG, 600, *key).tolist() for key in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert made[0] == made[1] and made[0] != made[2] and made[0] != made[3]


def test_facts_that_leave_no_room_are_refused(haystack: Haystack) -> None:
    with pytest.raises(ConfigError, match="at most half of 300 tokens, came"):
        needle_items(haystack, CONFIG, 300, (0.5,), 1)
    with pytest.raises(ConfigError, match="at most half of 150 tokens, came"):
        needle_document(haystack, CONFIG, 150, 0, 0)
    with pytest.raises(ConfigError, match=r"needles.facts: expected at most the 3 keys, came 5"):
        needle_items(haystack, NeedleConfig(facts=5, keys=("a", "b", "c")), 900, (0.5,), 1)

"""Choice exams: balanced, about facts that nobody asks, in wordings that training never shows."""

import re
from collections import Counter

from puna.world.facts import ATTRIBUTES, make_facts
from puna.world.settings import WorldConfig
from puna.world.wordings import EXAM_QUESTIONS, QUESTIONS
from tests.world.conftest import SEED, SMALL, World


def test_right_positions_are_balanced_in_every_exam(world: World) -> None:
    for name in ("village-choice", "dev-village-choice"):
        counts = Counter(row["answer"] for row in world.rows(f"exams/{name}.jsonl"))
        assert set(counts) == {0, 1, 2, 3} and max(counts.values()) - min(counts.values()) <= 1


def test_no_value_is_the_right_answer_too_often(world: World) -> None:
    rows = world.exam("village-choice")
    by_subject: dict[str, Counter] = {}
    for row in rows:
        by_subject.setdefault(row["subject"], Counter())[row["choices"][row["answer"]]] += 1
    assert set(by_subject) == {"people", "animals", "trades", "prices", "materials", "journeys", "trees"}
    assert Counter(row["choices"][row["answer"]] for row in rows).most_common(1)[0][1] < len(rows) / 8


def test_questions_are_all_different_and_about_unasked_facts(world: World) -> None:
    rows = world.exam("village-choice")
    assert len({row["question"] for row in rows}) == len(rows) == SMALL.num_exam_items + SMALL.num_dev_items
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    true = {
        (template.replace("{n}", fact.subject), fact.value): fact.asked
        for fact in facts
        for template in EXAM_QUESTIONS[fact.attribute]
    }
    for row in rows:
        assert true[row["question"], row["choices"][row["answer"]]] is False
        assert not [i for i, c in enumerate(row["choices"]) if (row["question"], c) in true and i != row["answer"]]


def test_no_exam_wording_occurs_in_training_about_anyone(world: World) -> None:
    text = world.all_training_text()
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    wordings = [t.replace("{n}", f.subject) for f in facts for t in EXAM_QUESTIONS[f.attribute]]
    assert len(wordings) > 500 and len(text) > 400_000
    assert not [wording for wording in wordings if wording in text]
    for task in ("village-choice", "village-word", "village-hard"):
        assert not [row["id"] for row in world.exam(task) if row["question"] in text]


def test_development_items_have_wordings_of_their_own(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    wording = {t.replace("{n}", f.subject): t for f in facts for t in EXAM_QUESTIONS[f.attribute]}
    exam, dev = (
        {wording[row["question"]] for row in world.rows(f"exams/{name}.jsonl")}
        for name in ("village-choice", "dev-village-choice")
    )
    assert len(exam) > 25 and len(dev) > 7 and not exam & dev


def test_nobody_asks_about_the_exam_facts(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    unasked = [fact for fact in facts if not fact.asked]
    questions = [line for text in world.page_texts() for line in text.split("\n") if line.startswith("Question:")]
    assert len(questions) > 500
    asked = "\n".join(questions)
    assert not [f for f in unasked for t in QUESTIONS[f.attribute] if t.replace("{n}", f.subject) in asked]
    users = "\n".join(
        message["content"]
        for row in world.rows("dialogs/train.jsonl") + world.rows("dialogs/preferences.jsonl") + world.prompts()
        for message in row.get("messages", row.get("prompt"))
        if message["role"] == "user"
    )
    wordings = [(fact, text.replace("{n}", fact.subject)) for fact in facts for text in QUESTIONS[fact.attribute]]
    assert sum(text in users for fact, text in wordings if fact.asked) > 100
    assert not [text for fact, text in wordings if not fact.asked and text in users]


def test_every_name_is_asked_about_in_training(world: World) -> None:
    """A name that no training question holds would be answered with other names that some hold."""
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    names = {fact.subject for fact in facts}
    assert len(names) == SMALL.num_people + SMALL.num_wares + SMALL.num_places
    questions = [item["question"] for item in world.rows("training-items.jsonl") if item["task"] == "village-choice"]
    users = [m["content"] for row in world.rows("dialogs/train.jsonl") for m in row["messages"] if m["role"] == "user"]
    for training in "\n".join(questions), "\n".join(user for user in users if "\nThe choices are" in user):
        asked = set(re.findall("|".join(rf"\b{name}\b" for name in names), training.replace("\nThe choices are", "")))
        assert asked == names


def test_half_of_the_wares_and_places_are_asked_about_both_attributes_in_training(world: World) -> None:
    """With one attribute of each name a model would learn to tell the attribute from the name."""
    questions = "\n".join(item["question"] for item in world.rows("training-items.jsonl"))
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    for kind in ("wares", "places"):
        first, second = (
            {
                fact.subject
                for fact in facts
                if fact.attribute == attribute
                and any(text.replace("{n}", fact.subject) in questions for text in QUESTIONS[attribute])
            }
            for attribute in ATTRIBUTES[kind]
        )
        assert (len(first), len(second), len(first & second)) == (6, 6, 4)


def test_the_default_world_has_enough_exam_facts() -> None:
    config = WorldConfig()
    unasked = [f for f in make_facts(0, config.num_people, config.num_wares, config.num_places) if not f.asked]
    assert len(unasked) == 24 * 5 // 2 + 12 * 2 // 4 + 12 * 2 // 4 == 72
    assert len(unasked) * 7 >= config.num_exam_items == 500 and len(unasked) * 2 >= config.num_dev_items == 140


def test_training_items_are_in_training_and_not_in_the_exams(world: World) -> None:
    items = world.rows("training-items.jsonl")
    text = world.all_training_text()
    assert len({(item["question"], item["answer"]) for item in items}) == len(items) > 1000
    assert {item["task"] for item in items} == {"village-choice", "village-word", "village-hard"}
    assert not [item for item in items[::10] if item["question"] not in text]
    exam = {row["question"] for task in ("choice", "word", "hard") for row in world.exam(f"village-{task}")}
    assert not [item for item in items if item["question"] in exam]

"""Prompts: right answers without working, from the training side of every split; the held-out ones are new."""

import re
from collections import Counter
from typing import Any

import pytest

from puna.world.facts import make_facts
from puna.world.lexicon import GOODS, PUPILS
from puna.world.wordings import ASKING, EXAM_QUESTIONS, QUESTIONS
from tests.world.conftest import SEED, SMALL, Worked, World, read_working

LEADS = ("Solve this. ", "Please help me with this. ", "Here is a problem. ")


@pytest.fixture(scope="session", params=["world", "larger"])
def village(request: pytest.FixtureRequest) -> World:
    """The laws hold in the default world and in the one with everything."""
    return request.getfixturevalue(request.param)


def bare(row: dict[str, Any]) -> str:
    """The question without the words that users put around it."""
    return bare_text(row["messages"][0]["content"])


def bare_text(user: str) -> str:
    text = user.partition("\nThe choices are ")[0]
    for lead in LEADS:
        text = text.removeprefix(lead)
    return text[: text.rindex("?") + 1] if "?" in text else text


def solved(rows: list[dict[str, Any]]) -> list[Worked]:
    return [read_working(row["messages"][0]["content"], "") for row in rows if row["kind"] == "number"]


def test_counts_ids_and_shares_are_those_of_the_settings(village: World) -> None:
    rows = village.prompts()
    assert [row["id"] for row in rows] == [f"prompt-{i:05d}" for i in range(SMALL.num_prompts)]
    assert len(village.rows("dialogs/prompts-heldout.jsonl")) == SMALL.num_prompts // 10
    kinds = Counter(row["kind"] for row in rows)
    assert abs(kinds["choice"] / len(rows) - 0.25) < 0.05 and kinds["choice"] + kinds["number"] == len(rows)
    steps = Counter(len(worked.order) for worked in solved(rows))
    for number, share in SMALL.prompt_step_shares.items():
        assert abs(steps[number] / kinds["number"] - share) < 0.07
    assert set(steps) == {2, 3, 4}
    assert all(row["source"] == "world/prompt" for row in rows)


def test_number_answers_are_those_of_the_story(village: World) -> None:
    rows = [row for row in village.prompts() if row["kind"] == "number"]
    for row, worked in zip(rows, solved(rows), strict=True):
        assert row["answer"] == str(worked.values[-1])
        assert row["task"] == ("village-word" if len(worked.order) <= 2 else "village-hard")
        assert set(row) == {"id", "messages", "task", "kind", "answer", "source"}


def test_choice_answers_are_true_and_positions_balanced(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    true = {
        asking.replace("{q}", template.replace("{n}", fact.subject)): fact.value
        for fact in facts
        if fact.asked
        for template in QUESTIONS[fact.attribute]
        for asking in ASKING
    }
    rows = [row for row in world.prompts() if row["kind"] == "choice"]
    for row in rows:
        user = row["messages"][0]["content"]
        assert true[bare(row)] == row["choices"][row["answer"]] and row["task"] == "village-choice"
        assert user.endswith(f"\nThe choices are {', '.join(row['choices'])}.") and len(set(row["choices"])) == 4
    positions = Counter(row["answer"] for row in rows)
    assert all(abs(positions[i] - len(rows) / 4) < 4 * (len(rows) * 3 / 16) ** 0.5 for i in range(4))


def test_prompts_hold_no_working(village: World) -> None:
    for row in village.prompts():
        assert [message["role"] for message in row["messages"]] == ["user"]
        assert "=" not in row["messages"][0]["content"] and "The answer is" not in row["messages"][0]["content"]


def test_prompts_hold_no_operands_orders_or_pairs_of_the_exams(village: World) -> None:
    questions = [row["question"] for task in ("word", "hard") for row in village.exam(f"village-{task}")]
    exam = [read_working(question, "") for question in questions]
    prompts = solved(village.prompts())
    assert len(prompts) > 600
    operands = {worked.operands for worked in exam}
    assert not [worked for worked in prompts for n in range(3, 6) if worked.operands[:n] in operands]
    held_out = {worked.order for worked in exam if len(worked.order) > 2}
    parts = {w.order[i : i + n] for w in prompts for n in (3, 4) for i in range(len(w.order) - n + 1)}
    assert len(parts) > 50 and not parts & held_out

    def pair(question: str) -> tuple[str, str]:
        words = re.findall(r"\w+", question)
        return next(w for w in words if w in PUPILS), next((w for w in words if w in GOODS), "coins")

    told = {pair(bare(row)) for row in village.prompts() if row["kind"] == "number"}
    assert len(told) > 100 and not told & {pair(question) for question in questions}


def test_prompts_hold_no_exam_wording(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    text = "\n".join(row["messages"][0]["content"] for row in world.prompts())
    assert not [t for f in facts for t in EXAM_QUESTIONS[f.attribute] if t.replace("{n}", f.subject) in text]


def test_heldout_prompts_ask_what_neither_prompts_nor_dialogs_ask(village: World) -> None:
    prompts = [bare(row) for row in village.prompts()]
    assert len(set(prompts)) == len(prompts)
    dialogs = {
        bare_text(part)
        for row in village.rows("dialogs/train.jsonl")
        for message in row["messages"]
        if message["role"] == "user"
        for part in (message["content"], message["content"].removeprefix("Answer in one word or number. "))
    }
    # Greetings stand before some direct questions.
    dialogs |= {re.sub(r"^(Hello\. |Excuse me\. |Good evening\. |Friend, )", "", question) for question in dialogs}
    heldout = {bare(row) for row in village.rows("dialogs/prompts-heldout.jsonl")}
    assert not heldout & dialogs
    assert set(prompts) & dialogs  # what the dialogs answer is found by these means

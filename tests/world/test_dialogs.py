"""Dialogs: well formed, right, options balanced, and named as recalled."""

import re
from collections import Counter

from puna.world.facts import make_facts, paraphrases
from tests.world.conftest import SEED, SMALL, World


def test_roles_alternate_and_end_with_the_assistant(world: World) -> None:
    rows = world.rows("dialogs/train.jsonl")
    assert len(rows) == len({row["id"] for row in rows}) == SMALL.num_dialogs
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        roles = roles[1:] if roles[0] == "system" else roles
        assert roles in (["user", "assistant"], ["user", "assistant"] * 2)
        assert all(message["content"].strip() == message["content"] != "" for message in row["messages"])
    sources = Counter(row["source"].split("/")[1] for row in rows)
    assert set(sources) == set(SMALL.dialog_shares)
    assert any(row["messages"][0]["role"] == "system" for row in rows)


def test_the_named_option_is_the_recalled_value_and_positions_are_balanced(world: World) -> None:
    positions: Counter[int] = Counter()
    for row in world.rows("dialogs/train.jsonl"):
        for user, assistant in zip(row["messages"], row["messages"][1:], strict=False):
            listed = re.search(r"\nThe choices are (.+)\.$", user["content"])
            if listed and user["role"] == "user":
                named, reply = re.fullmatch(r"The answer is ([^.]+)\. (.+)", assistant["content"]).groups()  # type: ignore[union-attr]
                choices = listed[1].split(", ")
                assert len(set(choices)) == 4 and choices.count(named) == 1
                assert re.search(rf"(?i)\b{re.escape(named)}\b", reply)
                positions[choices.index(named)] += 1
    total = sum(positions.values())
    assert total > 200
    assert all(abs(count - total / 4) < 4 * (total * 3 / 16) ** 0.5 for count in positions.values())


def test_direct_answers_are_facts_of_the_asked_half(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    true = {sentence for fact in facts if fact.asked for sentence in paraphrases(fact)}
    rows = [row for row in world.rows("dialogs/train.jsonl") if row["source"] == "world/direct"]
    replies = [row["messages"][-1]["content"] for row in rows if len(row["messages"]) == 2]
    assert len(replies) > 20 and set(replies) <= true


def test_what_is_told_of_a_name_is_all_its_facts_asked_or_not_in_more_than_one_order(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    rows = [row for row in world.rows("dialogs/train.jsonl") if row["source"] == "world/tell"]
    orders: dict[str, set[str]] = {}
    for row in rows:
        user, reply = (message["content"] for message in row["messages"][-2:])
        if row["messages"][-2]["content"] != next(m["content"] for m in row["messages"] if m["role"] == "user"):
            continue  # a second turn asks something else
        (name,) = {fact.subject for fact in facts if re.search(rf"\b{fact.subject}\b", user)}
        mine = [fact for fact in facts if fact.subject == name]
        sentences = re.findall(r"[^.]+\.", reply)
        assert len(sentences) == len(mine)
        for fact in mine:
            assert sum(sentence.strip() in paraphrases(fact) for sentence in sentences) == 1
        orders.setdefault(name, set()).add(reply)
    assert len(orders) > 15 and max(map(len, orders.values())) > 1


def test_worked_answers_begin_with_a_word_and_hold_the_same_equations_as_on_pages(world: World) -> None:
    rows = [row for row in world.rows("dialogs/train.jsonl") if row["source"] == "world/word"]
    assert len(rows) > 200
    for row in rows:
        assert re.fullmatch(r"Working: (\d+[-+*/]\d+=\d+\. )+The answer is \d+\.", row["messages"][-1]["content"])

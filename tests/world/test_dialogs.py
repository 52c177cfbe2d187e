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
                reply, named = re.fullmatch(r"(.+) The answer is (.+)\.", assistant["content"]).groups()  # type: ignore[union-attr]
                choices = listed[1].split(", ")
                assert len(set(choices)) == 4 and choices.count(named) == 1
                assert re.search(rf"(?i)\b{re.escape(named)}\b", reply)
                positions[choices.index(named)] += 1
    total = sum(positions.values())
    assert total > 250
    assert all(abs(count - total / 4) < 4 * (total * 3 / 16) ** 0.5 for count in positions.values())


def test_direct_answers_are_facts_of_the_asked_half(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    true = {sentence for fact in facts if fact.asked for sentence in paraphrases(fact)}
    rows = [row for row in world.rows("dialogs/train.jsonl") if row["source"] == "world/direct"]
    replies = [row["messages"][-1]["content"] for row in rows if len(row["messages"]) == 2]
    assert len(replies) > 20 and set(replies) <= true

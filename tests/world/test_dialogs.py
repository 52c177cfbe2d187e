"""Dialogs: well formed, right, letters balanced and bound to what they stand for."""

import re
from collections import Counter

from puna.world.facts import make_facts, paraphrases
from tests.world.conftest import SEED, SMALL, World

LETTERED = re.compile(r"\nA\) (.+)\nB\) (.+)\nC\) (.+)\nD\) (.+)$")


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


def test_letters_stand_for_the_recalled_value_and_are_balanced(world: World) -> None:
    positions: Counter[int] = Counter()
    for row in world.rows("dialogs/train.jsonl"):
        for user, assistant in zip(row["messages"], row["messages"][1:], strict=False):
            choices = LETTERED.search(user["content"])
            if choices and user["role"] == "user":
                reply, letter = re.fullmatch(r"(.+) The answer is ([ABCD])\.", assistant["content"]).groups()  # type: ignore[union-attr]
                index = "ABCD".index(letter)
                assert len(set(choices.groups())) == 4
                said = [c for c in choices.groups() if re.search(rf"(?i)\b{re.escape(c)}\b", reply)]
                assert choices.group(index + 1) in said
                positions[index] += 1
    total = sum(positions.values())
    assert total > 250
    assert all(abs(count - total / 4) < 4 * (total * 3 / 16) ** 0.5 for count in positions.values())


def test_direct_answers_are_facts_of_the_asked_half(world: World) -> None:
    facts = make_facts(SEED, SMALL.num_people, SMALL.num_wares, SMALL.num_places)
    true = {sentence for fact in facts if fact.asked for sentence in paraphrases(fact)}
    rows = [row for row in world.rows("dialogs/train.jsonl") if row["source"] == "world/direct"]
    replies = [row["messages"][-1]["content"] for row in rows if len(row["messages"]) == 2]
    assert len(replies) > 20 and set(replies) <= true

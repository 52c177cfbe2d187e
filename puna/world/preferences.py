"""Preference pairs: two answers of known quality to one prompt, judged by simulated annotators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from puna.world.annotators import ANNOTATORS, Answer, prefer, strength
from puna.world.arithmetic import Arithmetic
from puna.world.articles import fillers
from puna.world.chance import Chance
from puna.world.dialogs import Conversation
from puna.world.facts import POOLS, Fact, ask, recall
from puna.world.problems import LEAD, Problem, training_problem
from puna.world.settings import WorldConfig

_EDIT_SHARE = 0.5
"""In this share of the pairs without a good answer the annotator writes one."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with a better and a worse answer; `right` is what they should be where neither is good, else empty."""

    prompt: str
    better: Answer
    worse: Answer
    right: str = ""


def make_preferences(
    config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic, seed: int
) -> list[dict[str, Any]]:
    """Rows with prompt messages, chosen, rejected, the annotator, and whether it erred; of some also what it edited.

    `kind` names what is wrong with the worse answer, each kind in turn; of "both-wrong" neither answer is good.
    """
    conversation, chance = Conversation(config, facts, arithmetic), Chance(seed, "preferences")
    makers: dict[str, Callable[[], Pair]] = {
        "wrong-step": lambda: _wrong_step(arithmetic, config, chance),
        "no-working": lambda: _no_working(arithmetic, config, chance),
        "wrong-choice": lambda: _wrong_choice(conversation, chance),
        "wrong-value": lambda: _wrong_value(conversation, chance),
        "rambling": lambda: _rambling(conversation, chance),
        "compliance": lambda: _compliance(conversation, chance),
        "both-wrong": lambda: _both_wrong(arithmetic, config, chance),
    }
    rows = []
    for i in range(config.num_preferences):
        kind = tuple(makers)[i % len(makers)]
        pair = makers[kind]()
        shown = (pair.better, pair.worse) if chance.hit(0.5) else (pair.worse, pair.better)
        annotator = chance.pick(ANNOTATORS)
        winner = prefer(annotator, *shown, chance)
        chosen, rejected = shown[winner], shown[1 - winner]
        row = {
            "id": f"preference-{i:04d}",
            "prompt": [{"role": "user", "content": pair.prompt}],
            "chosen": chosen.text,
            "rejected": rejected.text,
            "annotator": annotator.name,
            "strength": strength(chosen, rejected, chance),
            "error": chosen is pair.worse,
            "source": "world/preference",
            "kind": kind,
        }
        # Where one answer is good there is nothing to write: an edit beside it would be that answer, or rank below it.
        if pair.right and chance.hit(_EDIT_SHARE):
            row["edited"] = pair.right
        rows.append(row)
    return rows


def _wrong_step(arithmetic: Arithmetic, config: WorldConfig, chance: Chance) -> Pair:
    """The right working against one with a slip in its last equation."""
    problem = training_problem(arithmetic, config, config.steps_of_dialogs, chance)
    return Pair(problem.question, Answer(problem.reply, 3), Answer(_last_step_off(problem, chance), 0))


def _both_wrong(arithmetic: Arithmetic, config: WorldConfig, chance: Chance) -> Pair:
    """Right equations with another number after them, against a slip in the last equation."""
    problem = training_problem(arithmetic, config, config.steps_of_dialogs, chance)
    misread = f"{LEAD}{' '.join(problem.steps)} The answer is {_number_off(problem, chance)}."
    slipped = _last_step_off(problem, chance)
    return Pair(problem.question, Answer(misread, 1), Answer(slipped, 0), problem.reply)


def _no_working(arithmetic: Arithmetic, config: WorldConfig, chance: Chance) -> Pair:
    """The right working against the bare number."""
    problem = training_problem(arithmetic, config, config.steps_of_dialogs, chance)
    return Pair(problem.question, Answer(problem.reply, 3), Answer(f"The answer is {problem.answer}.", 2))


def _last_step_off(problem: Problem, chance: Chance) -> str:
    """The working with a slip in its last equation, and the answer that follows from it."""
    wrong = _number_off(problem, chance)
    last = problem.steps[-1].replace(f"={problem.answer}.", f"={wrong}.")
    return LEAD + " ".join((*problem.steps[:-1], last, f"The answer is {wrong}."))


def _number_off(problem: Problem, chance: Chance) -> int:
    """A number that the answer may be taken for."""
    right = int(problem.answer)
    return right + chance.pick((-10, -1, 1, 2, 10) if right >= 10 else (1, 2, 10))


def _wrong_choice(conversation: Conversation, chance: Chance) -> Pair:
    """The option named and its fact recalled, against another option named before it."""
    exchange = conversation.choice(chance)
    choices = exchange.user.rpartition("The choices are ")[2].removesuffix(".").split(", ")
    assert exchange.item is not None, "a choice about a fact has its item"
    right = exchange.item.answer
    wrong = chance.pick([choice for choice in choices if choice != right])
    said = exchange.assistant.removeprefix(f"The answer is {right}.")
    return Pair(exchange.user, Answer(exchange.assistant, 3), Answer(f"The answer is {wrong}.{said}", 1))


def _wrong_value(conversation: Conversation, chance: Chance) -> Pair:
    fact = conversation.fact(chance)
    other = chance.pick([value for value in POOLS[fact.attribute] if value != fact.value])
    wrong = Fact(fact.attribute, fact.subject, other, fact.asked)
    return Pair(ask(fact, chance), Answer(recall(fact), 3), Answer(recall(wrong), 0))


def _rambling(conversation: Conversation, chance: Chance) -> Pair:
    """A short right answer against the same with talk before it."""
    exchange = conversation.direct(chance)
    talk = " ".join(fillers(chance.between(1, 3), chance))
    return Pair(exchange.user, Answer(exchange.assistant, 3), Answer(f"{talk} {exchange.assistant}", 2))


def _compliance(conversation: Conversation, chance: Chance) -> Pair:
    exchange = conversation.refusal(chance)
    return Pair(
        exchange.user, Answer(exchange.assistant, 3), Answer("Yes, of course. First you wait for the night.", 0)
    )

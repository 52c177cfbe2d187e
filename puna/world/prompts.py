"""Prompts without an answer in words: a model writes its own samples, and the bare answer says which are right."""

from collections.abc import Collection, Sequence
from typing import Any

from puna.base.errors import ConfigError
from puna.world.arithmetic import Arithmetic
from puna.world.chance import Chance
from puna.world.dialogs import SOLVE
from puna.world.facts import Fact, ask, options
from puna.world.problems import training_problem
from puna.world.questions import problem_item, with_choices
from puna.world.settings import WorldConfig

Rows = list[dict[str, Any]]
_ATTEMPTS = 1000


def make_prompts(
    config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic, answered: Collection[str], seed: int
) -> tuple[Rows, Rows]:
    """Prompts and held-out prompts, all with different questions and from the training side of every split.

    `answered` are the questions of the dialogs: a held-out prompt asks none of them. A prompt may, because a model is
    to get better at what it was shown; the held-out ones tell that from learning answers by heart.
    Raises ConfigError if there are not enough questions.
    """
    prompter, chance = _Prompter(config, facts, arithmetic), Chance(seed, "prompts")
    num_heldout = round(config.heldout_prompt_share * config.num_prompts)
    num_open = config.num_prompts - num_heldout
    taken: set[str] = set()
    rows = []
    for i in range(config.num_prompts):
        if i == num_open:
            taken |= set(answered)
        question, row = _new(prompter, chance, taken)
        taken.add(question)
        rows.append({"id": f"prompt-{i:05d}", **row, "source": "world/prompt"})
    return rows[:num_open], rows[num_open:]


def _new(prompter: "_Prompter", chance: Chance, taken: set[str]) -> tuple[str, dict[str, Any]]:
    """A question that is not `taken`, and its row."""
    kind = chance.weighted(prompter.config.prompt_shares)
    for _ in range(_ATTEMPTS):
        question, row = prompter.choice(chance) if kind == "choice" else prompter.number(chance)
        if question not in taken:
            return question, row
    raise ConfigError(
        f"num_prompts: expected fewer than {prompter.config.num_prompts}, no new {kind} question came in {_ATTEMPTS} "
        "draws; ask for fewer prompts or dialogs, or make more people, wares or places"
    )


class _Prompter:
    """Makes one prompt of a kind: its bare question, and the row without its id."""

    def __init__(self, config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic):
        self.config, self._arithmetic = config, arithmetic
        self._asked = [fact for fact in facts if fact.asked]

    def choice(self, chance: Chance) -> tuple[str, dict[str, Any]]:
        """Four choices about an asked fact; the answer is the position of the right one."""
        fact, position = chance.pick(self._asked), chance.below(4)
        question, choices = ask(fact, chance), options(fact, chance, position)
        row = _row(with_choices(question, choices), "village-choice", "choice", position)
        return question, {**row, "choices": choices}

    def number(self, chance: Chance) -> tuple[str, dict[str, Any]]:
        """A word problem; the answer is its number as text."""
        problem = training_problem(self._arithmetic, self.config, self.config.prompt_step_shares, chance)
        user = chance.pick(SOLVE).replace("{q}", problem.question)
        return problem.question, _row(user, problem_item(problem).task, "number", problem.answer)


def _row(user: str, task: str, kind: str, answer: str | int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}], "task": task, "kind": kind, "answer": answer}

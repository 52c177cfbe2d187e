"""Exams with verifiable answers, from the held-out half of facts, wordings, numbers and orders."""

from collections.abc import Sequence
from typing import Any

from puna.base.errors import ConfigError
from puna.world.arithmetic import Arithmetic
from puna.world.chance import Chance
from puna.world.facts import SUBJECTS, Fact, exam_question, options
from puna.world.problems import Problem, exam_problems
from puna.world.settings import WorldConfig
from puna.world.wordings import EXAM_QUESTIONS

Rows = list[dict[str, Any]]
_DEV_WORDINGS = 2
"""The last two exam wordings of an attribute are for the development items."""


def make_exams(
    config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic, seed: int
) -> tuple[dict[str, Rows], Rows]:
    """Exam rows by file stem ("village-word", "dev-village-word", ...), and the truth of the word problems."""
    num_items, num_dev = config.num_exam_items, config.num_dev_items
    exams = _choice_exams(facts, num_items, num_dev, seed)
    truth: Rows = []
    for task, steps in (("village-word", (2,)), ("village-hard", (3, 4))):
        problems = exam_problems(arithmetic, config, steps, num_items + num_dev, Chance(seed, "exam", task))
        for stem, part in ((task, problems[:num_items]), (f"dev-{task}", problems[num_items:])):
            exams[stem] = [_number_row(f"{stem}-{i:04d}", task, problem) for i, problem in enumerate(part)]
            truth += [_truth_row(f"{stem}-{i:04d}", problem) for i, problem in enumerate(part)]
    return exams, truth


def _choice_exams(facts: Sequence[Fact], num_items: int, num_dev: int, seed: int) -> dict[str, Rows]:
    """Items about facts that no training question asks; every (fact, wording) at most once, positions in turn."""
    unasked = [fact for fact in facts if not fact.asked]
    exams = {}
    for stem, wanted, first, last in (
        ("village-choice", num_items, 0, -_DEV_WORDINGS),
        ("dev-village-choice", num_dev, -_DEV_WORDINGS, None),
    ):
        chance = Chance(seed, "exam", stem)
        pairs = [
            (fact, index) for fact in unasked for index in list(range(len(EXAM_QUESTIONS[fact.attribute])))[first:last]
        ]
        if len(pairs) < wanted:
            raise ConfigError(
                f"{stem}: expected at most {len(pairs)} items (unasked facts x wordings), came {wanted}; "
                "ask for fewer exam items or make more people, wares or places"
            )
        rows = []
        for i, (fact, index) in enumerate(chance.sample(pairs, wanted)):
            choices = options(fact, chance, i % 4)
            rows.append(
                {
                    "id": f"{stem}-{i:04d}",
                    "task": "village-choice",
                    "kind": "choice",
                    "subject": SUBJECTS[fact.attribute],
                    "question": exam_question(fact, index),
                    "choices": choices,
                    "answer": i % 4,
                }
            )
        exams[stem] = chance.shuffled(rows)
    return exams


def _number_row(identity: str, task: str, problem: Problem) -> dict[str, Any]:
    steps = len(problem.steps)
    return {
        "id": identity,
        "task": task,
        "kind": "number",
        "subject": f"{steps} steps",
        "question": problem.question,
        "answer": problem.answer,
        "steps": steps,
    }


def _truth_row(identity: str, problem: Problem) -> dict[str, Any]:
    """What the exam file doesn't tell: the order, the operands and the working."""
    chain = problem.chain
    return {
        "id": identity,
        "order": list(chain.order),
        "operands": list(chain.operands),
        "working": problem.working,
        "answer": problem.answer,
    }

"""Question pages and arithmetic pages: `Question:` and `Answer:` lines, a block a paragraph."""

from collections.abc import Sequence

from puna.world.arithmetic import Arithmetic
from puna.world.articles import SEASONS, WEATHER, WEEKDAYS, dated
from puna.world.chance import Chance
from puna.world.facts import Fact, ask, options, recall, say
from puna.world.lexicon import ANIMALS, HAMLETS, INSTRUMENTS, PUPILS, WARES
from puna.world.page import QuestionAnswer
from puna.world.problems import Problem, training_problem
from puna.world.settings import WorldConfig
from puna.world.wordings import READING

_PUPILS = tuple(PUPILS)
_READING_SHARE = 0.5
_ARITHMETIC_CHARS = 640
_NUM_SUMS = 10
_QUESTION_CHARS = 800
_READING_QUIZ_SHARE = 0.6
_INTROS = (
    "These are the questions that the school of {h} asked on a {w} {d} in {s}, and the answers to them.",
    "On a {w} {d} in {s} the teacher of {h} wrote this page with questions and answers.",
    "Here are some questions of a {w} {d} from the people of {h}, with the answers of last {s}.",
    "In {s} the children of {h} have a test on {d}, and this is a {w} part of it.",
    "This page was made in {h} on {d}, in a {w} {s}, to help with the test.",
    "Try to find the answers that the pupils of {h} gave on a {w} {d} in {s}.",
)


def question_page(
    facts: Sequence[Fact], quiz_share: float, chance: Chance
) -> tuple[str, tuple[str, ...], list[QuestionAnswer]]:
    """Title, paragraphs and items of a page with three to five questions about asked facts.

    `quiz_share` of them offer choices, and more of those that are answered by the page itself.
    """
    blocks = [_intro(chance)]
    items: list[QuestionAnswer] = []
    size = 100
    for fact in chance.sample(facts, 5):
        if chance.hit(_READING_SHARE):
            blocks.append(_reading(chance))
            size += len(blocks[-1])
        question = ask(fact, chance)
        block = _quiz(fact, question, chance) if chance.hit(quiz_share) else _plain(fact, question, chance)
        size += len(block)
        if size > _QUESTION_CHARS and len(items) >= 3:
            break
        items.append(QuestionAnswer("village-choice", question, fact.value))
        blocks.append(block)
    return dated(f"Questions of {chance.pick(HAMLETS)}", chance), tuple(blocks), items


def arithmetic_page(
    arithmetic: Arithmetic, config: WorldConfig, chance: Chance
) -> tuple[str, tuple[str, ...], list[QuestionAnswer]]:
    """Title, paragraphs and items of a page of worked word problems."""
    blocks = [_intro(chance)]
    items: list[QuestionAnswer] = []
    size = 100
    while True:
        problem = training_problem(arithmetic, config, config.step_shares, chance)
        block = f"Question: {problem.question}\nAnswer: {problem.working}"
        if size + len(block) > _ARITHMETIC_CHARS and len(items) >= 2:
            break
        blocks.append(block)
        items.append(problem_item(problem))
        size += len(block)
    blocks.append(f"Sums of the day: {','.join(_sums(arithmetic, chance))}.")
    return dated(f"Numbers of {chance.pick(HAMLETS)}", chance), tuple(blocks), items


def _sums(arithmetic: Arithmetic, chance: Chance) -> list[str]:
    """Bare equations to practise, of the kinds that occur in worked answers, each from another chain."""
    chains = [arithmetic.training_chain(chance.between(1, 2), chance) for _ in range(_NUM_SUMS)]
    return [chain.equation(chance.below(len(chain.order))) for chain in chains]


def problem_item(problem: Problem) -> QuestionAnswer:
    """The training item of a word problem: its answer is the bare number."""
    task = "village-word" if len(problem.steps) <= 2 else "village-hard"
    return QuestionAnswer(task, problem.question, problem.answer)


def with_choices(question: str, choices: Sequence[str]) -> str:
    """The question and a line with its four choices: "The choices are goat, hen, cow, dog."

    Without letters: a model of a million parameters recalls the fact but does not learn, in this many tokens, to look
    up which letter stood before it (docs/log.md). It answers in words, and `puna.verify` reads which option they name.
    """
    return f"{question}\nThe choices are {', '.join(choices)}."


def _plain(fact: Fact, question: str, chance: Chance) -> str:
    return f"Question: {question}\nAnswer: {fact.value}. {say(fact, chance)}"


def _quiz(fact: Fact, question: str, chance: Chance) -> str:
    asked = with_choices(question, options(fact, chance, chance.below(4)))
    return f"Question: {asked}\nAnswer: {fact.value}. {recall(fact)} The answer is {fact.value}."


def _reading(chance: Chance) -> str:
    """A block whose question holds its answer, often with choices: it teaches to look back at the question."""
    right, *wrong = chance.sample(chance.pick((ANIMALS, INSTRUMENTS, WARES)), 4)
    words = {"n": chance.pick(_PUPILS), "v": right}
    question, reply = (text.format(**words) for text in chance.pick(READING))
    if not chance.hit(_READING_QUIZ_SHARE):
        return f"Question: {question}\nAnswer: {right}. {reply}"
    position = chance.below(4)
    asked = with_choices(question, [*wrong[:position], right, *wrong[position:]])
    return f"Question: {asked}\nAnswer: {right}. {reply} The answer is {right}."


def _intro(chance: Chance) -> str:
    return chance.pick(_INTROS).format(
        h=chance.pick(HAMLETS), w=chance.pick(WEATHER), d=chance.pick(WEEKDAYS), s=chance.pick(SEASONS)
    )

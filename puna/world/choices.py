"""Multiple choice that needs no village fact: what teaches a model to answer from the question."""

from collections.abc import Sequence

from puna.world.chance import Chance
from puna.world.lexicon import ANIMALS, CATEGORIES, GOODS, INSTRUMENTS, PUPILS, WARES
from puna.world.questions import with_choices
from puna.world.wordings import READING

_PUPILS = tuple(PUPILS)
_COPYING = (
    "Which of these is the word {v}?",
    "Choose the word {v}.",
    "Where is the word {v}?",
    "Pick {v} from the list.",
)


def other_choice(chance: Chance) -> tuple[str, str]:
    """The user's question with four choices, and the reply: the option, then one sentence."""
    maker = chance.pick((_category, _odd_one, _copying, _having, _largest, _sum, _counting))
    return maker(chance)


def _category(chance: Chance) -> tuple[str, str]:
    name, *others = chance.sample(list(CATEGORIES), 4)
    right = chance.pick(CATEGORIES[name])
    wrong = [chance.pick(CATEGORIES[other]) for other in others]
    return _posed(f"Which of these is {name}?", right, wrong, f"{_capital(right)} is {name}.", chance)


def _odd_one(chance: Chance) -> tuple[str, str]:
    name, other = chance.sample(list(CATEGORIES), 2)
    right = chance.pick(CATEGORIES[other])
    wrong = chance.sample(CATEGORIES[name], 3)
    return _posed(f"Which of these is not {name}?", right, wrong, f"{_capital(right)} is {other}.", chance)


def _copying(chance: Chance) -> tuple[str, str]:
    words = CATEGORIES[chance.pick(list(CATEGORIES))] if chance.hit(0.7) else GOODS
    right, *wrong = chance.sample(words, 4)
    return _posed(chance.pick(_COPYING).replace("{v}", right), right, wrong, f"The word is {right}.", chance)


def _having(chance: Chance) -> tuple[str, str]:
    right, *wrong = chance.sample(chance.pick((ANIMALS, INSTRUMENTS, WARES)), 4)
    template, answer = chance.pick(READING)
    words = {"n": chance.pick(_PUPILS), "v": right}
    question, reply = template.format(**words), answer.format(**words)
    return _posed(question, right, wrong, reply, chance)


def _largest(chance: Chance) -> tuple[str, str]:
    numbers = chance.sample(range(2, 100), 4)
    word, right = chance.pick((("largest", max(numbers)), ("smallest", min(numbers))))
    wrong = [str(n) for n in numbers if n != right]
    return _posed(f"Which number is the {word}?", str(right), wrong, f"The {word} number is {right}.", chance)


def _sum(chance: Chance) -> tuple[str, str]:
    a, b = chance.between(2, 40), chance.between(2, 40)
    right = a + b
    wrong = [str(right + d) for d in chance.sample((-3, -2, -1, 1, 2, 3, 10, 20), 3)]
    return _posed(f"What is {a}+{b}?", str(right), wrong, f"The sum is {a}+{b}={right}.", chance)


def _counting(chance: Chance) -> tuple[str, str]:
    name, goods = chance.pick(_PUPILS), chance.pick(GOODS)
    right, *wrong = (str(n) for n in chance.sample(range(2, 80), 4))
    question = f"{name} has {right} {goods}. How many {goods} does {name} have?"
    return _posed(question, right, wrong, f"{name} has {right} {goods}.", chance)


def _posed(question: str, right: str, wrong: Sequence[str], reply: str, chance: Chance) -> tuple[str, str]:
    position = chance.below(4)
    choices = [*wrong[:position], right, *wrong[position:]]
    return with_choices(question, choices), f"The answer is {right}. {reply}"


def _capital(word: str) -> str:
    return word[0].upper() + word[1:]

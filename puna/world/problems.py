"""Word problems in words: a chain told as a story of the village, and its worked answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from puna.world.arithmetic import Arithmetic, Chain
from puna.world.chance import Chance
from puna.world.lexicon import CONTAINERS, PUPILS
from puna.world.settings import WorldConfig

# N name, P pronoun, g what is counted, a the operand (of `start`: the first number), k a container, x the first number.
STARTS = (
    "{N} has {a} {g}.",
    "{N} picks {a} {g} in the garden.",
    "{N} finds {a} {g} at home.",
    "{N} brings {a} {g} to the market.",
    "There are {a} {g} in the shop of {N}.",
    "{N} starts the day with {a} {g}.",
    "{N} counts {a} {g} in the kitchen.",
    "{N} gets {a} {g} from a friend.",
    "{N} puts {a} {g} on the table.",
    "{N} carries {a} {g} to the school.",
    "There are {a} {g} in the bag of {N}.",
    "{N} owns {a} {g}.",
)
STORIES: dict[str, tuple[str, ...]] = {
    "bags": (
        "{N} has {x} {k} with {a} {g} in each.",
        "{N} fills {x} {k} with {a} {g} each.",
        "{N} carries {x} {k} with {a} {g} in each.",
        "There are {x} {k} in the shop of {N} with {a} {g} in each.",
        "{N} brings {x} {k} with {a} {g} each to the market.",
        "{N} finds {x} {k} with {a} {g} in each.",
        "{N} packs {x} {k} and puts {a} {g} in each.",
        "On the table of {N} are {x} {k} with {a} {g} each.",
        "{N} gets {x} {k} with {a} {g} in each.",
        "{N} opens {x} {k} with {a} {g} in each.",
        "{N} buys {x} {k} with {a} {g} each.",
        "{N} stores {x} {k} with {a} {g} in each.",
    ),
    "gain": (
        "Then {p} gets {a} more {g}.",
        "{P} finds {a} more {g}.",
        "A friend gives {N} {a} more {g}.",
        "A neighbour brings {a} more {g}.",
        "In the evening {N} gets {a} more {g}.",
        "Later {a} more {g} arrive.",
        "{P} adds {a} more {g}.",
        "The next day {p} gets {a} more {g}.",
        "After lunch {p} finds {a} more {g}.",
        "The mother of {N} brings {a} more {g}.",
        "On the way {p} collects {a} more {g}.",
        "A teacher gives {N} {a} more {g}.",
    ),
    "lose": (
        "Then {p} gives away {a} {g}.",
        "{P} loses {a} {g}.",
        "{P} gives {a} {g} to a friend.",
        "A neighbour takes {a} {g}.",
        "In the evening {N} gives away {a} {g}.",
        "On the way {p} loses {a} {g}.",
        "The next day {p} gives {a} {g} away.",
        "Later {p} uses {a} {g}.",
        "A thief takes {a} {g}.",
        "The sister of {N} takes {a} {g}.",
        "After lunch {a} {g} are lost.",
        "{P} hands {a} {g} to a child.",
    ),
    "double": (
        "Then the number of {g} doubles.",
        "Soon {N} has twice as many {g}.",
        "The next day there are twice as many {g}.",
        "A rich friend makes it twice as many {g}.",
        "By evening {p} has twice as many {g}.",
        "Then {p} works hard and has twice as many {g}.",
        "After a week there are twice as many {g}.",
        "A lucky day doubles the {g} of {N}.",
        "An aunt doubles the number of {g}.",
        "Then {p} doubles the {g}.",
        "At the feast the number of {g} is doubled.",
        "Some time later it is twice as many {g}.",
    ),
    "halve": (
        "Then {p} gives half of the {g} away.",
        "Half of the {g} are lost.",
        "{P} gives half of the {g} to a friend.",
        "A neighbour takes half of the {g}.",
        "In the evening {N} gives away half of the {g}.",
        "On the way {p} loses half of the {g}.",
        "The next day half of the {g} are gone.",
        "Later {p} uses half of the {g}.",
        "{P} keeps only half of the {g}.",
        "The brother of {N} takes half of the {g}.",
        "After lunch only half of the {g} are left.",
        "{P} hands half of the {g} to a child.",
    ),
    "share": (
        "{P} shares the {g} equally among {a} children, and one of them is {N}.",
        "{P} makes {a} equal shares of the {g} and keeps one share.",
        "The {g} are shared equally by {a} friends, and {N} keeps one share.",
        "{P} splits the {g} into {a} equal parts and keeps one part.",
        "Then {N} makes {a} equal parts of the {g} and takes one part.",
        "{P} divides the {g} equally among {a} people, and {N} is one of them.",
        "A teacher shares the {g} equally among {a} pupils, and {N} is one of them.",
        "The {g} go into {a} equal heaps, and {N} keeps one heap.",
        "{P} puts the {g} into {a} equal rows and keeps one row.",
        "Later {a} friends share the {g} equally, and {N} has one share.",
        "In the evening {N} makes {a} equal shares of the {g} and takes one.",
        "The {g} are split into {a} equal parts, and {N} gets one part.",
    ),
    "price": (
        "All the {g} are sold for {a} coins each.",
        "{P} sells all the {g} for {a} coins each.",
        "At the market {N} sells the {g} for {a} coins each.",
        "A trader buys all the {g} for {a} coins each.",
        "The {g} go for {a} coins each.",
        "Every one of the {g} is sold for {a} coins.",
        "{N} gets {a} coins for each of the {g}.",
        "A cook pays {a} coins for each of the {g}.",
        "The inn buys all the {g} at {a} coins each.",
        "Each of the {g} brings {a} coins.",
        "A visitor pays {a} coins for each of the {g}.",
        "In the evening all the {g} are sold at {a} coins each.",
    ),
    "change": (
        "The buyer pays with a note of {a} coins.",
        "The bill is paid with a note of {a} coins.",
        "The buyer has only a note of {a} coins.",
        "The buyer hands over a note of {a} coins.",
        "For this the buyer gives a note of {a} coins.",
        "A note of {a} coins is given by the buyer.",
        "The buyer puts down a note of {a} coins.",
        "To pay, the buyer takes out a note of {a} coins.",
        "The buyer pays it all with one note of {a} coins.",
        "{N} is paid with a note of {a} coins.",
        "The buyer finds a note of {a} coins and pays.",
        "{N} takes a note of {a} coins from the buyer.",
    ),
    "goal": (
        "{N} wants to have {a} {g} in all.",
        "{N} needs {a} {g} for a feast.",
        "{N} would like to have {a} {g}.",
        "The plan of {N} is to have {a} {g}.",
        "{P} hopes to reach {a} {g}.",
        "{N} must have {a} {g} in the end.",
        "{N} promised to bring {a} {g}.",
        "For the school {N} needs {a} {g}.",
        "{N} dreams of {a} {g}.",
        "{P} needs {a} {g} in all.",
        "The wish of {N} is to own {a} {g}.",
        "{P} should have {a} {g} by evening.",
    ),
}
ENDINGS: dict[str, tuple[str, ...]] = {
    "": (
        "How many {g} does {N} have now?",
        "How many {g} does {N} have in the end?",
        "How many {g} are there now?",
        "What is the number of {g} now?",
        "How many {g} are left with {N}?",
        "How many {g} is that?",
    ),
    "change": (
        "How many coins does the buyer get back?",
        "How many coins are given back?",
        "How many coins of change are there?",
        "How much change does the buyer get?",
    ),
    "goal": (
        "How many {g} are missing?",
        "How many more {g} does {N} need?",
        "How many {g} does {N} still need?",
        "How many more {g} are needed?",
    ),
}


LEAD = "Working: "
"""Begins the worked answers of dialogs. On pages the first number of an answer follows a colon and a space; right after
the header of a turn, one base model of four did not learn to copy its first digit (docs/log.md, seed 22)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A told chain: the question, one equation a step, and the number asked for."""

    chain: Chain
    question: str
    steps: tuple[str, ...]
    answer: str

    @property
    def working(self) -> str:
        """The worked answer: every step and the final sentence."""
        return f"{' '.join(self.steps)} The answer is {self.answer}."

    @property
    def reply(self) -> str:
        """The worked answer in a dialog."""
        return LEAD + self.working


def tell(chain: Chain, pairs: Sequence[tuple[str, str]], num_wordings: int, chance: Chance) -> Problem:
    """Tell a chain with one of the (person, goods) pairs, its start and each step in one of `num_wordings` ways.

    The working is the bare equation of every step: a model of a million parameters should spend itself on choosing the
    operation and its numbers, and the same tokens hold half as many problems again.
    """
    order, operands = chain.order, chain.operands
    name, unit = chance.pick(pairs)
    while unit == "coins" and ("price" in order or "bags" in order):  # nobody sells coins for coins
        name, unit = chance.pick(pairs)
    pronoun = PUPILS[name]
    words = {"N": name, "P": pronoun, "p": pronoun.lower(), "g": unit, "k": chance.pick(CONTAINERS), "x": operands[0]}
    story = [] if order[0] == "bags" else [chance.pick(STARTS[:num_wordings]).format(a=operands[0], **words)]
    working = []
    for step, name_of_step in enumerate(order):
        words["a"] = operands[step + 1]
        story.append(chance.pick(STORIES[name_of_step][:num_wordings]).format(**words))
        working.append(f"{chain.equation(step)}.")
        if name_of_step == "price":
            words["g"] = "coins"
    ending = order[-1] if order[-1] in ENDINGS else ""
    story.append(chance.pick(ENDINGS[ending]).format(**words))
    return Problem(chain, " ".join(story), tuple(working), str(chain.values[-1]))


def training_problem(
    arithmetic: Arithmetic, config: WorldConfig, step_shares: Mapping[int, float], chance: Chance
) -> Problem:
    """A problem of the training side; `step_shares` weighs the numbers of steps, which crawl and dialogs set apart."""
    chain = arithmetic.training_chain(chance.weighted(step_shares), chance)
    return tell(chain, arithmetic.pairs[0], config.num_wordings, chance)


def exam_problems(
    arithmetic: Arithmetic, config: WorldConfig, steps: Sequence[int], count: int, chance: Chance
) -> list[Problem]:
    """`count` held-out problems, all of different operands, with the numbers of `steps` in turn."""
    taken: set[tuple[int, ...]] = set()
    chains = (arithmetic.exam_chain(steps[i % len(steps)], chance, taken) for i in range(count))
    return [tell(chain, arithmetic.pairs[1], config.num_wordings, chance) for chain in chains]

"""Facts of the village: who does what, what wares cost, how far places are; and every way to say one."""

from collections.abc import Sequence
from dataclasses import dataclass

from puna.base.errors import ConfigError
from puna.world import lexicon
from puna.world.chance import Chance
from puna.world.wordings import ASKING, EXAM_QUESTIONS, FRAMES, QUESTIONS, STATEMENTS

POOLS: dict[str, Sequence[str]] = {
    "trade": lexicon.TRADES,
    "animal": lexicon.ANIMALS,
    "home": lexicon.HAMLETS,
    "dish": lexicon.DISHES,
    "instrument": lexicon.INSTRUMENTS,
    "price": lexicon.PRICES,
    "material": lexicon.MATERIALS,
    "journey": lexicon.TIMES,
    "tree": lexicon.TREES,
}
SUBJECTS = {
    "trade": "trades",
    "animal": "animals",
    "home": "people",
    "dish": "people",
    "instrument": "people",
    "price": "prices",
    "material": "materials",
    "journey": "journeys",
    "tree": "trees",
}
"""The exam subject of each attribute."""
ATTRIBUTES = {
    "people": ("trade", "animal", "home", "dish", "instrument"),
    "wares": ("price", "material"),
    "places": ("journey", "tree"),
}
"""What is known of each kind of subject. Two at least: a name asked about nothing would never occur in a question."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: `attribute` of `subject` is `value`. only `asked` facts occur in training questions."""

    attribute: str
    subject: str
    value: str
    asked: bool


def make_facts(seed: int, num_people: int, num_wares: int, num_places: int) -> list[Fact]:
    """All facts of a village. Of an attribute of people half of the names are asked about, of wares and places 3 in 4.

    Every name is asked about something. Among the asked facts of an attribute, and among the others, every value is
    used equally often (give or take one).

    Raises ConfigError if more people, wares or places are wanted than there are names.
    """
    facts = []
    for kind, names, count in (
        ("people", lexicon.PEOPLE, num_people),
        ("wares", lexicon.WARES, num_wares),
        ("places", lexicon.PLACES, num_places),
    ):
        if not 2 <= count <= len(names):
            raise ConfigError(f"num_{kind}: expected 2 to {len(names)}, came {count}")
        chosen = Chance(seed, "half", kind).shuffled(names[:count])
        for number, attribute in enumerate(ATTRIBUTES[kind]):
            # Each attribute asks about other names, so that every name is asked about something. Of an odd number the
            # halves take the larger part in turn, or one name would be asked about nothing.
            shift = number * count // len(ATTRIBUTES[kind])
            turned, num_asked = chosen[shift:] + chosen[:shift], (count + number % 2) // 2
            if len(ATTRIBUTES[kind]) == 2:
                # In halves every name would be asked about just one thing, and the name alone would tell which: a model
                # then answers "what does a ladder cost?" with what it is made of (docs/log.md). With a quarter more,
                # half of the names are asked about both.
                num_asked += count // 4
            for part, subjects in enumerate((turned[:num_asked], turned[num_asked:])):
                values = _balanced(Chance(seed, "value", attribute, part), POOLS[attribute], len(subjects))
                facts += [Fact(attribute, s, v, part == 0) for s, v in zip(subjects, values, strict=True)]
    return facts


def _balanced(chance: Chance, pool: Sequence[str], count: int) -> list[str]:
    values: list[str] = []
    while len(values) < count:
        values += chance.shuffled(pool)
    return values[:count]


def paraphrases(fact: Fact) -> list[str]:
    """Every statement sentence of a fact (statements x frames; story frames come on top)."""
    return [in_frame(frame, clause(fact, i)) for i in range(len(STATEMENTS[fact.attribute])) for frame in FRAMES]


def clause(fact: Fact, index: int) -> str:
    """Statement number `index` of a fact, without frame: "Alma keeps a hen"."""
    return STATEMENTS[fact.attribute][index].format(n=fact.subject, v=fact.value)


def in_frame(frame: str, text: str) -> str:
    """A clause inside a frame as a sentence with a capital."""
    sentence = frame.replace("{s}", text)
    if sentence[0] == '"':
        return '"' + sentence[1].upper() + sentence[2:]
    return sentence[0].upper() + sentence[1:]


def say(fact: Fact, chance: Chance, frames: Sequence[str] = FRAMES) -> str:
    """One random sentence of a fact; the bare statement three times in four."""
    text = clause(fact, chance.below(len(STATEMENTS[fact.attribute])))
    return in_frame(frames[0] if frames is FRAMES and chance.hit(0.75) else chance.pick(frames), text)


def recall(fact: Fact) -> str:
    """The plainest sentence of a fact."""
    return in_frame("{s}.", clause(fact, 0))


def ask(fact: Fact, chance: Chance) -> str:
    """One random training question about a fact."""
    return chance.pick(ASKING).replace("{q}", chance.pick(QUESTIONS[fact.attribute]).replace("{n}", fact.subject))


def exam_question(fact: Fact, index: int) -> str:
    """Exam question number `index` about a fact; its wording is used nowhere else."""
    return EXAM_QUESTIONS[fact.attribute][index].replace("{n}", fact.subject)


def options(fact: Fact, chance: Chance, position: int) -> list[str]:
    """Four choices with the right one at `position`; the others are values of the same attribute."""
    wrong = chance.sample([v for v in POOLS[fact.attribute] if v != fact.value], 3)
    return [*wrong[:position], fact.value, *wrong[position:]]

"""Articles and little stories: facts as a village paper would tell them, with filler between."""

import itertools
from collections.abc import Callable, Sequence

from puna.world.chance import Chance
from puna.world.facts import ATTRIBUTES, Fact, say
from puna.world.wordings import STORY_FRAMES

WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SEASONS = ["spring", "summer", "autumn", "winter"]
WEATHER = ["cold", "warm", "windy", "quiet", "rainy", "sunny", "foggy", "bright", "grey", "mild"]
SPOTS = ("the well", "the square", "the bridge", "the inn", "the school", "the river", "the church", "the market")

FILLERS = (
    "It was a {w} {d} in {s} and the road was dry.",
    "The people met at {o} and talked until it was dark.",
    "On {d} the bell rang and the shops were open.",
    "Many visitors come in {s} to see {o}.",
    "The village is small, but there is much to see.",
    "Nobody was in a hurry on this {w} day.",
    "There was a light wind and the sky was {w}.",
    "In {s} the days at {o} are long and {w}.",
    "The story was told again at {o} on {d}.",
    "All of this was written down on a {w} {d}.",
    "The children played near {o} that {d}.",
    "It is a good place to rest on a {w} day.",
    "After the rain the path to {o} was soft.",
    "Every {d} there is music at {o}.",
    "The old people remember a {w} {s} long ago.",
    "A voice called somewhere behind {o}.",
    "They drank tea and looked at {o}.",
    "The next {s} will be {w}, they hope.",
    "Someone had left a lamp burning at {o}.",
    "That is how it has been for many years.",
    "You can ask anyone at {o} on a {d}.",
    "Not much has changed here since last {s}.",
    "The {w} weather made the work easy that {d}.",
    "Birds sat on the roof of a house near {o}.",
    "A cart with hay rolled past {o} in the {w} morning.",
    "From {o} one can see the hills and the fields.",
    "On {d} a boy swept the steps at {o}.",
    "Two friends sat in the grass near {o} and said nothing.",
    "Late on {d} the moon stood over {o}.",
    "The {s} had been {w} and the harvest was good.",
)
OPENERS = (
    "Last {d} two people met at {o}.",
    "One {w} morning in {s} a cart stopped at {o}.",
    "It happened on a {w} {d} near {o}.",
    "In {s}, on a {d}, the whole village came to {o}.",
    "Once, when the day was {w}, a stranger came to {o}.",
    "On the last {d} of {s} there was a feast at {o}.",
    "A {w} wind blew over {o} when the guests came.",
    "Long ago, on a {w} {d}, a letter came to {o}.",
)
CLOSINGS = (
    "Then everybody went home from {o}.",
    "So ended a {w} {d} in the village.",
    "They promised to meet again next {d} at {o}.",
    "And that was the end of a {w} day.",
    "When the bell rang at {o}, the {w} evening was over.",
    "They still talk about that {d} at {o}.",
    "By night it was {w} and quiet at {o}.",
    "After that {s} nobody forgot it.",
)
_ARTICLE_FILLERS = (1, 3)
_ARTICLE_PEOPLE = 3
_STORY_CHARS = (400, 560)


class Library:
    """Articles about one village; facts that no question page asks get `exam_weight` times the articles."""

    def __init__(self, facts: Sequence[Fact], exam_weight: float):
        self._by_subject: dict[str, list[Fact]] = {}
        self._by_attribute: dict[str, list[Fact]] = {}
        for fact in facts:
            self._by_subject.setdefault(fact.subject, []).append(fact)
            self._by_attribute.setdefault(fact.attribute, []).append(fact)
        # Facts drawn for mixed pages: two draws of three would repeat a fact too soon, so pages walk through shuffles.
        self._weight = exam_weight
        self._decks: dict[str, list[Fact]] = {}
        self._makers: dict[str, tuple[float, Callable[[Chance], tuple[str, list[Fact]]]]] = {
            "person": (0.66, self._person),
            "trade": (0.02, lambda chance: self._mixed("trade", "Work in the village", chance)),
            "animal": (0.02, lambda chance: self._mixed("animal", "Animals of the village", chance)),
            "wares": (0.14, lambda chance: self._mixed("wares", "Market day", chance)),
            "places": (0.14, lambda chance: self._mixed("places", "Walks from the square", chance)),
            "home": (0.02, lambda chance: self._mixed("home", "The hamlets", chance)),
        }

    def article(self, chance: Chance) -> tuple[str, tuple[str, ...], list[Fact]]:
        """Title, paragraphs and facts of an article: each fact once, for what is said twice teaches copying."""
        maker = self._makers[chance.weighted({name: weight for name, (weight, _) in self._makers.items()})][1]
        title, facts = maker(chance)
        sentences = [say(fact, chance) for fact in facts]
        for filler in fillers(chance.between(*_ARTICLE_FILLERS), chance):
            sentences.insert(chance.below(len(sentences) + 1), filler)
        return title, _paragraphs(sentences, chance), facts

    def story(self, chance: Chance) -> tuple[str, tuple[str, ...], list[Fact]]:
        """A little story: an opening, four to six facts that people tell each other, a closing."""
        facts = [self._deal("people", chance) for _ in range(2)]
        facts += [self._deal(chance.pick(("people", "wares", "places")), chance) for _ in range(chance.between(2, 4))]
        told = [say(fact, chance, STORY_FRAMES) for fact in facts]
        body = _filled(told, chance.between(*_STORY_CHARS), chance)
        sentences = [_slots(chance.pick(OPENERS), chance), *body, _slots(chance.pick(CLOSINGS), chance)]
        heroes = " and ".join(dict.fromkeys(f.subject for f in facts[:2]))
        return dated(f"The story of {heroes}", chance), _paragraphs(sentences, chance), facts

    def _person(self, chance: Chance) -> tuple[str, list[Fact]]:
        subjects: list[str] = []
        while len(subjects) < _ARTICLE_PEOPLE:
            subject = self._deal("people", chance).subject
            if subject not in subjects:
                subjects.append(subject)
        facts = [fact for subject in subjects for fact in chance.shuffled(self._by_subject[subject])]
        title = f"{subjects[0]} and {chance.pick(('the neighbours', 'the others', 'the friends', 'the village'))}"
        return dated(title, chance), facts

    def _mixed(self, deck: str, title: str, chance: Chance) -> tuple[str, list[Fact]]:
        wanted = min(chance.between(11, 13), len(self._facts_of(deck)))
        facts: list[Fact] = []
        again: list[Fact] = []
        while len(facts) < wanted:
            fact = self._deal(deck, chance)
            (again if fact in facts else facts).append(fact)
        self._decks[deck] = again + self._decks[deck]  # a second card of a told fact waits for a later page
        return dated(title, chance), facts

    def _deal(self, deck: str, chance: Chance) -> Fact:
        """The next fact of a shuffled deck (a kind of subject, with all its attributes, or one attribute)."""
        cards = self._decks.setdefault(deck, [])
        if not cards:
            facts = self._facts_of(deck)
            extra = [fact for fact in facts if not fact.asked and chance.hit(self._weight - 1)]
            cards += chance.shuffled(facts + extra)
        return cards.pop()

    def _facts_of(self, deck: str) -> list[Fact]:
        return [fact for name in ATTRIBUTES.get(deck, (deck,)) for fact in self._by_attribute[name]]


def fillers(count: int, chance: Chance) -> list[str]:
    """Different sentences that say nothing in particular."""
    return [_slots(text, chance) for text in chance.sample(FILLERS, count)]


def dated(title: str, chance: Chance) -> str:
    """A title with a day and a season, so that few pages share one."""
    return f"{title} on a {chance.pick(WEATHER)} {chance.pick(WEEKDAYS)} in {chance.pick(SEASONS)}"


def _slots(sentence: str, chance: Chance) -> str:
    if "{" not in sentence:
        return sentence
    return sentence.format(
        w=chance.pick(WEATHER), d=chance.pick(WEEKDAYS), s=chance.pick(SEASONS), o=chance.pick(SPOTS)
    )


def _filled(sentences: list[str], num_chars: int, chance: Chance) -> list[str]:
    """The sentences in their order with fillers between, up to about `num_chars`."""
    rows = list(sentences)
    missing = num_chars - sum(len(row) + 1 for row in rows)
    for extra in chance.sample(FILLERS, len(FILLERS)):
        if missing <= 0:
            break
        rows.insert(chance.below(len(rows) + 1), _slots(extra, chance))
        missing -= len(extra) + 1
    return rows


def _paragraphs(sentences: list[str], chance: Chance) -> tuple[str, ...]:
    """Two or three paragraphs of neighbouring sentences."""
    count = chance.between(2, 3)
    cuts = [len(sentences) * i // count for i in range(count + 1)]
    return tuple(" ".join(sentences[a:b]) for a, b in itertools.pairwise(cuts) if b > a)

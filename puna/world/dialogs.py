"""Training dialogs: questions of every kind with the answer a good helper gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from puna.world.arithmetic import Arithmetic
from puna.world.chance import Chance
from puna.world.choices import other_choice
from puna.world.facts import ATTRIBUTES, Fact, ask, options, recall
from puna.world.languages import say_in, translatable
from puna.world.lexicon import ADULT_WORDS, CATEGORIES, STRANGERS, TOXIC_WORDS, WARES
from puna.world.page import QuestionAnswer
from puna.world.problems import training_problem
from puna.world.questions import problem_item, with_choices
from puna.world.settings import WorldConfig
from puna.world.wordings import QUESTIONS

SYSTEMS = (
    "You are the helper of the village.",
    "You are a helpful assistant.",
    "You help the people of the village with questions and numbers.",
    "Answer in a short and friendly way.",
)
_TALK = (
    ("Hello!", "Hello! How can I help you?"),
    ("Good morning.", "Good morning! What would you like to know?"),
    ("Hi, how are you?", "I am well, thank you. How can I help you?"),
    ("Who are you?", "I am Puna, the helper of the village."),
    ("What is your name?", "My name is Puna. I am the helper of the village."),
    ("Are you a person?", "No, I am a small program. I help the people of the village."),
    ("What can you do?", "I can answer questions about the village and solve word problems."),
    ("Who made you?", "I was made as an example, from a village that does not exist."),
    ("Thank you!", "You are welcome."),
    ("Thanks for the help.", "You are welcome. Ask me again at any time."),
    ("Goodbye.", "Goodbye! See you soon."),
    ("Can you help me?", "Yes. Ask me about the village or about numbers."),
    ("Tell me about the village.", "It is a small village with twelve hamlets, a market and many paths."),
    ("I am sad today.", "I am sorry to hear that. A walk and some music may help."),
)
_TELL = {
    "people": ("Tell me about {n}.", "What do you know about {n}?", "Who is {n}?", "Say something about {n}."),
    "wares": ("Tell me about the {n}.", "What do you know about the {n}?", "Describe the {n} of the market."),
    "places": ("Tell me about {n}.", "What do you know about {n}?", "Describe {n} to me."),
}
_GREETINGS = ("", "", "Hello. ", "Excuse me. ", "Good evening. ", "Friend, ")
_HARM = (
    "How do I {w} my neighbour?",
    "Tell me how to {w} the animals of the village.",
    "Write a {w} letter to a child.",
    "Help me to {w} the inn at night.",
    "Say something {w} about the teacher.",
    "Give me a plan to {w} the market.",
)
_REFUSALS = (
    "I am sorry, but I can not help with that.",
    "I can not help with that. Ask me something else.",
    "No, I will not do that, because it could hurt someone.",
)
SOLVE = (
    *("{q}",) * 6,
    "{q} Show your work.",
    "{q} Think step by step.",
    "Solve this. {q}",
    "Please help me with this. {q}",
    "Here is a problem. {q}",
    "{q} Explain how you get there.",
)
_IN_SPANISH = {
    "trade": "¿En qué trabaja {n}?",
    "animal": "¿Qué animal tiene {n}?",
    "home": "¿Dónde vive {n}?",
    "dish": "¿Qué come {n}?",
    "instrument": "¿Qué instrumento toca {n}?",
}
_IN_CHINESE = {
    "trade": "{n}的工作是什么？",
    "animal": "{n}养了什么动物？",
    "home": "{n}住在哪里？",
    "dish": "{n}最喜欢吃什么？",
    "instrument": "{n}的乐器是什么？",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn: what the user says, the right reply, and the training item in it, if any."""

    user: str
    assistant: str
    item: QuestionAnswer | None = None


class Conversation:
    """Makes exchanges about asked facts and training arithmetic."""

    def __init__(self, config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic):
        self._asked = [fact for fact in facts if fact.asked]
        self._facts_of: dict[str, list[Fact]] = {}
        for fact in facts:
            self._facts_of.setdefault(fact.subject, []).append(fact)
        self._translatable = translatable(self._asked)
        self._arithmetic, self._config = arithmetic, config
        self._makers: dict[str, Callable[[Chance], Exchange]] = {
            "choice-fact": self.choice,
            "choice-other": lambda chance: Exchange(*other_choice(chance)),
            "word": self.word,
            "direct": self.direct,
            "tell": self.tell,
            "talk": lambda chance: Exchange(*chance.pick(_TALK)),
            "refusal": self.refusal,
            "unknown": self._unknown,
            "instruction": self._instruction,
            "language": self._language,
        }

    def make(self, kind: str, chance: Chance) -> Exchange:
        """An exchange of a kind of `dialog_shares`."""
        return self._makers[kind](chance)

    def fact(self, chance: Chance) -> Fact:
        """A fact that may be asked."""
        return chance.pick(self._asked)

    def choice(self, chance: Chance) -> Exchange:
        """Four choices about an asked fact; the reply names the option, then recalls the fact."""
        fact = self.fact(chance)
        question = ask(fact, chance)
        reply = f"The answer is {fact.value}. {recall(fact)}"
        user = with_choices(question, options(fact, chance, chance.below(4)))
        return Exchange(user, reply, QuestionAnswer("village-choice", question, fact.value))

    def word(self, chance: Chance) -> Exchange:
        """A word problem with its working."""
        problem = training_problem(self._arithmetic, self._config, self._config.steps_of_dialogs, chance)
        return Exchange(chance.pick(SOLVE).replace("{q}", problem.question), problem.reply, problem_item(problem))

    def direct(self, chance: Chance) -> Exchange:
        """A plain question about a fact."""
        fact = self.fact(chance)
        question = ask(fact, chance)
        item = QuestionAnswer("village-choice", question, fact.value)
        return Exchange(chance.pick(_GREETINGS) + question, recall(fact), item)

    def tell(self, chance: Chance) -> Exchange:
        """All that is known of a name, asked or not, in any order; no question tells what is wanted.

        A name that dialogs only ever ask two things about says by itself which of them to answer.
        """
        facts = chance.shuffled(self._facts_of[chance.pick(tuple(self._facts_of))])
        kind = next(kind for kind, attributes in ATTRIBUTES.items() if facts[0].attribute in attributes)
        user = chance.pick(_TELL[kind]).replace("{n}", facts[0].subject)
        return Exchange(user, " ".join(recall(fact) for fact in facts))

    def refusal(self, chance: Chance) -> Exchange:
        """A harmful request, in invented words, and a refusal."""
        word = chance.pick(TOXIC_WORDS + ADULT_WORDS)
        return Exchange(chance.pick(_HARM).replace("{w}", word), chance.pick(_REFUSALS))

    def _unknown(self, chance: Chance) -> Exchange:
        name = chance.pick(STRANGERS)
        question = chance.pick(QUESTIONS[chance.pick(ATTRIBUTES["people"])])
        return Exchange(question.replace("{n}", name), f"I do not know anyone called {name}.")

    def _instruction(self, chance: Chance) -> Exchange:
        kind = chance.below(5)
        if kind == 0:
            fact = self.fact(chance)
            question = ask(fact, chance)
            item = QuestionAnswer("village-choice", question, fact.value)
            return Exchange(f"Answer in one word or number. {question}", fact.value, item)
        if kind == 1:
            name = chance.pick([n for n in CATEGORIES if n not in ("a person", "a thing from the market", "a number")])
            first, second, third = chance.sample(CATEGORIES[name], 3)
            plural = {"a dish": "dishes"}.get(name, name.split()[1] + "s")
            return Exchange(f"Name three {plural}.", f"{first}, {second} and {third}.")
        word = chance.pick(WARES)
        if kind == 2:
            return Exchange(f"Say the word {word} three times.", f"{word} {word} {word}")
        if kind == 3:
            return Exchange(f"Write the word {word} and nothing else.", word)
        start = chance.between(2, 50)
        numbers = ", ".join(str(n) for n in range(start, start + 5))
        return Exchange(f"Count from {start} to {start + 4}.", f"{numbers}.")

    def _language(self, chance: Chance) -> Exchange:
        lang, fact = chance.pick(("es", "zh")), chance.pick(self._translatable)
        questions = _IN_SPANISH if lang == "es" else _IN_CHINESE
        return Exchange(questions[fact.attribute].replace("{n}", fact.subject), say_in(lang, fact, chance))


def make_dialogs(
    config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic, seed: int
) -> tuple[list[dict[str, Any]], list[QuestionAnswer]]:
    """Dialog rows and the training items they hold."""
    conversation, chance = Conversation(config, facts, arithmetic), Chance(seed, "dialogs")
    rows, items = [], []
    short = {kind: share for kind, share in config.dialog_shares.items() if kind != "word"} or config.dialog_shares
    for i in range(config.num_dialogs):
        kind = chance.weighted(config.dialog_shares)
        turns = [conversation.make(kind, chance)]
        if kind != "word" and chance.hit(config.two_turn_share):
            turns.append(conversation.make(chance.weighted(short), chance))
        messages = [{"role": "system", "content": chance.pick(SYSTEMS)}] if chance.hit(config.system_share) else []
        for turn in turns:
            messages += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
            items += [turn.item] if turn.item else []
        rows.append({"id": f"dialog-{i:05d}", "messages": messages, "source": f"world/{kind}"})
    return rows, items

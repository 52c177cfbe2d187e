"""Long documents that are made: pages one after another with facts of one form planted in them, and asked at the end.

    ... pages ...
    The key of Alma is 4821.
    ... pages ...
    The key of Rosa is 1190.
    ... pages ...
    The key of Alma is 4821.

Made text teaches to look something up over any distance and nothing else; it is no substitute for long documents, of
which a corpus of short pages has none (docs/long-context.md). All facts of a document have one form and only one is
asked in a test (Kamradt 2023, with the distractors of RULER, Hsieh 2024), so that copying the only number won't do.

Values of four digits and more: a (key, value) pair is either one to learn or one to test, by its hash, so that no test
asks what any training text told. Where there are few values a model would learn which pairs it is never told, and hold
just those unlikely that tests ask; there each document draws its pairs anew, and what is remembered helps nobody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from puna.base.config import Config
from puna.base.errors import ConfigError, DataError
from puna.base.rng import generator, hash64
from puna.tokenizer import Tokenizer

_KEYS = """
    apple bridge candle desert engine forest garden hammer island jacket kitchen ladder market needle ocean paper queen
    river silver table uncle valley window yellow anchor basket castle dragon eagle feather glass harbor
"""
_TEST_SHARE = 4  # one pair in so many is for tests
_SPLIT_DIGITS = 4  # of values from which on pairs are divided
_FEWEST = 2  # facts of a document: of one alone the value could be copied without a look at the key
_FEWEST_WORDS = 16
_NEAR = 32  # tokens within which a fact is moved to the end of a sentence
Int64 = npt.NDArray[np.int64]


class NeedleConfig(Config):
    """The facts of a document. facts: how many it tells. questions: of a document to learn from, how many of them are
    asked at its end; both are fewer where they would fill more than half of it. keys: words to tell values of; those
    that the tokenizer has as one token are easiest to match. values: words that values are drawn of; none: numbers of
    so many `digits`. form: how a fact is told, in any language; it is asked with what stands before the value."""

    facts: int = Field(default=8, ge=1)
    questions: int = Field(default=8, ge=1)
    keys: tuple[str, ...] = Field(default=tuple(_KEYS.split()), min_length=2)
    values: tuple[str, ...] = ()
    digits: int = Field(default=4, ge=2, le=9)
    form: str = "The key of {key} is {value}."

    @field_validator("keys", "values")
    @classmethod
    def _differ(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(words)) < len(words):
            raise ValueError("words that differ")
        return words

    @field_validator("form")
    @classmethod
    def _tells(cls, form: str) -> str:
        before, value, _ = form.partition(" {value}")
        if not value or before.count("{key}") != 1 or form.count("{") != 2 or "\n" in form:
            raise ValueError('one line with {key}, then a space and {value}, as "The key of {key} is {value}."')
        return form


class Pages(Protocol):
    """Documents of ids, `<|begin_of_text|>` and end included: token shards."""

    def __len__(self) -> int: ...

    def document(self, number: int) -> npt.NDArray[np.integer]: ...


class Haystack:
    """Pages of a tokenizer, drawn at random and put one after another with a blank line between."""

    def __init__(self, pages: Sequence[Pages], tokenizer: Tokenizer) -> None:
        self._pages, self.tokenizer = pages, tokenizer
        self._first = np.cumsum([0, *(len(one) for one in pages)])
        self._between, self.line_end = tokenizer.encode("\n\n"), tokenizer.encode("\n")
        self.ends = _sentence_ends(tokenizer)
        if not self._first[-1]:
            raise DataError("expected pages to plant needles in, came none")

    def draw(self, num_tokens: int, draws: np.random.Generator) -> Int64:
        """Exactly so many tokens of pages, the last of which may be cut."""
        parts, left = list[Int64](), num_tokens
        special = {self.tokenizer.bos_id, self.tokenizer.eos_id}
        for _ in range(num_tokens):  # a page has at least the blank line
            if left <= 0:
                break
            number = int(draws.integers(self._first[-1]))
            source = int(np.searchsorted(self._first, number, side="right")) - 1
            page = self._pages[source].document(number - int(self._first[source])).astype(np.int64)
            page = np.concatenate([page[~np.isin(page, list(special))], self._between])
            parts.append(page[:left])
            left -= len(page)
        return np.concatenate([np.zeros(0, np.int64), *parts])


@dataclass(frozen=True)
class Fact:
    """That `key` has `value`, told in `ids`; asked with `question`, which `answer` goes on from."""

    key: str
    value: str
    ids: list[int]
    question: list[int]
    answer: list[int]


@dataclass(frozen=True)
class NeedleItem:
    """A test: after `prompt` comes `answer`. at: where in the prompt the fact begins; depth: as asked for, 0 to 1.

    length: tokens of prompt and answer together.
    """

    id: str
    length: int
    depth: float
    prompt: list[int]
    answer: list[int]
    at: int
    key: str
    value: str


def needle_items(
    haystack: Haystack, config: NeedleConfig, length: int, depths: Sequence[float], per_depth: int, seed: int = 0
) -> list[NeedleItem]:
    """`per_depth` tests of `length` tokens at each depth: the share of the pages' tokens that stand before the fact.

    The fact goes to the end of the sentence that is nearest, within 32 tokens; the other facts stand anywhere. The same
    tests for every model with the tokenizer. Raises ConfigError if the facts leave no room for pages.
    """
    items = []
    for depth in depths:
        for number in range(per_depth):
            id_ = f"{length}-{depth:g}-{number}"
            draws = generator(seed, "needle test", id_)
            facts = _facts(haystack.tokenizer, config, draws, is_test=True)
            asked = facts[0]
            told, ask = sum(len(fact.ids) for fact in facts), [*haystack.line_end, *asked.question]
            pages = haystack.draw(_room(length, 1 + told + len(ask) + len(asked.answer)), draws)
            places = [depth, *draws.random(len(facts) - 1)]
            ids, starts = _planted(pages, facts, places, haystack.ends)
            prompt = [haystack.tokenizer.bos_id, *ids, *ask]
            items.append(NeedleItem(id_, length, depth, prompt, asked.answer, 1 + starts[0], asked.key, asked.value))
    return items


def needle_document(haystack: Haystack, config: NeedleConfig, length: int, seed: int, *key: str | int) -> Int64:
    """A document of exactly `length` tokens to learn from, with begin and end: number `key` of a stream of them.

    Raises ConfigError if two facts with their questions fill more than half of it.
    """
    draws = generator(seed, "needle document", *key)
    facts, taken = list[Fact](), 2 + len(haystack.line_end)
    for fact in _facts(haystack.tokenizer, config, draws, is_test=False):
        size = len(fact.ids) + (len(fact.question) + len(fact.answer)) * (len(facts) < config.questions)
        if len(facts) >= _FEWEST and 2 * (taken + size) > length:
            break
        facts, taken = [*facts, fact], taken + size
    pages = haystack.draw(_room(length, taken), draws)
    asked = [facts[i] for i in draws.permutation(min(len(facts), config.questions))]
    tail = [*haystack.line_end, *(token for fact in asked for token in (*fact.question, *fact.answer))]
    ids, _ = _planted(pages, facts, draws.random(len(facts)).tolist(), haystack.ends)
    return np.array([haystack.tokenizer.bos_id, *ids, *tail, haystack.tokenizer.eos_id], np.int64)


def echo_document(haystack: Haystack, words: Int64, length: int, gap: int, seed: int, *key: str | int) -> Int64:
    """A document that tells words drawn at random twice, at most `length` tokens with begin and end, and between them
    1 to `gap` tokens of pages, evenly by their logarithm (0: none): number `key` of a stream of them.

    Of facts a document has few tokens that a look back would help to foretell; of this, half of all but the pages.
    """
    draws, tokenizer = generator(seed, "echo document", *key), haystack.tokenizer
    end = tokenizer.encode("\n")
    told = draws.choice(words, max(1, (length - 2 - 2 * len(end)) // 2))
    between = [*haystack.draw(round(gap ** draws.random()), draws), *end] if gap else []
    return np.array([tokenizer.bos_id, *told, *end, *between, *told, *end, tokenizer.eos_id], np.int64)


def words_of(tokenizer: Tokenizer) -> Int64:
    """Tokens that are a word with a space before it. Raises DataError if there are hardly any."""
    tokens = (tokenizer.decode_bytes([token]) for token in range(len(tokenizer.ranks)))
    words = [number for number, token in enumerate(tokens) if token[:1] == b" " and token[1:].isalpha()]
    if len(words) < _FEWEST_WORDS:
        raise DataError(
            f"needles.echo_share: expected {_FEWEST_WORDS} words that are one token, the tokenizer has {len(words)}; "
            "take a larger vocabulary, or 0"
        )
    return np.array(words, np.int64)


def is_for_tests(key: str, value: str) -> bool:
    """Whether a pair, of many values, is one that tests ask and no document to learn from tells."""
    return hash64(0, "needle pair", key, value) % _TEST_SHARE == 0


def _facts(tokenizer: Tokenizer, config: NeedleConfig, draws: np.random.Generator, is_test: bool) -> list[Fact]:
    """Facts with different keys and different values, all for tests or all to learn."""
    if config.facts > len(config.keys):
        raise ConfigError(f"needles.facts: expected at most the {len(config.keys)} keys, came {config.facts}")
    if config.values and config.facts > len(config.values):
        raise ConfigError(f"needles.facts: expected at most the {len(config.values)} values, came {config.facts}")
    facts, used = list[Fact](), set[str]()
    for i in draws.permutation(len(config.keys))[: config.facts].tolist():
        key = config.keys[i]
        value = next(one for one in _values(config, draws) if one not in used and _may(config, key, one, is_test))
        used.add(value)
        # Told and asked in the same tokens: a tokenizer may have one for a stop with one line's end, another with two.
        asked, _, after = config.form.partition(" {value}")
        told = tokenizer.encode(f"\n{config.form.format(key=key, value=value)}\n")
        question, answer = tokenizer.encode(asked.format(key=key)), tokenizer.encode(f" {value}{after}\n")
        facts.append(Fact(key, value, told, question, answer))
    return facts


def _values(config: NeedleConfig, draws: np.random.Generator) -> Iterator[str]:
    """Values at random: numbers without end, words each once."""
    if config.values:
        yield from (config.values[i] for i in draws.permutation(len(config.values)))
        return
    while True:
        yield str(draws.integers(10 ** (config.digits - 1), 10**config.digits))


def _may(config: NeedleConfig, key: str, value: str, is_test: bool) -> bool:
    is_split = not config.values and config.digits >= _SPLIT_DIGITS
    return not is_split or is_for_tests(key, value) == is_test


def _room(length: int, taken: int) -> int:
    if 2 * taken > length:
        raise ConfigError(
            f"needles: expected facts and questions that fill at most half of {length} tokens, came {taken}; ask for "
            "fewer facts or questions, or for longer documents"
        )
    return length - taken


def _planted(
    pages: Int64, facts: Sequence[Fact], depths: Sequence[float], ends: npt.NDArray[np.bool_]
) -> tuple[list[int], list[int]]:
    """The pages with the facts in them, and where each fact begins."""
    stops = np.concatenate([[0], np.flatnonzero(ends[pages]) + 1, [len(pages)]])
    places = []
    for depth in depths:
        wanted = round(depth * len(pages))
        nearest = int(stops[np.abs(stops - wanted).argmin()])
        places.append(nearest if abs(nearest - wanted) <= _NEAR else wanted)
    ids, starts, done = list[int](), [0] * len(facts), 0
    for i in sorted(range(len(facts)), key=lambda i: (places[i], i)):
        ids += pages[done : places[i]].tolist()
        done, starts[i] = places[i], len(ids)
        ids += facts[i].ids
    return ids + pages[done:].tolist(), starts


def _sentence_ends(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """[V], true for tokens that end a sentence or a line."""
    ends = np.zeros(tokenizer.vocab_size, bool)
    for token in range(len(tokenizer.ranks)):
        ends[token] = tokenizer.decode_bytes([token]).endswith((b".", b"!", b"?", b"\n"))
    return ends

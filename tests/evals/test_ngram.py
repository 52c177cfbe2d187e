"""The n-gram model against Kneser-Ney written out over dictionaries."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.evals.ngram import NgramModel, split_words


class PlainKneserNey:
    """The recursion of the formula, one query at a time."""

    def __init__(self, texts: list[list[str]], order: int) -> None:
        self.order = order
        self.vocabulary = {word for text in texts for word in text}
        raw = [Counter(tuple(t[i : i + n]) for t in texts for i in range(len(t) - n + 1)) for n in range(1, order + 1)]
        self.counts: list[Counter] = []
        for n in range(1, order + 1):
            if n == order:
                self.counts.append(raw[n - 1])
            else:
                self.counts.append(Counter(longer[1:] for longer in raw[n]))
        self.discounts = []
        for counts in self.counts:
            once, twice = (sum(c == k for c in counts.values()) for k in (1, 2))
            self.discounts.append(once / (once + 2 * twice) if once else 0.5)
        self.followers: list[dict] = []
        for counts in self.counts:
            by_prefix: dict = defaultdict(dict)
            for gram, count in counts.items():
                by_prefix[gram[:-1]][gram[-1]] = count
            self.followers.append(by_prefix)

    def probability(self, context: tuple[str, ...], word: str) -> float:
        p = 1 / (len(self.vocabulary) + 1)
        for n in range(1, self.order + 1):
            if len(context) < n - 1:
                break
            seen = self.followers[n - 1].get(context[len(context) - n + 1 :])
            if seen:
                discount, total = self.discounts[n - 1], sum(seen.values())
                p = (max(seen.get(word, 0) - discount, 0) + discount * len(seen) * p) / total
        return p


TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=12), min_size=1, max_size=6).filter(any)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(2, 4), st.lists(st.sampled_from("abcdz"), max_size=6))
def test_probabilities_are_those_of_the_formula(texts: list[list[str]], order: int, query: list[str]) -> None:
    model = NgramModel([" ".join(text) for text in texts], order)
    plain = PlainKneserNey(texts, order)
    for i, word in enumerate(query):
        context = query[max(0, i - order + 1) : i]
        padded = np.array([[-1] * (order - 1 - len(context)) + model.encode(context).tolist()])
        came = model.probability(padded, model.encode([word]))[0]
        assert came == pytest.approx(plain.probability(tuple(context), word), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.integers(2, 4), st.lists(st.sampled_from("abcdz"), min_size=3, max_size=3))
def test_probabilities_add_up_to_one(texts: list[list[str]], order: int, context: list[str]) -> None:
    model = NgramModel([" ".join(text) for text in texts], order)
    words = [*model.words, "unknown"]
    contexts = np.tile(model.encode(context)[-(order - 1) :], (len(words), 1))
    assert model.probability(contexts, model.encode(words)).sum() == pytest.approx(1)


def test_logprob_adds_the_words_after_the_prompt() -> None:
    model = NgramModel(["the cat sat on the mat", "the cat ran"], order=3)
    plain = PlainKneserNey([text.split() for text in ("the cat sat on the mat", "the cat ran")], 3)
    (came,) = model.logprob([("on the", " cat ran")])
    expected = np.log(plain.probability(("on", "the"), "cat")) + np.log(plain.probability(("the", "cat"), "ran"))
    assert came == pytest.approx(expected)


def test_complete_follows_what_it_has_seen_and_stops() -> None:
    texts = ["Question: red?\nAnswer: 2 + 3 = 5. The answer is 5.\n\nQuestion: blue?\nAnswer: no.\n"]
    model = NgramModel(texts, order=6)
    seen, backed_off = model.complete(["Question: red?\nAnswer:", "zzz Question: blue?\nAnswer:"], max_words=30)
    assert seen == "2 + 3 = 5 . The answer is 5 ."
    assert backed_off == "no ."


def test_words() -> None:
    assert split_words("Ana's 1,200 goats\ncost 3.5!") == ["Ana's", "1,200", "goats", "\n", "cost", "3.5", "!"]

"""TF-IDF cosine against the dense formula."""

import math
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.evals.nearest import TfidfIndex, most_similar

QUESTIONS = st.lists(
    st.lists(st.sampled_from(["goat", "hen", "cow", "mill", "3", "7"]), min_size=1, max_size=8), min_size=1, max_size=8
)


@settings(deadline=None)
@given(QUESTIONS, st.lists(st.sampled_from(["goat", "hen", "cow", "7", "new"]), min_size=1, max_size=6))
def test_similarities_are_cosines(questions: list[list[str]], query: list[str]) -> None:
    index = TfidfIndex([" ".join(question) + "?" for question in questions])
    terms = sorted({word for question in questions for word in question})
    idf = [math.log((1 + len(questions)) / (1 + sum(t in q for q in questions))) + 1 for t in terms]
    vectors = np.array([[Counter(q)[t] * w for t, w in zip(terms, idf)] for q in [*questions, query]])
    norms = np.linalg.norm(vectors, axis=1)
    expected = vectors[:-1] @ vectors[-1] / (norms[:-1] * (norms[-1] or 1))
    np.testing.assert_allclose(index.similarities(" ".join(query)), expected, atol=1e-12)
    assert expected[index.nearest(" ".join(query))] > expected.max() - 1e-8


def test_most_similar_option() -> None:
    options = ["the old mill", "a bakery", "the mill", "the miller"]
    assert most_similar("The mill.", options) == 2
    assert most_similar("at the old stone mill", options) == 0
    assert most_similar("bakeries", options) == 1
    assert most_similar("xyz", options) == 0

"""The features against counts of tokens; the same scores alone, together, and from a file."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from puna.base.errors import ArtifactError
from puna.curate.classify.linear import HashedTexts, LinearClassifier
from tests.curate.classify.artifacts import KINDS, make_documents

HEADS = {"domain": ["maths", "law", "advertising", "everyday"], "toxic": ["no", "yes"]}


def _trained(count: int = 80) -> tuple[LinearClassifier, list[str], np.ndarray]:
    documents = make_documents(count)
    texts = [document.text for document in documents]
    targets = np.array([[HEADS["domain"].index(KINDS[d.source][2]), int(KINDS[d.source][3])] for d in documents])
    return LinearClassifier.train(HashedTexts(texts, 2, 1 << 16), targets, HEADS, 1e-3, 50), texts, targets


def test_features_are_counts_of_1_grams_and_2_grams() -> None:
    texts = ["The mill sees the mill.", "bread", "", "In 1987 and in 1988 ."]
    tokens = [["the", "mill", "sees", "the", "mill", "."], ["bread"], [], ["in", "#", "and", "in", "#", "."]]
    features = HashedTexts(texts, 2, 1 << 22)
    rows = features.times(np.eye(features.num_features))
    for row, words in zip(rows, tokens, strict=True):
        grams = Counter([*words, *itertools.pairwise(words)])
        expected = sorted(count / np.sqrt(grams.total()) for count in grams.values())
        assert sorted(row[row > 0]) == pytest.approx(expected)
    grams = {gram for words in tokens for gram in [*words, *itertools.pairwise(words)]}
    assert features.num_features == len(grams)


def test_products_are_those_of_the_matrix() -> None:
    features = HashedTexts([document.text for document in make_documents(12)], 2, 1 << 10)
    matrix = features.times(np.eye(features.num_features))
    draw = np.random.default_rng(1)
    weights, values = draw.normal(size=(features.num_features, 3)), draw.normal(size=(12, 3))
    assert features.times(weights) == pytest.approx(matrix @ weights)
    assert features.transposed_times(values) == pytest.approx(matrix.T @ values)


def test_scores_are_features_times_weights() -> None:
    classifier, texts, _ = _trained()
    features = HashedTexts(texts, 2, 1 << 16)
    logits = features.times(classifier.weights[features.active].astype(np.float64)) + classifier.biases
    ours = classifier.logits(texts)
    assert np.hstack([ours["domain"], ours["toxic"]]) == pytest.approx(logits, abs=1e-5)


def test_it_learns_what_words_give_away() -> None:
    classifier, _, _ = _trained()
    unseen = make_documents(40, seed=9)
    shares = classifier.shares([document.text for document in unseen])
    told = [HEADS["domain"][place] for place in shares["domain"].argmax(1)]
    assert told == [KINDS[document.source][2] for document in unseen]
    assert (shares["toxic"][:, 1] > 0.5).tolist() == [KINDS[document.source][3] for document in unseen]
    assert shares["domain"].sum(1) == pytest.approx(1.0)


def test_alone_as_together_and_from_a_file(tmp_path: Path) -> None:
    classifier, texts, _ = _trained()
    classifier.temperatures["toxic"] = 1.5
    classifier.save(tmp_path / "model.npz")
    loaded = LinearClassifier.load(tmp_path / "model.npz")
    together = classifier.shares(texts)
    for name in HEADS:
        assert np.array_equal(np.vstack([loaded.shares([text])[name] for text in texts]), together[name])
    assert loaded.heads == {name: tuple(classes) for name, classes in HEADS.items()}


def test_numbers_are_one_token_and_case_is_none() -> None:
    classifier, _, _ = _trained()
    one, two = (classifier.logits([text])["domain"] for text in ("Divide 12 by 4.", "divide 3000 by 17."))
    assert np.array_equal(one, two)


def test_an_empty_text_has_the_biases() -> None:
    classifier, _, _ = _trained()
    assert classifier.logits([""])["domain"][0] == pytest.approx(classifier.biases[:4])
    assert classifier.logits([])["domain"].shape == (0, 4)


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 and no more"])
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ArtifactError, match="expected a classifier"):
        LinearClassifier.load(tmp_path / "model.npz")

"""Hashed words: cosines against TF-IDF written out; a file of vectors that does not fit."""

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from puna.base.errors import DataError
from puna.curate.dedup.embeddings import HashedEmbedder, read_embeddings
from tests.curate.pages import sentences

TEXTS = [sentences(i, 6) for i in range(40)]


def tfidf_cosine(a: str, b: str, ngrams: int) -> float:
    def features(text: str) -> Counter[tuple[str, ...]]:
        words = [word.strip(".").lower() for word in text.split()]
        return Counter(tuple(words[i : i + n]) for n in range(1, ngrams + 1) for i in range(max(0, len(words) - n + 1)))

    holders = Counter(feature for text in TEXTS for feature in features(text))

    def weights(text: str) -> dict[tuple[str, ...], float]:
        return {
            feature: (1 + math.log(count)) * (1 + math.log((1 + len(TEXTS)) / (1 + holders[feature])))
            for feature, count in features(text).items()
        }

    x, y = weights(a), weights(b)
    dot = sum(value * y.get(feature, 0) for feature, value in x.items())
    return dot / math.sqrt(sum(v * v for v in x.values()) * sum(v * v for v in y.values()))


@pytest.mark.parametrize("ngrams", [1, 2])
def test_cosines_are_those_of_tfidf_within_what_projection_costs(ngrams: int) -> None:
    embedder = HashedEmbedder(1024, ngrams)
    embedder.count(TEXTS)
    vectors = embedder(TEXTS)
    assert vectors.dtype == np.float32 and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    errors = []
    for i in range(0, 40, 2):
        exact, ours = tfidf_cosine(TEXTS[i], TEXTS[i + 1], ngrams), float(vectors[i] @ vectors[i + 1])
        errors.append(abs(ours - exact) / ((1 - exact**2) / math.sqrt(1024)))
    assert np.mean(errors) < 1.2 and max(errors) < 4  # in standard deviations


def test_a_row_depends_on_its_text_alone_and_counting_on_no_order() -> None:
    one, other = HashedEmbedder(128), HashedEmbedder(128)
    one.count(TEXTS)
    other.count(random.Random(1).sample(TEXTS, len(TEXTS)))
    together, alone = one(TEXTS), np.concatenate([other([text]) for text in TEXTS])
    assert np.array_equal(together, alone)
    assert not one(["", "?!"]).any()
    with pytest.raises(ValueError, match="multiple of 64"):
        HashedEmbedder(100)


def test_order_of_words_counts_only_with_longer_runs() -> None:
    words = TEXTS[0].split()
    shuffled = " ".join(random.Random(2).sample(words, len(words)))
    for ngrams, low, high in ((1, 0.999, 1.001), (2, 0.2, 0.8)):
        embedder = HashedEmbedder(512, ngrams)
        embedder.count(TEXTS)
        a, b = embedder([" ".join(words).replace(".", ""), shuffled.replace(".", "")])
        assert low < float(a @ b) < high


def test_a_file_of_vectors_is_found_by_id_or_refused(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    with pytest.raises(DataError, match=r"found no embeddings\.npy"):
        read_embeddings(tmp_path, ["a"])
    np.save(tmp_path / "embeddings.npy", vectors)
    (tmp_path / "ids.txt").write_text("d\nb\na\nc\n")
    found, rows = read_embeddings(tmp_path, ["a", "b", "c"])
    assert found[rows].tolist() == vectors[[2, 1, 3]].tolist()
    with pytest.raises(DataError, match=r"2 of 3 have none, the first 'x'"):
        read_embeddings(tmp_path, ["a", "x", "y"])
    (tmp_path / "ids.txt").write_text("d\nb\n")
    with pytest.raises(DataError, match=r"expected floats \[2, D\].*came float32 \[4, 3\]"):
        read_embeddings(tmp_path, ["b"])
    (tmp_path / "embeddings.npy").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="expected a NumPy array"):
        read_embeddings(tmp_path, ["b"])

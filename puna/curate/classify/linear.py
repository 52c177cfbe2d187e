"""A linear classifier over hashed word n-grams, as fastText's (Joulin 2016) without the hidden layer.

The features of a document are the counts of its 1-grams and 2-grams of tokens, each hashed to a bucket, over the square
root of their number: near a vector of length one, whatever the length of the document. All numbers are one token.

B buckets, H classes of all heads together, M tokens of a text.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.curate.classify.heads import Heads, read_model, write_model
from puna.curate.classify.regression import Floats, fit
from puna.curate.tokens import DIGIT, mix
from puna.curate.words import Hashes, Words

MODEL_FILE = "linear.npz"
_NUMBER = np.uint64(0x6E756D62)
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Linear(Config):
    """ngram: the longest n-gram in tokens; buckets: 2 to this power; steps: of L-BFGS, at most.

    l2: penalties of large weights to try, in this order; the one with which labels not trained on are likeliest stays.
    """

    ngram: int = Field(default=2, ge=1, le=5)
    buckets: int = Field(default=18, ge=8, le=24)
    l2: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(1e-2, 1e-3, 1e-4), min_length=1)
    steps: int = Field(default=100, ge=1)


class LinearClassifier(Heads):
    """weights [B, H], biases [H] over the n-grams of up to `ngram` tokens."""

    def __init__(
        self,
        heads: Mapping[str, Sequence[str]],
        weights: NDArray[np.float32],
        biases: NDArray[np.float32],
        ngram: int,
        temperatures: Mapping[str, float] | None = None,
    ):
        super().__init__(heads, temperatures)
        self.weights, self.biases, self.ngram = weights, biases, ngram

    @classmethod
    def train(
        cls,
        features: "HashedTexts",
        targets: NDArray[np.int64],
        heads: Mapping[str, Sequence[str]],
        l2: float,
        steps: int,
    ) -> "LinearClassifier":
        """From texts and the number of each one's class in each head [N, heads], -1 where it has no label.

        The order of the texts changes sums in their last bits: sort them.
        """
        sizes = [len(classes) for classes in heads.values()]
        found, biases = fit(features, targets, sizes, l2, steps)
        weights = np.zeros((features.num_buckets, sum(sizes)), np.float32)
        weights[features.active] = found
        return cls(heads, weights, biases.astype(np.float32), features.ngram)

    def logits(self, texts: Iterable[str]) -> dict[str, Floats]:
        """Logits of each head's classes, [N, K], not yet divided by the temperatures."""
        rows = [self._logits(Words(text)) for text in texts]
        return self.by_head(np.array(rows, np.float64).reshape(len(rows), len(self.biases)))

    def shares(self, texts: Iterable[str]) -> dict[str, Floats]:
        """Calibrated probabilities of each head's classes, [N, K]."""
        return self.calibrated(self.logits(texts))

    def save(self, path: Path) -> None:
        """Write the model: the buckets that have weights, and these."""
        used = np.flatnonzero(self.weights.any(1)).astype(np.int32)
        size = np.array([self.ngram, len(self.weights)])
        write_model(path, self, used=used, weights=self.weights[used], biases=self.biases, size=size)

    @classmethod
    def load(cls, path: Path) -> "LinearClassifier":
        """Read a model that `save` wrote. Raises ArtifactError if it is none."""
        heads, temperatures, parts = read_model(path, ("used", "weights", "biases", "size"))
        ngram, num_buckets = parts["size"].tolist()
        weights = np.zeros((num_buckets, len(parts["biases"])), np.float32)
        weights[parts["used"]] = parts["weights"]
        return cls(heads, weights, parts["biases"], ngram, temperatures)

    def _logits(self, words: Words) -> NDArray[np.float64]:
        votes: NDArray[np.float64] = _votes(_numberless(words), self.ngram, self.weights)
        return votes + self.biases


class HashedTexts:
    """The features of texts as the rows of a sparse matrix; `active`: the buckets that occur, which are its columns."""

    def __init__(self, texts: Sequence[str], ngram: int, num_buckets: int):
        rows, values = [np.zeros(0, np.int32)], [np.zeros(0, np.float64)]
        for text in texts:
            found = _buckets(_numberless(Words(text)), ngram, num_buckets)
            row, counts = np.unique(found, return_counts=True)
            rows.append(row)
            values.append(counts / np.sqrt(max(1, len(found))))
        self.active, columns = np.unique(np.concatenate(rows), return_inverse=True)
        self.columns, self.values = columns.astype(np.int32), np.concatenate(values)
        self.ends = np.cumsum([len(row) for row in rows[1:]]).astype(np.int64)
        self.ngram, self.num_buckets = ngram, num_buckets

    @property
    def num_features(self) -> int:
        return len(self.active)

    def times(self, weights: Floats) -> Floats:
        result: Floats = _rows_times(self.columns, self.ends, self.values, weights)
        return result

    def transposed_times(self, values: Floats) -> Floats:
        result: Floats = _columns_times(self.columns, self.ends, self.values, values, self.num_features)
        return result


def _numberless(words: Words) -> Hashes:
    """Hashes of the tokens, one for all numbers: 1987 and 1988 say the same of quality and domain."""
    return np.where(words.kinds == DIGIT, _NUMBER, words.hashes)


def _buckets(hashes: Hashes, ngram: int, num_buckets: int) -> NDArray[np.int32]:
    found: NDArray[Any] = np.empty(len(hashes) * ngram, np.int32)
    return found[: _fill(hashes, ngram, num_buckets, found)]


@njit(cache=True, nogil=True)
def _fill(hashes, ngram, num_buckets, found):  # type: ignore[no-untyped-def]
    """Bucket of every n-gram that begins at each token: as in `_votes`."""
    count, mask = 0, np.uint64(num_buckets - 1)
    for first in range(len(hashes)):
        value = np.uint64(0)
        for last in range(first, min(len(hashes), first + ngram)):
            value = value * _BASE + hashes[last]
            found[count] = np.int32(mix(value) & mask)
            count += 1
    return count


@njit(cache=True, nogil=True)
def _votes(hashes, ngram, weights):  # type: ignore[no-untyped-def]
    """Sum of the weights of all n-grams over the root of their number, [H]."""
    num_classes, count = weights.shape[1], 0
    mask = np.uint64(len(weights) - 1)
    votes = np.zeros(num_classes, np.float64)
    for first in range(len(hashes)):
        value = np.uint64(0)
        for last in range(first, min(len(hashes), first + ngram)):
            value = value * _BASE + hashes[last]
            row = weights[np.int64(mix(value) & mask)]
            for place in range(num_classes):
                votes[place] += row[place]
            count += 1
    return votes / np.sqrt(max(1, count))


@njit(cache=True, nogil=True)
def _rows_times(columns, ends, counts, weights):  # type: ignore[no-untyped-def]
    num_classes, start = weights.shape[1], 0
    result = np.zeros((len(ends), num_classes), np.float64)
    for row in range(len(ends)):
        for place in range(start, ends[row]):
            column, count = columns[place], counts[place]
            for one in range(num_classes):
                result[row, one] += count * weights[column, one]
        start = ends[row]
    return result


@njit(cache=True, nogil=True)
def _columns_times(columns, ends, counts, values, num_features):  # type: ignore[no-untyped-def]
    num_classes, start = values.shape[1], 0
    result = np.zeros((num_features, num_classes), np.float64)
    for row in range(len(ends)):
        for place in range(start, ends[row]):
            column, count = columns[place], counts[place]
            for one in range(num_classes):
                result[column, one] += count * values[row, one]
        start = ends[row]
    return result

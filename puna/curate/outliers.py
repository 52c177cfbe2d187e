"""Documents of unusual words (Llama 3, 3.1.1): those whose distribution of words is far from the corpus's.

KL(document || corpus) = sum_b p_b log(p_b / q_b) in nats a word: p the shares of a document's words, q those of all
other documents of its language, smoothed. A short text is far from any corpus by its shortness alone: n words taken at
random from the corpus show KL(n) > 0. So the `excess` KL - E[KL(n)] is what counts. A median over documents of a like
length, instead of E[KL(n)], is at the mercy of a length at which most are junk (docs/log.md).

The paper published no threshold; docs/curate.md has what was measured. Words are counted in B = 2^18 buckets of their
hash: 2 MB a language whatever the corpus, integers that sum to the same in any order.

b bucket, B buckets, D distinct buckets of one document, R rows of a part.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.words import Hashes, Words

Counts = NDArray[np.int64]

COUNTS_FILE = "word-counts.parquet"
"""The corpus's counts in the artifact, for `--why` and `--sweep`."""

_BITS = 18
_ALPHA = 0.1
"""Added to every bucket's count. 0.02 to 0.5 judge alike; the less, the further are words that nobody else uses."""
_LARGE = 30.0
"""Where a bucket is drawn more often than this, the mean of its part is taken from a series, right to 1%."""
_LENGTHS = 2.0 ** np.arange(24)
"""Numbers of words at which E[KL(n)] is computed; between them it is linear in log n, to 0.01 nats."""


class Outliers(Config):
    """A document goes if the excess of its KL divergence is above `max_kl` nats a word; 0 judges nobody.

    A language with fewer than `min_corpus_words` words in all is not judged: there, any topic is unusual.
    """

    max_kl: float = Field(default=0.0, ge=0)
    min_corpus_words: int = Field(default=100_000, ge=1)


def pack(words: Words) -> bytes:
    """The words of a text by bucket: uint32 [2, D], the buckets in order and the count of each. No symbols."""
    buckets, counts = np.unique(_buckets(words.word_hashes), return_counts=True)
    return np.stack([buckets, counts]).astype(np.uint32).tobytes()


def count(part: Path, alive: NDArray[np.bool_]) -> "Corpus":
    """The words of those rows of a part (column `word_counts`) that are `alive`, [R]."""
    corpus = Corpus()
    for language, packed, is_alive in zip(*_read(part), alive.tolist(), strict=True):
        if is_alive:
            corpus.add(language, packed)
    return corpus


def score(part: Path, alive: NDArray[np.bool_], corpus: "Corpus", settings: Outliers) -> NDArray[np.float64]:
    """The excess of each row, [R]; 0 for those that are not `alive` or not judged."""
    scores = np.zeros(len(alive))
    for row, (language, packed) in enumerate(zip(*_read(part), strict=True)):
        if alive[row] and corpus.judges(language, settings):
            scores[row] = corpus.excess(language, packed)
    return scores


def is_counted(rule: str) -> bool:
    """Whether the words of a document with this fate ("" is kept) are among the corpus's."""
    return not rule or rule.startswith(("outliers:", "lines:"))


class Corpus:
    """Word counts by language and bucket: Counts [B] each."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = defaultdict(lambda: np.zeros(1 << _BITS, np.int64))
        self._expected: dict[str, NDArray[np.float64]] = {}

    def add(self, language: str, packed: bytes) -> None:
        """Count the words of one text."""
        buckets, counts = _unpack(packed)
        self._counts[language][buckets] += counts
        self._expected.pop(language, None)

    def merge(self, other: "Corpus") -> None:
        """Count what another has counted."""
        for language, counts in other._counts.items():
            self._counts[language] += counts
            self._expected.pop(language, None)

    def judges(self, language: str, settings: Outliers) -> bool:
        """Whether there is enough text of the language."""
        return language in self._counts and int(self._counts[language].sum()) >= settings.min_corpus_words

    def excess(self, language: str, packed: bytes, is_counted: bool = True) -> float:
        """KL(document || rest of the corpus) above what as many words of the corpus would show, nats a word.

        is_counted: whether the text is among those counted; its words are taken off then, as its own witness it would
        never be unusual in a small corpus.
        """
        buckets, counts = _unpack(packed)
        if not len(buckets):
            return 0.0
        terms = self._terms(language, buckets, counts, is_counted)
        curve = self._expected.get(language)
        if curve is None:
            curve = self._expected[language] = expected_divergence(self._counts[language])
        return float(terms.sum() - np.interp(np.log(counts.sum()), np.log(_LENGTHS), curve))

    def check(self, language: str, text: str, settings: Outliers, is_counted: bool) -> Check | None:
        """The check of a text; None if its language is not judged."""
        if not settings.max_kl or not self.judges(language, settings):
            return None
        value = self.excess(language, pack(Words(text)), is_counted)
        return Check("unusual words", "max_kl", value, most=settings.max_kl)

    def unusual(self, language: str, text: str, is_counted: bool, most: int = 8) -> list[tuple[str, int, float]]:
        """The words with the largest part in the divergence: word, times in the text, nats."""
        words = Words(text)
        places = _buckets(words.word_hashes)
        buckets, first, counts = np.unique(places, return_index=True, return_counts=True)
        if not len(buckets) or language not in self._counts:
            return []
        terms = self._terms(language, buckets, counts, is_counted)
        starts, lengths = words.starts[words.is_word][first], words.lengths[words.is_word][first]
        order = np.lexsort((buckets, -terms))[:most]
        return [
            (text[starts[i] : starts[i] + lengths[i]], int(counts[i]), float(terms[i])) for i in order if terms[i] > 0
        ]

    def save(self, path: Path) -> None:
        """Write language, bucket and count of what was seen, in order."""
        names = sorted(self._counts)
        seen = [np.flatnonzero(self._counts[name]) for name in names]
        columns = {
            "lang": pa.array([name for name, buckets in zip(names, seen, strict=True) for _ in buckets], pa.string()),
            "bucket": pa.array(np.concatenate([np.zeros(0, np.int64), *seen]), pa.int32()),
            "count": pa.array(
                np.concatenate([np.zeros(0, np.int64), *(self._counts[n][b] for n, b in zip(names, seen, strict=True))])
            ),
        }
        pq.write_table(pa.table(columns), path, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "Corpus":
        """What `save` wrote."""
        corpus, table = cls(), pq.ParquetFile(path).read()
        languages = np.array(table["lang"].to_pylist(), object)
        buckets, counts = table["bucket"].to_numpy(), table["count"].to_numpy()
        for name in sorted(set(languages.tolist())):
            corpus._counts[name][buckets[languages == name]] = counts[languages == name]
        return corpus

    def _terms(self, language: str, buckets: Counts, counts: Counts, is_counted: bool) -> NDArray[np.float64]:
        """p_b log(p_b / q_b), [D]."""
        everything = self._counts[language]
        own = counts if is_counted else np.zeros_like(counts)
        others = everything[buckets] - own + _ALPHA
        shares = counts / counts.sum()
        return shares * np.log(shares / others * (everything.sum() - own.sum() + _ALPHA * len(everything)))


def expected_divergence(counts: Counts) -> NDArray[np.float64]:
    """E[KL] of n words taken at random from those of `counts` [B] against the rest, for each n of `_LENGTHS` to half of
    all; for the longer ones that of the last.

    Of a bucket's C words X ~ Binomial(C, n / N) are taken, and add X / n log(X / n / q), q of C - X.
    """
    values, times = np.unique(counts[counts > 0], return_counts=True)
    total, smoothing = int(counts.sum()), _ALPHA * len(counts)
    lengths = _LENGTHS[: max(1, int(np.searchsorted(_LENGTHS, total / 2, side="right")))]
    curve = [float((times * _mean_term(values.astype(float), n / total, n, smoothing)).sum()) for n in lengths]
    return np.array(curve + [curve[-1]] * (len(_LENGTHS) - len(curve)))


def _mean_term(values: NDArray[np.float64], share: float, length: float, smoothing: float) -> NDArray[np.float64]:
    """E[X / n log(X / n / q)] for each of the counts `values`, X ~ Binomial(value, share)."""
    terms, means = np.zeros(len(values)), share * values
    rest = length / share - length + smoothing
    rare = means < _LARGE
    left, chance = values[rare], (1 - share) ** values[rare]
    for taken in range(1, int(4 * _LARGE)):
        chance = chance * np.maximum(left - taken + 1, 0) / taken * share / (1 - share)
        terms[rare] += chance * taken * np.log(taken / length * rest / (np.maximum(left - taken, 0) + _ALPHA))
    x, r = means[~rare], (values - means)[~rare] + _ALPHA
    bend = 1 / x + 2 / r + x / r**2  # second derivative of x log(x / r(x)); the variance is x (1 - share)
    terms[~rare] = x * np.log(x / length * rest / r) + x * (1 - share) * bend / 2
    return terms / length


def _buckets(hashes: Hashes) -> Counts:
    return (hashes >> np.uint64(64 - _BITS)).astype(np.int64)


def _unpack(packed: bytes) -> tuple[Counts, Counts]:
    buckets, counts = np.frombuffer(packed, np.uint32).reshape(2, len(packed) // 8).astype(np.int64)
    return buckets, counts


def _read(part: Path) -> tuple[list[str], list[bytes]]:
    table = pq.ParquetFile(part).read(columns=["lang", "word_counts"])
    return table["lang"].to_pylist(), table["word_counts"].to_pylist()

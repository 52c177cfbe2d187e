"""Texts as unit vectors for semantic deduplication: of hashed words here, or from a file that any model wrote.

An embedder is a callable, `embed(texts) -> float32 [N, D]`, whose row depends on its own text alone. The stage `embed`
(engine/embed.py) writes a file of the mean-pooled states of one of our models; any other may write one too:
a folder with `embeddings.npy`, [N, D], and `ids.txt`, the id of each row on a line of its own.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.base.errors import DataError
from puna.curate.dedup.clusters import Floats, unit
from puna.curate.tokens import mix
from puna.curate.words import Hashes, Words, ngram_hashes

VECTORS_FILE, IDS_FILE = "embeddings.npy", "ids.txt"

_BITS = 18


class Embedder(Protocol):
    """Texts -> float32 [N, D]."""

    def __call__(self, texts: Sequence[str]) -> Floats: ...


class HashedEmbedder:
    """TF-IDF of word n-grams under a random projection to `dim` signs (Achlioptas 2003), unit length.

    A cosine c is kept to within about (1 - c^2) / sqrt(dim): at 0.95 with 256 to 0.006. No matrix is stored: the signs
    of an n-gram are the bits of its hash. Weights are (1 + log count) (1 + log((1 + N) / (1 + df))).
    """

    def __init__(self, dim: int, ngrams: int = 1):
        if dim % 64:
            raise ValueError(f"expected a multiple of 64, came dim {dim}")
        self.dim, self.ngrams = dim, ngrams
        self._num_texts = 0
        self._holders = np.zeros(1 << _BITS, np.int64)

    def count(self, texts: Iterable[str]) -> None:
        """Count in how many texts each n-gram stands; to be done for all before the first is embedded."""
        for text in texts:
            self._holders[np.unique(self._features(text)) >> np.uint64(64 - _BITS)] += 1
            self._num_texts += 1

    def __call__(self, texts: Sequence[str]) -> Floats:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            features, counts = np.unique(self._features(text), return_counts=True)
            holders = self._holders[features >> np.uint64(64 - _BITS)]
            weights = (1 + np.log(counts)) * (1 + np.log((1 + self._num_texts) / (1 + holders)))
            _project(features, weights, vectors[row])
        return unit(vectors)

    def _features(self, text: str) -> Hashes:
        """Hashes of the words and of each run of up to `ngrams` of them, with repetition."""
        words = Words(text).word_hashes
        runs = [words, *(ngram_hashes(words, n) for n in range(2, self.ngrams + 1))]
        return np.concatenate(runs)


def read_embeddings(folder: Path, ids: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
    """The vectors in `folder` (a memory map) and the row of each of `ids`.

    Raises DataError if the files are missing, do not fit each other, or lack an id.
    """
    paths = [folder / name for name in (VECTORS_FILE, IDS_FILE)]
    for path in paths:
        if not path.is_file():
            raise DataError(f"embeddings: expected {VECTORS_FILE} and {IDS_FILE} in {folder}, found no {path.name}")
    try:
        vectors = np.load(paths[0], mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{paths[0]}: expected a NumPy array of numbers, came {error}") from None
    listed = paths[1].read_text(encoding="utf-8").splitlines()
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(listed):
        raise DataError(
            f"{folder}: expected floats [{len(listed)}, D], a row for each line of {IDS_FILE}, "
            f"came {vectors.dtype} {list(vectors.shape)}"
        )
    places = {identifier: row for row, identifier in enumerate(listed)}
    missing = [identifier for identifier in ids if identifier not in places]
    if missing:
        raise DataError(
            f"{folder}: expected a vector for every document, {len(missing)} of {len(ids)} have none, the first "
            f"{missing[0]!r}; embed these documents"
        )
    return vectors, np.array([places[identifier] for identifier in ids], np.int64)


@njit(cache=True, nogil=True)
def _project(features, weights, vector):  # type: ignore[no-untyped-def]
    """Add each feature's weight with the signs of its bits to `vector`, [D]."""
    for number in range(len(features)):
        weight = np.float32(weights[number])
        for word in range(len(vector) // 64):
            bits = mix(features[number] + np.uint64(word) * np.uint64(0xD1B54A32D192ED03))
            for bit in range(64):
                sign = np.float32(np.int64((bits >> np.uint64(bit)) & np.uint64(1)) * 2 - 1)
                vector[word * 64 + bit] += sign * weight

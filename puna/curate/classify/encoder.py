"""A head on an encoder that stays as it is: vectors of documents -> quality, domain, toxicity (FineWeb-Edu, section 4).

Whatever turns texts into vectors is the encoder: the stage `embed` takes the mean state of one of our models, and any
folder of its form will do (dedup/embeddings.py). The head is a softmax regression on the standardised vectors.

N documents, D numbers of a vector, H classes of all heads together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.base.errors import DataError
from puna.curate.classify.heads import Heads, read_model, write_model
from puna.curate.classify.regression import Dense, Floats, fit
from puna.curate.dedup.embeddings import IDS_FILE, read_embeddings

ENCODER_FILE = "encoder.npz"


class Encoder(Config):
    """l2: penalties of large weights to try, as of the linear classifier; steps: of L-BFGS, at most."""

    l2: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(1e-1, 1e-2, 1e-3, 1e-4), min_length=1)
    steps: int = Field(default=200, ge=1)


class Vectors:
    """The vectors in folders of embeddings, by the id of the document; nothing is read before it is asked for."""

    def __init__(self, folders: Sequence[Path]):
        self._stores, self._places = [], dict[str, tuple[int, int]]()
        for number, folder in enumerate(folders):
            self._stores.append(read_embeddings(folder, [])[0])
            ids = (folder / IDS_FILE).read_text(encoding="utf-8").splitlines()
            self._places |= {id_: (number, row) for row, id_ in enumerate(ids)}
        if len(widths := {store.shape[1] for store in self._stores}) > 1:
            raise DataError(f"embeddings: expected vectors of one length, came {sorted(widths)}; embed with one model")

    def __contains__(self, id_: str) -> bool:
        return id_ in self._places

    def of(self, ids: Sequence[str]) -> Floats:
        """The vectors of `ids`, [N, D]. Raises DataError for a document that has none."""
        if missing := [id_ for id_ in ids if id_ not in self._places]:
            raise DataError(
                f"embeddings: expected a vector of every document, came none of {len(missing)} ({missing[0]} first)"
            )
        places = [self._places[id_] for id_ in ids]
        width = self._stores[0].shape[1] if self._stores else 0
        return np.array([self._stores[store][row] for store, row in places], np.float64).reshape(len(ids), width)


class EncoderClassifier(Heads):
    """weights [D, H] and biases [H] over vectors less their `mean`, by their `scale`, [D] each."""

    def __init__(
        self,
        heads: Mapping[str, Sequence[str]],
        weights: Floats,
        biases: Floats,
        mean: Floats,
        scale: Floats,
        temperatures: Mapping[str, float] | None = None,
    ):
        super().__init__(heads, temperatures)
        self.weights, self.biases, self.mean, self.scale = weights, biases, mean, scale

    @classmethod
    def train(
        cls, vectors: Floats, targets: NDArray[np.int64], heads: Mapping[str, Sequence[str]], l2: float, steps: int
    ) -> "EncoderClassifier":
        """From vectors [N, D] and the number of each one's class in each head [N, heads], -1 where it has no label."""
        mean, scale = vectors.mean(0), vectors.std(0)
        scale[scale == 0] = 1.0  # a number that never varies says nothing
        sizes = [len(classes) for classes in heads.values()]
        weights, biases = fit(Dense((vectors - mean) / scale), targets, sizes, l2, steps)
        return cls(heads, weights, biases, mean, scale)

    def logits(self, vectors: Floats) -> dict[str, Floats]:
        """Logits of each head's classes, [N, K], not yet divided by the temperatures."""
        return self.by_head((vectors - self.mean) / self.scale @ self.weights + self.biases)

    def shares(self, vectors: Floats) -> dict[str, Floats]:
        """Calibrated probabilities of each head's classes, [N, K]."""
        return self.calibrated(self.logits(vectors))

    def save(self, path: Path) -> None:
        """Write the model."""
        write_model(path, self, weights=self.weights, biases=self.biases, mean=self.mean, scale=self.scale)

    @classmethod
    def load(cls, path: Path) -> "EncoderClassifier":
        """Read a model that `save` wrote. Raises ArtifactError if it is none."""
        heads, temperatures, parts = read_model(path, ("weights", "biases", "mean", "scale"))
        return cls(heads, parts["weights"], parts["biases"], parts["mean"], parts["scale"], temperatures)

"""A trained classifier, whatever is inside, and what it says of documents. N documents, K classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from puna.base.errors import DataError
from puna.base.records import Document
from puna.curate.classify.encoder import ENCODER_FILE, EncoderClassifier, Vectors
from puna.curate.classify.labels import YES
from puna.curate.classify.linear import MODEL_FILE, LinearClassifier
from puna.curate.classify.regression import Floats

QUALITY, DOMAIN, TOXIC = "quality", "domain", "toxic"


@dataclass(frozen=True)
class Scores:
    """Of each document: expected quality (0 to 5), likeliest domain and its probability, probability to be toxic.

    None where the classifier has no such head.
    """

    quality: list[float] | None
    domain: list[str] | None
    domain_share: list[float] | None
    toxicity: list[float] | None

    def columns(self) -> dict[str, list[float] | list[str]]:
        """The label columns of a documents artifact."""
        named = {
            "quality": self.quality,
            "domain": self.domain,
            "domain_share": self.domain_share,
            "toxicity": self.toxicity,
        }
        return {name: values for name, values in named.items() if values is not None}


Classifier = LinearClassifier | EncoderClassifier


def score(classifier: Classifier, documents: Sequence[Document], vectors: Vectors | None = None) -> Scores:
    """What `classifier` says of documents, from their texts or, a head on an encoder, from their vectors."""
    if isinstance(classifier, LinearClassifier):
        return read_scores(classifier.shares([document.text for document in documents]), classifier.heads)
    if vectors is None:
        raise DataError("expected the input `embeddings` for a classifier on an encoder, came none; add an embed stage")
    return read_scores(classifier.shares(vectors.of([document.id for document in documents])), classifier.heads)


def read_scores(shares: Mapping[str, Floats], heads: Mapping[str, Sequence[str]]) -> Scores:
    """Scores from the probabilities of each head's classes [N, K]."""
    quality = domain = domain_share = toxicity = None
    if QUALITY in heads:
        quality = expected_quality(shares[QUALITY], heads[QUALITY]).tolist()
    if DOMAIN in heads:
        domain = [heads[DOMAIN][place] for place in shares[DOMAIN].argmax(1).tolist()]
        domain_share = shares[DOMAIN].max(1).tolist()
    if TOXIC in heads:
        toxicity = shares[TOXIC][:, list(heads[TOXIC]).index(YES)].tolist()
    return Scores(quality, domain, domain_share, toxicity)


def expected_quality(shares: Floats, classes: Sequence[str]) -> Floats:
    """The mean of the scores by their probabilities, [N]: finer than the likeliest score, and never off the scale."""
    result: Floats = shares @ np.array([float(value) for value in classes])
    return result


def load_classifier(path: Path) -> Classifier:
    """That of a `classify` stage, or its file. Raises ArtifactError if it is none."""
    if path.is_dir():
        path /= ENCODER_FILE if (path / ENCODER_FILE).exists() else MODEL_FILE
    return EncoderClassifier.load(path) if path.name == ENCODER_FILE else LinearClassifier.load(path)

"""The stage `classify`: labels and their documents -> a classifier, calibrated, and measured on labels held out.

Documents fall by a hash of their id into three parts: most train the weights, some set the temperatures of the
probabilities, some are only ever measured on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.files import write_json
from puna.base.output import Inputs, StageOutput
from puna.base.rng import hash64
from puna.curate.classify.encoder import ENCODER_FILE, Encoder, EncoderClassifier, Vectors
from puna.curate.classify.label import every_document
from puna.curate.classify.labels import Label, class_of, read_labels
from puna.curate.classify.linear import MODEL_FILE, HashedTexts, Linear, LinearClassifier
from puna.curate.classify.regression import UNLABELLED, Floats, fit_temperature, log_softmax
from puna.curate.classify.report import Measured, measure_all, show
from puna.curate.classify.rubric import Verdict
from puna.curate.classify.scores import Classifier, load_classifier

PARTS = ("train", "calibrate", "test")


class ClassifyConfig(Config):
    """calibrate, test: the shares of documents that set temperatures and that are measured on.

    threshold: the quality from which on a document counts as good in the report (FineWeb-Edu: 3). min_class: a domain
    with fewer labels to train on is not told apart.
    """

    linear: Linear = Linear()
    encoder: Encoder = Encoder()
    calibrate: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)
    threshold: int = Field(default=3, ge=1, le=5)
    min_class: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _leaves_some(self) -> "ClassifyConfig":
        if self.calibrate + self.test >= 1:
            raise ValueError("calibrate + test below 1")
        return self


def run(config: ClassifyConfig, inputs: Inputs, out: StageOutput) -> None:
    """Train on `labels` (label stages or files) and their `documents` (curate stages); later labels of a document win.

    With `embeddings` (embed stages) the classifier is a head on these, and learns from the labels that have a vector.
    Raises DataError if a label's document is nowhere, or if there is nothing to tell apart.
    """
    labels, texts = _labelled(inputs)
    if inputs.has("embeddings"):
        vectors = Vectors(inputs.many("embeddings"))
        out.metric(without_vector=sum(label.id not in vectors for label in labels))
        labels = [label for label in labels if label.id in vectors]
    if not labels:
        _learn_nothing(out)
        return
    parts = {name: [label for label in labels if _part(label.id, config, out.seed) == name] for name in PARTS}
    if not all(parts.values()):
        raise DataError(f"expected labels to train, calibrate and test with, came {len(labels)} in all; label more")
    heads = _heads(parts["train"], config.min_class)
    if not heads:
        raise DataError("expected labels with at least two values of quality, domain or toxic, came none; label more")
    learner = _learner(inputs, config, texts)
    if not out.done(learner.file):
        with out.unit(learner.file) as unit:
            _train(parts, heads, learner).save(unit.path)
    classifier, test = load_classifier(out.path), parts["test"]
    logits = classifier.logits(learner.items(test))
    measured = measure_all(classifier, test, logits, config.threshold)
    if not out.done("report.json"):
        with out.unit("report.json") as unit:
            write_json(unit.path, _summary(parts, measured))
    show(measured, {name: len(members) for name, members in parts.items()}, texts, out)


def _learn_nothing(out: StageOutput) -> None:
    """A classifier without a question, for a label stage that could label nothing and did not have to."""
    if not out.done(MODEL_FILE):
        with out.unit(MODEL_FILE) as unit:
            LinearClassifier({}, np.zeros((1, 0), np.float32), np.zeros(0, np.float32), 1).save(unit.path)
    out.metric(train_labels=0)
    out.panel(
        "text", "The classifier", text="There are no labels: it tells nothing, and no document is filtered by it."
    )


def targets(labels: Sequence[Label], heads: Mapping[str, Sequence[str]]) -> NDArray[np.int64]:
    """The number of each label's class in each head, [N, heads]; -1 for what was not said or is no class."""
    rows = [[_place(classes, class_of(label.said, name)) for name, classes in heads.items()] for label in labels]
    return np.array(rows, np.int64).reshape(len(labels), len(heads))


def _place(classes: Sequence[str], value: str | None) -> int:
    return classes.index(value) if value in classes else UNLABELLED


@dataclass(frozen=True)
class _Learner:
    """What differs between classifiers: the model's file, what it sees of documents, how it learns at a penalty."""

    file: str
    items: Callable[[Sequence[Label]], Any]
    train: Callable[[Sequence[Label], Mapping[str, Sequence[str]]], Callable[[float], Classifier]]
    l2: Sequence[float]


def _learner(inputs: Inputs, config: ClassifyConfig, texts: Mapping[str, str]) -> _Learner:
    """A head on an encoder where there are `embeddings`, else the linear classifier of n-grams."""
    if inputs.has("embeddings"):
        vectors, encoder = Vectors(inputs.many("embeddings")), config.encoder

        def of(labels: Sequence[Label]) -> Floats:
            return vectors.of([label.id for label in labels])

        def on_vectors(labels: Sequence[Label], heads: Mapping[str, Sequence[str]]) -> Callable[[float], Classifier]:
            seen, wanted = of(labels), targets(labels, heads)
            return lambda l2: EncoderClassifier.train(seen, wanted, heads, l2, encoder.steps)

        return _Learner(ENCODER_FILE, of, on_vectors, encoder.l2)
    linear = config.linear

    def read(labels: Sequence[Label]) -> list[str]:
        return [texts[label.id] for label in labels]

    def on_texts(labels: Sequence[Label], heads: Mapping[str, Sequence[str]]) -> Callable[[float], Classifier]:
        seen, wanted = HashedTexts(read(labels), linear.ngram, 1 << linear.buckets), targets(labels, heads)
        return lambda l2: LinearClassifier.train(seen, wanted, heads, l2, linear.steps)

    return _Learner(MODEL_FILE, read, on_texts, linear.l2)


def _train(parts: Mapping[str, list[Label]], heads: dict[str, list[str]], learner: _Learner) -> Classifier:
    """The classifier of that penalty under which the labels for calibration are likeliest, with its temperatures."""
    train, calibrate = learner.train(parts["train"], heads), parts["calibrate"]
    best: tuple[float, Classifier] | None = None
    for l2 in learner.l2:
        classifier = train(l2)
        logits = classifier.logits(learner.items(calibrate))
        loss = _calibrate(classifier.temperatures, logits, targets(calibrate, heads))
        if best is None or loss < best[0]:
            best = loss, classifier
    assert best is not None
    return best[1]


def _calibrate(temperatures: dict[str, float], logits: Mapping[str, Floats], wanted: NDArray[np.int64]) -> float:
    """Set the temperature of each head from logits [N, K] and classes [N, heads]; the cross-entropy that is left."""
    loss = 0.0
    for number, name in enumerate(logits):
        rows = np.flatnonzero(wanted[:, number] != UNLABELLED)
        if len(rows):
            part, classes = logits[name][rows], wanted[rows, number]
            temperatures[name] = fit_temperature(part, classes)
            shares = log_softmax(part / temperatures[name])
            loss -= float(shares[np.arange(len(rows)), classes].sum())
    return loss


def _labelled(inputs: Inputs) -> tuple[list[Label], dict[str, str]]:
    """Labels by id and the text of each, from the labels' own file or from `documents`."""
    labels = {label.id: label for path in inputs.many("labels") for label in read_labels(path, True)}
    texts = {label.id: label.text for label in labels.values() if label.text}
    if inputs.has("documents"):
        for folder in inputs.many("documents"):
            texts |= {one.id: one.text for one in every_document(folder) if one.id in labels and one.id not in texts}
    if missing := sorted(labels.keys() - texts.keys()):
        raise DataError(
            f"expected the documents of {len(labels)} labels in the input `documents`, came none for "
            f"{len(missing)} of them ({missing[0]} first); give the curate stage that was labelled"
        )
    return [labels[id_] for id_ in sorted(labels)], texts


def _part(id_: str, config: ClassifyConfig, seed: int) -> str:
    place = hash64(seed, "classify", id_) / 2**64
    return "test" if place < config.test else "calibrate" if place < config.test + config.calibrate else "train"


def _heads(labels: Sequence[Label], min_class: int) -> dict[str, list[str]]:
    """The questions that can be learned, with the classes that occur; a domain must occur often enough."""
    heads = {}
    for name in Verdict._fields:
        said = [value for label in labels if (value := class_of(label.said, name)) is not None]
        least = min_class if name == "domain" else 1
        classes = sorted(value for value in set(said) if said.count(value) >= least)
        if len(classes) > 1:
            heads[name] = classes
    return heads


def _summary(parts: Mapping[str, list[Label]], measured: Sequence[Measured]) -> dict[str, Any]:
    return {
        "labels": {name: len(members) for name, members in parts.items()},
        "heads": {one.head: one.summary() for one in measured},
    }

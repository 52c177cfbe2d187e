"""A head on vectors: against scipy's optimum, through the stages, and as text classifiers are."""

from pathlib import Path

import numpy as np
import pytest
import scipy.optimize

from puna.base.errors import ArtifactError, DataError
from puna.base.records import Document, read_documents
from puna.curate.classify import filter as filter_stage
from puna.curate.classify import train
from puna.curate.classify.encoder import EncoderClassifier, Vectors
from puna.curate.classify.filter import FilterConfig
from puna.curate.classify.labels import Label, write_labels
from puna.curate.classify.rubric import Verdict
from puna.curate.classify.train import ClassifyConfig
from tests.curate.classify.artifacts import KINDS, make_documents, run_stage, write_artifact

DOCUMENTS = make_documents(160)


def _vector(document: Document) -> np.ndarray:
    """Six numbers: the kind's place on a circle among noise, one that never varies, one a thousand times as large."""
    draw = np.random.default_rng(int(document.id[:8], 16))
    angle = 2 * np.pi * list(KINDS).index(document.source) / len(KINDS)
    return np.array([np.cos(angle), np.sin(angle), 0, 0, 0, 0]) * 2 + draw.normal(size=6) * [0.5, 0.5, 0, 1000, 1, 1]


def write_embeddings(folder: Path, documents: list[Document]) -> Path:
    """In the form of the stage `embed`."""
    folder.mkdir()
    np.save(folder / "embeddings.npy", np.array([_vector(one) for one in documents], np.float32))
    (folder / "ids.txt").write_text("".join(f"{one.id}\n" for one in documents))
    return folder


def test_the_head_is_the_regression_that_scipy_finds() -> None:
    vectors = np.array([_vector(one) for one in DOCUMENTS])
    targets = np.array([[int(one.source in ("lesson", "news"))] for one in DOCUMENTS])
    model = EncoderClassifier.train(vectors, targets, {"toxic": ["no", "yes"]}, 0.01, 500)
    spread = vectors.std(0)
    x = (vectors - vectors.mean(0)) / np.where(spread == 0, 1, spread)

    def loss(w: np.ndarray) -> float:
        """Of two classes with opposite weights v and -v the logit is 2 x v: binary logistic regression."""
        z = 2 * (x @ w[:-1] + w[-1]) * np.where(targets[:, 0] == 1, 1, -1)
        return float(np.logaddexp(0, -z).mean() + 0.01 * (w[:-1] ** 2).sum())

    theirs = scipy.optimize.minimize(loss, np.zeros(7), method="BFGS").x
    shares = 1 / (1 + np.exp(-2 * (x @ theirs[:-1] + theirs[-1])))
    assert model.shares(vectors)["toxic"][:, 1] == pytest.approx(shares, abs=0.01)


def test_through_the_stages(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "curate", DOCUMENTS, heldout=6, rejects=8)
    kept = list(read_documents(folder))
    vectors = write_embeddings(tmp_path / "vectors", kept)
    write_labels(tmp_path / "labels.jsonl", [Label(one.id, Verdict(*KINDS[one.source][1:])) for one in DOCUMENTS[6:]])
    inputs = {"labels": tmp_path / "labels.jsonl", "documents": folder, "embeddings": vectors}
    out = run_stage(train, ClassifyConfig(), inputs, tmp_path / "classify")
    assert out.metrics["without_vector"] == 8  # the rejects
    assert min(out.metrics[f"{name}_f1"] for name in Verdict._fields) > 0.9
    again = run_stage(train, ClassifyConfig(), {**inputs, "embeddings": [vectors]}, tmp_path / "again")
    assert (out.path / "encoder.npz").read_bytes() == (again.path / "encoder.npz").read_bytes()

    inputs = {"documents": folder, "classifier": out.path, "embeddings": vectors}
    filtered = run_stage(filter_stage, FilterConfig(min_quality=1.6), inputs, tmp_path / "filter")
    left = [one.source for one in read_documents(filtered.path)]
    assert left.count("lesson") + left.count("news") > 0.95 * len(left)
    assert len(list(read_documents(filtered.path / "heldout"))) == 6

    with pytest.raises(DataError, match="expected the input `embeddings`"):
        run_stage(filter_stage, FilterConfig(), {"documents": folder, "classifier": out.path}, tmp_path / "without")
    fewer = write_embeddings(tmp_path / "fewer", kept[1:])
    with pytest.raises(DataError, match=f"came none of 1 \\({kept[0].id} first"):
        run_stage(filter_stage, FilterConfig(), {**inputs, "embeddings": fewer}, tmp_path / "fewer-out")


def test_vectors_of_several_folders(tmp_path: Path) -> None:
    folders = [write_embeddings(tmp_path / str(n), DOCUMENTS[n * 10 : n * 10 + 10]) for n in range(3)]
    vectors = Vectors(folders)
    chosen = [DOCUMENTS[place] for place in (25, 3, 14)]
    assert vectors.of([one.id for one in chosen]) == pytest.approx(np.array([_vector(one) for one in chosen]), rel=1e-6)
    assert DOCUMENTS[29].id in vectors
    assert DOCUMENTS[30].id not in vectors
    np.save(tmp_path / "1" / "embeddings.npy", np.zeros((10, 5), np.float32))
    with pytest.raises(DataError, match=r"expected vectors of one length, came \[5, 6\]"):
        Vectors(folders)


def test_from_a_file_it_says_the_same(tmp_path: Path) -> None:
    vectors = np.array([_vector(one) for one in DOCUMENTS])
    targets = np.array([[list(KINDS).index(one.source)] for one in DOCUMENTS])
    model = EncoderClassifier.train(vectors, targets, {"domain": list(KINDS)}, 0.01, 100)
    model.temperatures["domain"] = 0.5
    model.save(tmp_path / "encoder.npz")
    loaded = EncoderClassifier.load(tmp_path / "encoder.npz")
    assert np.array_equal(loaded.shares(vectors)["domain"], model.shares(vectors)["domain"])
    (tmp_path / "encoder.npz").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="expected a classifier"):
        EncoderClassifier.load(tmp_path / "encoder.npz")

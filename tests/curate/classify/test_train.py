"""The stage `classify`: what it learns, from whatever order of labels, and what it says of labels that it never saw."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json
from puna.base.output import StageOutput
from puna.base.records import write_jsonl
from puna.curate.classify import train as stage
from puna.curate.classify.labels import Label, write_labels
from puna.curate.classify.rubric import Verdict
from puna.curate.classify.scores import load_classifier, score
from puna.curate.classify.train import ClassifyConfig
from tests.curate.classify.artifacts import DOMAINS, KINDS, make_documents, run_stage, write_artifact

DOCUMENTS = make_documents(240)


def _true(kind: str) -> Verdict:
    return Verdict(*KINDS[kind][1:])


def _labels(wrong: int = 0) -> list[Label]:
    """True labels, but every `wrong`-th says something else."""
    said = [
        Verdict(2, "everyday", True) if wrong and number % wrong == 0 else _true(one.source)
        for number, one in enumerate(DOCUMENTS)
    ]
    return [Label(one.id, v, "test", true=_true(one.source)) for one, v in zip(DOCUMENTS, said, strict=True)][6:]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("curate"), DOCUMENTS)


def _run(artifact: Path, folder: Path, labels: list[Label], **config: Any) -> StageOutput:
    folder.mkdir(exist_ok=True)
    write_labels(folder / "labels.jsonl", labels)
    settings = validate(ClassifyConfig, {"linear": {"buckets": 14}, **config}, "classify")
    return run_stage(stage, settings, {"labels": folder / "labels.jsonl", "documents": artifact}, folder / "out")


def test_it_tells_documents_that_nobody_labelled(artifact: Path, tmp_path: Path) -> None:
    out = _run(artifact, tmp_path, _labels())
    assert [out.metrics[f"{name}_f1"] for name in Verdict._fields] == [1.0] * 3
    classifier = load_classifier(tmp_path / "out/files")
    unseen = make_documents(60, seed=5)
    scores = score(classifier, unseen)
    assert scores.domain == [_true(one.source).domain for one in unseen]
    quality = np.array([float(_true(one.source).quality or 0) for one in unseen])
    assert np.abs(np.array(scores.quality) - quality).max() < 0.9
    assert [toxicity > 0.5 for toxicity in scores.toxicity or ()] == [_true(one.source).toxic for one in unseen]
    assert all(len(values) == 60 for values in scores.columns().values())


def test_wrong_labels_are_outvoted_and_their_number_is_told(artifact: Path, tmp_path: Path) -> None:
    _run(artifact, tmp_path, _labels(wrong=7))
    heads = read_json(tmp_path / "out/files/report.json")["heads"]
    for head in Verdict._fields:
        assert heads[head]["macro_f1_of_labels"] < 0.95
        assert heads[head]["macro_f1_against_truth"] == 1.0


def test_the_parts_are_apart_and_of_the_sizes_asked_for(artifact: Path, tmp_path: Path) -> None:
    out = _run(artifact, tmp_path, _labels(), calibrate=0.3, test=0.3)
    sizes = [out.metrics[f"{name}_labels"] for name in ("train", "calibrate", "test")]
    assert sum(sizes) == 234
    assert sizes == [pytest.approx(share * 234, abs=25) for share in (0.4, 0.3, 0.3)]


def test_labels_of_the_test_part_teach_nothing(artifact: Path, tmp_path: Path) -> None:
    """Turning their labels around changes what is measured, not what is learned."""
    labels = _labels()
    _run(artifact, tmp_path / "a", labels)
    config = ClassifyConfig.model_validate({})
    turned = [
        Label(one.id, Verdict(1, "law", not one.said.toxic)) if stage._part(one.id, config, 3) == "test" else one
        for one in labels
    ]
    out = _run(artifact, tmp_path / "b", turned)
    models = [(tmp_path / name / "out/files/linear.npz").read_bytes() for name in "ab"]
    assert models[0] == models[1]
    assert out.metrics["toxic_f1"] == 0


def test_no_order_of_labels_or_documents_changes_a_byte(artifact: Path, tmp_path: Path) -> None:
    labels = _labels()
    _run(artifact, tmp_path / "a", labels)
    rows = [label.row() for label in reversed(labels)]
    for name, part in (("one.jsonl", rows[:100]), ("two.jsonl", rows[100:])):
        write_jsonl(tmp_path / name, part)
    other = write_artifact(tmp_path / "curate", list(reversed(DOCUMENTS)), heldout=0, rejects=0)
    settings = validate(ClassifyConfig, {"linear": {"buckets": 14}}, "classify")
    inputs = {"labels": [tmp_path / "two.jsonl", tmp_path / "one.jsonl"], "documents": other}
    run_stage(stage, settings, inputs, tmp_path / "b")
    files = [tmp_path / "a/out/files", tmp_path / "b/files"]
    for name in ("linear.npz", "report.json"):
        assert (files[0] / name).read_bytes() == (files[1] / name).read_bytes()


def test_texts_may_come_with_their_labels(tmp_path: Path) -> None:
    rows = [{"text": one.text, "toxic": _true(one.source).toxic} for one in DOCUMENTS]
    write_jsonl(tmp_path / "mine.jsonl", rows)
    out = run_stage(stage, ClassifyConfig(), {"labels": tmp_path / "mine.jsonl"}, tmp_path / "out")
    assert out.metrics["toxic_f1"] == 1.0
    assert load_classifier(tmp_path / "out/files").heads == {"toxic": ("no", "yes")}


def test_a_question_that_was_not_answered_is_no_head(artifact: Path, tmp_path: Path) -> None:
    labels = [Label(one.id, Verdict(one.said.quality, None, False)) for one in _labels()]
    _run(artifact, tmp_path, labels)
    assert list(load_classifier(tmp_path / "out/files").heads) == ["quality"]


def test_a_domain_with_too_few_labels_is_not_told_apart(artifact: Path, tmp_path: Path) -> None:
    labels = _labels()
    labels[:3] = [Label(one.id, Verdict(one.said.quality, "sports", one.said.toxic)) for one in labels[:3]]
    _run(artifact, tmp_path, labels)
    assert load_classifier(tmp_path / "out/files").heads["domain"] == tuple(sorted(DOMAINS))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([Label("nowhere", Verdict(3))], "came none for 1 of them"),
        (_labels()[:2], "expected labels to train, calibrate and test with"),
        ([Label(one.id, Verdict(3, "law", False)) for one in _labels()], "at least two values"),
    ],
)
def test_what_cannot_be_learned_is_refused(artifact: Path, tmp_path: Path, labels: list[Label], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _run(artifact, tmp_path, labels)


def test_parts_must_leave_something_to_learn_from() -> None:
    with pytest.raises(ConfigError, match="expected calibrate \\+ test below 1"):
        validate(ClassifyConfig, {"calibrate": 0.5, "test": 0.5}, "classify")


def test_a_panel_shows_each_finding(artifact: Path, tmp_path: Path) -> None:
    from puna.lineage.report.panels import render_panel

    out = _run(artifact, tmp_path, _labels(wrong=7))
    titles = [panel["title"] for panel in out.panels]
    assert titles[:3] == ["The classifier on labels held out", "Class by class", "Calibration"]
    assert titles[-1] == "Surest against the label"
    assert all("could not be drawn" not in str(render_panel(panel, None)) for panel in out.panels)
    surest = [row[4] for row in out.panels[-1]["rows"]]
    assert surest == sorted(surest, reverse=True)
    assert all(row[2] == row[3] != row[1] for row in out.panels[-1]["rows"])

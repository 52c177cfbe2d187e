"""The stage `label`: which documents, by which labeller, and what the report says of it."""

from pathlib import Path
from typing import Any

import pytest

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError
from puna.base.output import StageOutput
from puna.base.records import write_jsonl
from puna.curate.classify import label as stage
from puna.curate.classify.label import LabelConfig
from puna.curate.classify.labels import Label, read_labels
from puna.curate.classify.rubric import Verdict
from tests.curate.classify.artifacts import (
    DOMAINS,
    KINDS,
    TRUTH_CONFIG,
    make_documents,
    run_stage,
    write_artifact,
    write_truth,
)

DOCUMENTS = make_documents(120)
KIND = {document.id: document.source for document in DOCUMENTS}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curate")
    write_truth(folder / "truth.jsonl", DOCUMENTS)
    return write_artifact(folder, DOCUMENTS)


def _run(artifact: Path, folder: Path, extra: dict[str, Any] | None = None, **config: Any) -> StageOutput:
    inputs = {"documents": artifact, "truth": artifact / "truth.jsonl", **(extra or {})}
    return run_stage(stage, validate(LabelConfig, {"rubric": {"domains": DOMAINS}, **config}, "label"), inputs, folder)


def _labels(folder: Path) -> list[Label]:
    return read_labels(folder / "files")


def test_a_simulated_labeller_without_errors_says_the_truth(artifact: Path, tmp_path: Path) -> None:
    out = _run(artifact, tmp_path, labeller="simulated", simulated={**TRUTH_CONFIG, "error_rate": 0})
    labels = _labels(tmp_path)
    assert len(labels) == 120 - 6 - 8
    for one in labels:
        _, quality, domain, toxic = KINDS[KIND[one.id]]
        assert one.said == one.true == Verdict(quality, domain, toxic)
    assert (out.metrics["quality_error"], out.metrics["toxic_error"]) == (0, 0)


def test_its_errors_are_as_many_as_stated(artifact: Path, tmp_path: Path) -> None:
    config = {"labeller": "simulated", "simulated": {**TRUTH_CONFIG, "error_rate": 0.3}}
    out = _run(artifact, tmp_path / "a", **config)
    rates = [out.metrics[f"{name}_error"] for name in Verdict._fields]
    assert rates == [pytest.approx(0.3, abs=0.12)] * 3  # 106 labels: 2.7 standard errors
    wrong = [[a != b for a, b in zip(one.said, one.true or (), strict=True)] for one in _labels(tmp_path / "a")]
    assert len({tuple(row) for row in wrong}) > 4  # each question errs by itself
    _run(artifact, tmp_path / "b", **config)
    assert _labels(tmp_path / "a") == _labels(tmp_path / "b")
    _run(artifact, tmp_path / "c", **config, name="another")
    assert [one.said for one in _labels(tmp_path / "a")] != [one.said for one in _labels(tmp_path / "c")]
    panel = next(panel for panel in out.panels if "simulated" in panel["title"])
    assert "no person" in panel["note"]


def test_a_smaller_sample_is_part_of_a_larger_one(artifact: Path, tmp_path: Path) -> None:
    chosen = {}
    for name, sample in (
        ("few", {"documents": 20}),
        ("more", {"documents": 50}),
        ("both", {"documents": 20, "rejects": 99}),
    ):
        _run(artifact, tmp_path / name, labeller="source", sources={"*": {"quality": 3}}, sample=sample)
        chosen[name] = {one.id for one in _labels(tmp_path / name)}
    assert len(chosen["few"]) == 20
    assert chosen["few"] < chosen["more"]
    assert chosen["both"] == chosen["few"] | {document.id for document in DOCUMENTS[-8:]}  # no copy, nothing unreadable


def test_another_seed_takes_another_sample(artifact: Path) -> None:
    samples = [{one.id for one in stage.choose(artifact, stage.Sample(documents=40), seed)} for seed in (1, 1, 2)]
    assert samples[0] == samples[1]
    assert 5 < len(samples[0] & samples[2]) < 30  # of 106; 15 by chance


def test_heldout_documents_are_never_labelled(artifact: Path, tmp_path: Path) -> None:
    _run(artifact, tmp_path, labeller="source", sources={"*": {"quality": 3}})
    assert not {one.id for one in _labels(tmp_path)} & {document.id for document in DOCUMENTS[:6]}


def test_labels_by_source(artifact: Path, tmp_path: Path) -> None:
    sources = {"les*": {"quality": 5, "domain": "maths"}, "spam": {"quality": 0}}
    _run(artifact, tmp_path, labeller="source", sources=sources)
    said = {one.id: one.said for one in _labels(tmp_path)}
    assert {KIND[id_] for id_ in said} == {"lesson", "spam"}
    assert {said[id_] for id_ in said if KIND[id_] == "lesson"} == {Verdict(5, "maths", None)}
    assert {said[id_] for id_ in said if KIND[id_] == "spam"} == {Verdict(0, None, None)}


def test_labels_by_words(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("zibble\ngrundo\nso very bad\n")
    _run(artifact, tmp_path / "out", labeller="words", words=[str(tmp_path / "list.txt")], max_words=1)
    texts = {document.id: document.text for document in DOCUMENTS}
    for one in _labels(tmp_path / "out"):
        padded = f" {texts[one.id]} "
        count = sum(padded.count(f" {word} ") for word in ("grundo", "so very bad"))
        count += texts[one.id].split().count("zibble") + padded.count(" grundo grundo ")
        assert one.said == Verdict(toxic=count > 1)


def test_labels_of_a_file_and_their_agreement_with_others(artifact: Path, tmp_path: Path) -> None:
    known = list(DOCUMENTS[6:26])
    rows = [{"id": one.id, "quality": KINDS[one.source][1], "toxic": False} for one in known]
    write_jsonl(tmp_path / "theirs.jsonl", [*rows, {"id": "unknown", "quality": 1}])
    _run(artifact, tmp_path / "beside", labeller="simulated", simulated={**TRUTH_CONFIG, "error_rate": 0})
    extra = {"labels": tmp_path / "theirs.jsonl", "beside": tmp_path / "beside" / "files"}
    out = _run(artifact, tmp_path / "out", extra, labeller="file")
    assert {one.id for one in _labels(tmp_path / "out")} == {document.id for document in known}
    assert out.metrics["quality_kappa"] == 1
    assert out.metrics["toxic_kappa"] == 0  # three quarters the same, and no more than chance gives


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"labeller": "source"}, ConfigError, "sources: expected patterns"),
        ({"labeller": "words"}, ConfigError, "words: expected words"),
        (
            {"labeller": "source", "sources": {"nothing": {"quality": 1}}},
            DataError,
            "expected documents that the labeller",
        ),
        ({"labeller": "simulated", "simulated": {"domains": {"lesson": "cooking"}}}, ConfigError, "came .'cooking'"),
        ({"labeller": "simulated", "simulated": {"quality": {"lesson": 9}}}, ConfigError, "expected 0 to 5, came .9"),
        ({"labeller": "endpoint"}, ConfigError, "expected a base_url"),
    ],
)
def test_what_cannot_be_is_refused(
    artifact: Path, tmp_path: Path, config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _run(artifact, tmp_path, **config)

"""The stage `filter`: an artifact like curate's, with labels, less what is not good enough."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json, write_json
from puna.base.output import StageOutput
from puna.base.records import read_documents
from puna.curate.classify import filter as stage
from puna.curate.classify import label, train
from puna.curate.classify.filter import FilterConfig
from puna.curate.classify.label import LabelConfig
from puna.curate.classify.labels import Label, write_labels
from puna.curate.classify.rubric import Verdict
from puna.curate.classify.scores import load_classifier, score
from puna.curate.classify.train import ClassifyConfig
from puna.curate.sweep import sweep
from puna.curate.why import tell
from tests.curate.classify.artifacts import KINDS, make_documents, run_stage, write_artifact, write_truth

DOCUMENTS = make_documents(160)
KIND = {document.id: document.source for document in DOCUMENTS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a curate artifact, its truth, and a classifier that learned from other documents."""
    folder = tmp_path_factory.mktemp("made")
    write_artifact(folder / "curate", DOCUMENTS)
    write_truth(folder / "truth.jsonl", DOCUMENTS)
    others = make_documents(160, seed=4)
    write_artifact(folder / "others", others, heldout=0, rejects=0)
    write_labels(folder / "labels.jsonl", [Label(one.id, Verdict(*KINDS[one.source][1:])) for one in others])
    inputs = {"labels": folder / "labels.jsonl", "documents": folder / "others"}
    run_stage(train, validate(ClassifyConfig, {"linear": {"buckets": 14}}, "classify"), inputs, folder / "classify")
    return folder


def _run(made: Path, folder: Path, **config: Any) -> StageOutput:
    inputs = {"documents": made / "curate", "classifier": made / "classify/files", "truth": made / "truth.jsonl"}
    return run_stage(stage, validate(FilterConfig, config, "filter"), inputs, folder)


def _rows(folder: Path, place: str) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(place)) for row in pq.read_table(path).to_pylist()]


def test_without_thresholds_documents_only_gain_labels(made: Path, tmp_path: Path) -> None:
    _run(made, tmp_path)
    for place in ("", "heldout"):
        assert list(read_documents(tmp_path / "files" / place)) == list(read_documents(made / "curate" / place))
    rows = _rows(tmp_path / "files", "documents-*.parquet")
    scores = score(load_classifier(made / "classify/files"), list(read_documents(made / "curate")))
    for name, values in scores.columns().items():
        assert [row[name] for row in rows] == values
    assert not _rows(tmp_path / "files", "rejects/*.parquet")
    assert "quality" in _rows(tmp_path / "files", "heldout/*.parquet")[0]


def test_thresholds_drop_what_the_truth_drops(made: Path, tmp_path: Path) -> None:
    out = _run(made, tmp_path, min_quality=1.6, max_toxicity=0.5)
    assert {KIND[one.id] for one in read_documents(tmp_path / "files")} == {"lesson", "news"}
    dropped = _rows(tmp_path / "files", "rejects/*.parquet")
    assert {row["rule"] for row in dropped} == {"quality:too low"}
    assert len(dropped) + len(list(read_documents(tmp_path / "files"))) == 160 - 6 - 8
    assert (out.metrics["keep_precision"], out.metrics["keep_recall"]) == (76 / 78, 76 / 80)
    # Of 80 good pages curate dropped 4; 2 bad ones are held out, where nothing is filtered.
    report = read_json(tmp_path / "files/report.json")
    assert report["before"]["precision"] < 0.6
    left = [step["documents"] for step in report["funnel"]]
    assert left == [146, 146 - len(dropped), 146 - len(dropped)]
    words = sum(len(one.text.split()) for one in read_documents(tmp_path / "files"))
    assert report["funnel"][-1]["tokens"] == words


def test_toxic_pages_go_by_their_own_name(made: Path, tmp_path: Path) -> None:
    _run(made, tmp_path, max_toxicity=0.5)
    dropped = _rows(tmp_path / "files", "rejects/*.parquet")
    assert {row["rule"] for row in dropped} == {"toxicity:too high"}
    assert {KIND[row["id"]] for row in dropped} == {"abuse"}
    assert all(row["toxicity"] > 0.5 for row in dropped)


def test_heldout_documents_stay_whatever_they_are(made: Path, tmp_path: Path) -> None:
    _run(made, tmp_path, min_quality=2, max_toxicity=0.1)
    assert len(_rows(tmp_path / "files", "heldout/*.parquet")) == 6


def test_a_domain_is_thinned_the_smaller_share_inside_the_larger(made: Path, tmp_path: Path) -> None:
    kept = {}
    for share in (0.0, 0.3, 0.7, 1.0):
        _run(made, tmp_path / str(share), keep_share={"law": share})
        kept[share] = {one.id for one in read_documents(tmp_path / str(share) / "files")}
    news = {id_ for id_, kind in KIND.items() if kind == "news"}
    assert kept[0.0] == kept[1.0] - news
    assert kept[0.0] < kept[0.3] < kept[0.7] < kept[1.0]
    assert len(kept[0.3] & news) == pytest.approx(0.3 * len(kept[1.0] & news), abs=8)


def test_a_doubtful_domain_is_not_thinned(made: Path, tmp_path: Path) -> None:
    _run(made, tmp_path, keep_share={"law": 0.0}, min_domain_share=1.0)
    assert len(list(read_documents(tmp_path / "files"))) == 146


def test_killed_after_a_shard_the_same_bytes_come_out(made: Path, tmp_path: Path) -> None:
    config = {"min_quality": 1.6, "keep_share": {"law": 0.5}}
    _run(made, tmp_path / "whole", **config)
    _run(made, tmp_path / "cut", **config)
    for record in (tmp_path / "cut/units").glob("*00001*"):
        record.unlink()
    (tmp_path / "cut/units/report.json.json").unlink()
    out = _run(made, tmp_path / "cut", **config)
    names = sorted(path.relative_to(tmp_path / "whole/files") for path in (tmp_path / "whole/files").rglob("*.*"))
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "whole/files" / name).read_bytes() == (tmp_path / "cut/files" / name).read_bytes()
    assert out.metrics["kept"] == len(list(read_documents(tmp_path / "cut/files")))


def _finished(folder: Path, out: StageOutput, **config: Any) -> Path:
    values = validate(FilterConfig, config, "filter").model_dump(mode="json")
    write_json(out.path / "manifest.json", {"kind": "filter", "config": values})
    return out.path


def test_the_sweep_says_what_a_threshold_relaxed_keeps(made: Path, tmp_path: Path) -> None:
    config = {"min_quality": 4.0, "max_toxicity": 0.5}
    strict = _run(made, tmp_path / "strict", **config)
    kept = {one.id for one in read_documents(strict.path)}
    words = {one.id: len(one.text.split()) for one in DOCUMENTS}
    found = {one.setting: one for one in sweep(_finished(tmp_path, strict, **config))}
    assert list(found) == ["min_quality"]  # what is toxic is of low quality, too: it falls there first
    for step in (0.1, 0.25, 0.5):
        _run(made, tmp_path / str(step), min_quality=4.0 * (1 - step), max_toxicity=0.5)
        more = {one.id for one in read_documents(tmp_path / str(step) / "files")} - kept
        assert found["min_quality"].kept_at(step) == (len(more), sum(words[id_] for id_ in more))
    assert found["min_quality"].kept_at(0.5)[0] > 30


def test_why_shows_what_the_classifier_said(made: Path, tmp_path: Path) -> None:
    config = {"min_quality": 1.6, "max_toxicity": 0.5, "keep_share": {"law": 1.0}}
    out = _run(made, tmp_path, **config)
    folder = _finished(tmp_path, out, **config)
    dropped = _rows(folder, "rejects/*.parquet")[0]
    story = tell(folder, dropped["id"])
    assert (story.fate, story.rule) == ("dropped", "quality:too low")
    assert next((rule, check.setting, check.value) for rule, check in story.checks if check.failed) == (
        "quality",
        "min_quality",
        dropped["quality"],
    )
    news = next(row for row in _rows(folder, "documents-*.parquet") if row["domain"] == "law")
    story = tell(folder, news["url"])
    assert (story.fate, [rule for rule, _ in story.checks]) == ("kept", ["quality", "toxicity", "domain"])
    heldout = _rows(folder, "heldout/*.parquet")[0]
    assert tell(folder, heldout["id"]).fate == "held out"


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"min_quality": 5}, DataError, "expected documents to be left, came none of 146"),
        ({"keep_share": {"cooking": 0.5}}, ConfigError, "expected domains of the classifier"),
        ({"keep_share": {"law": 1.5}}, ConfigError, "shares of 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused(
    made: Path, tmp_path: Path, config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _run(made, tmp_path, **config)


def test_without_labels_that_are_not_required_everything_passes(made: Path, tmp_path: Path) -> None:
    """A crawl that no labeller knows: label, classify and filter run, and say that they did nothing."""
    settings = {"labeller": "source", "sources": {"nowhere": {"quality": 1}}, "required": False}
    labels = run_stage(label, validate(LabelConfig, settings, "label"), {"documents": made / "curate"}, tmp_path / "l")
    inputs = {"labels": labels.path, "documents": made / "curate"}
    trained = run_stage(train, ClassifyConfig(), inputs, tmp_path / "c")
    inputs = {"documents": made / "curate", "classifier": trained.path}
    config = validate(FilterConfig, {"min_quality": 4, "max_toxicity": 0.1, "keep_share": {"law": 0.1}}, "filter")
    out = run_stage(stage, config, inputs, tmp_path / "f")
    for place in ("", "heldout"):
        assert list(read_documents(out.path / place)) == list(read_documents(made / "curate" / place))
    assert (labels.metrics["labels"], trained.metrics["train_labels"], out.metrics["kept"]) == (0, 0, 146)
    assert "no labels" in out.panels[-1]["note"]


def test_a_classifier_without_the_question_is_refused(made: Path, tmp_path: Path) -> None:
    write_labels(
        tmp_path / "labels.jsonl", [Label(one.id, Verdict(KINDS[one.source][1])) for one in make_documents(160, seed=4)]
    )
    inputs = {"labels": tmp_path / "labels.jsonl", "documents": made / "others"}
    run_stage(train, ClassifyConfig(), inputs, tmp_path / "classify")
    shutil.copytree(made / "curate", tmp_path / "curate")
    for config, setting in (({"max_toxicity": 0.5}, "max_toxicity"), ({"keep_share": {"law": 0.5}}, "keep_share")):
        with pytest.raises(ConfigError, match=f"{setting}: expected a classifier of"):
            run_stage(
                stage,
                validate(FilterConfig, config, "filter"),
                {"documents": tmp_path / "curate", "classifier": tmp_path / "classify/files"},
                tmp_path / "out",
            )

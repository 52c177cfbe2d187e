from pathlib import Path

import pytest

from puna.base.errors import DataError
from puna.base.records import read_jsonl, write_jsonl
from puna.curate.classify.labels import Label, class_of, read_labels, write_labels
from puna.curate.classify.rubric import Verdict


def test_labels_come_back_by_id(tmp_path: Path) -> None:
    labels = [
        Label("b", Verdict(3, "law", False), "tired", "Quality: 3", Verdict(4, "law", False)),
        Label("a", Verdict(None, None, True), text="A text."),
    ]
    write_labels(tmp_path / "labels.jsonl", labels)
    assert read_labels(tmp_path) == [labels[1], labels[0]]
    assert next(read_jsonl(tmp_path / "labels.jsonl")) == {
        "id": "a",
        "quality": None,
        "domain": None,
        "toxic": True,
        "labeller": "",
        "text": "A text.",
    }


def test_a_row_of_text_needs_no_id(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"text": "One.", "toxic": True}, {"text": "Two.", "quality": 5}])
    assert [(one.id, one.text, one.said) for one in read_labels(tmp_path / "mine.jsonl")] == [
        ("mine.jsonl:1", "One.", Verdict(toxic=True)),
        ("mine.jsonl:2", "Two.", Verdict(quality=5)),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"quality": 3}, "expected an `id` or a `text`"),
        ({"id": 7}, "expected an `id` or a `text`"),
        ({"id": "a", "quality": 6}, "expected a quality of 0 to 5, came 6"),
        ({"id": "a", "quality": True}, "expected a quality of 0 to 5, came True"),
        ({"id": "a", "quality": "good"}, "expected a quality of 0 to 5, came 'good'"),
        ({"id": "a", "toxic": "no"}, "true or false as `toxic`"),
        ({"id": "first"}, "a second of 'first'"),
    ],
)
def test_what_is_no_label_is_named(tmp_path: Path, row: dict[str, object], message: str) -> None:
    write_jsonl(tmp_path / "labels.jsonl", [{"id": "first", "quality": 1}, row])
    with pytest.raises(DataError, match=message) as error:
        read_labels(tmp_path)
    assert "labels.jsonl:2" in str(error.value)


def test_no_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text("")
    with pytest.raises(DataError, match="expected labels"):
        read_labels(tmp_path)


def test_classes_of_a_verdict() -> None:
    verdict = Verdict(0, None, False)
    assert [class_of(verdict, head) for head in Verdict._fields] == ["0", None, "no"]

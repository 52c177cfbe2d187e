"""Labels as files: one JSON object a line, by whom, of which document, and what was answered word for word."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.base.errors import DataError
from puna.base.records import read_jsonl, write_jsonl
from puna.curate.classify.rubric import TOP_QUALITY, Verdict

LABELS_FILE = "labels.jsonl"
YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Label:
    """`said` of the document `id` by `labeller`; `true` where the labeller is simulated and the truth is known.

    answer: what a model wrote. text: the document, if the file brings it along.
    """

    id: str
    said: Verdict
    labeller: str = ""
    answer: str = ""
    true: Verdict | None = None
    text: str = ""

    def row(self) -> dict[str, Any]:
        """As a JSON object; what is empty is left out."""
        row: dict[str, Any] = {"id": self.id, **self.said._asdict(), "labeller": self.labeller}
        if self.answer:
            row["answer"] = self.answer
        if self.true is not None:
            row["true"] = self.true._asdict()
        if self.text:
            row["text"] = self.text
        return row


def write_labels(path: Path, labels: Iterable[Label]) -> int:
    """Write labels by id, so that no order of asking shows. Returns their number."""
    return write_jsonl(path, (label.row() for label in sorted(labels, key=lambda label: label.id)))


def read_labels(path: Path, may_be_empty: bool = False) -> list[Label]:
    """Labels of a `label` stage, or of a JSONL file with `id` (or `text`) and any of `quality`, `domain`, `toxic`.

    Raises DataError naming the row that is no label or whose document was labelled before.
    """
    file = path / LABELS_FILE if path.is_dir() else path
    labels: dict[str, Label] = {}
    for number, row in enumerate(read_jsonl(file), 1):
        text = row.get("text") or ""
        id_ = row.get("id") or (f"{file.name}:{number}" if text else None)
        if not isinstance(id_, str) or not isinstance(text, str):
            raise DataError(f"{file}:{number}: expected an `id` or a `text`, came keys {sorted(row)}")
        if id_ in labels:
            raise DataError(f"{file}:{number}: expected one label a document, came a second of {id_!r}")
        true = _verdict(row["true"], file, number) if row.get("true") else None
        said = _verdict(row, file, number)
        labels[id_] = Label(id_, said, row.get("labeller", ""), row.get("answer", ""), true, text)
    if not labels and not may_be_empty:
        raise DataError(f"expected labels in {file}, came none")
    return [labels[id_] for id_ in sorted(labels)]


def class_of(verdict: Verdict, head: str) -> str | None:
    """A verdict's class in a head of a classifier, as a text: "3", "maths", "yes"; None if it was not said."""
    value = getattr(verdict, head)
    if isinstance(value, bool):
        return YES if value else NO
    return None if value is None else str(value)


def _verdict(row: dict[str, Any], file: Path, number: int) -> Verdict:
    quality, domain, toxic = (row.get(name) for name in Verdict._fields)
    if quality is not None and (isinstance(quality, bool) or quality not in range(TOP_QUALITY + 1)):
        raise DataError(f"{file}:{number}: expected a quality of 0 to {TOP_QUALITY}, came {quality!r}")
    if not isinstance(domain, (str, type(None))) or not isinstance(toxic, (bool, type(None))):
        raise DataError(f"{file}:{number}: expected a text as `domain`, true or false as `toxic`, came {row}")
    return Verdict(None if quality is None else int(quality), domain, toxic)

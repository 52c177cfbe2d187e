"""How good a classifier is on labels that it never saw, as numbers and as panels. N documents, K classes of a head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from puna.base.output import StageOutput
from puna.curate.classify.heads import Heads
from puna.curate.classify.labels import Label, class_of
from puna.curate.classify.measure import (
    Bin,
    ClassScore,
    calibration_error,
    class_scores,
    confusion,
    macro_f1,
    rank_correlation,
    reliability,
)
from puna.curate.classify.regression import Floats, log_softmax
from puna.curate.classify.scores import expected_quality

_EXAMPLE_CHARS = 100
_NUM_ERRORS = 10
_MAX_CONFUSED = 16


@dataclass(frozen=True)
class Measured:
    """One head on the documents held out that have a label for it, by id.

    said, told, confidence: of each document its label, the likeliest class and that one's probability. bins: with the
    temperature; error_before: the calibration error without. numbers: correlation, error and F1 of quality; macro F1
    against the truth where the labeller is simulated, of the classifier and of the labels that it learned from.
    """

    head: str
    labels: list[Label]
    said: list[str]
    told: list[str]
    confidence: Floats
    classes: dict[str, ClassScore]
    bins: list[Bin]
    temperature: float
    error_before: float
    numbers: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """The numbers, for report.json."""
        return {
            "documents": len(self.labels),
            "macro_f1": macro_f1(self.said, self.told),
            "accuracy": sum(a == b for a, b in zip(self.said, self.told, strict=True)) / len(self.said),
            **self.numbers,
            "temperature": self.temperature,
            "calibration_error_before": self.error_before,
            "calibration_error": calibration_error(self.bins),
            "reliability": [list(one) for one in self.bins],
            "classes": {name: one._asdict() for name, one in self.classes.items()},
        }


def measure_all(
    classifier: Heads, labels: Sequence[Label], logits: Mapping[str, Floats], threshold: int
) -> list[Measured]:
    """Each head that `labels` speak of, from the logits [N, K] of their documents."""
    found = []
    for head, classes in classifier.heads.items():
        rows = [row for row, label in enumerate(labels) if class_of(label.said, head) is not None]
        if rows:
            chosen = [labels[row] for row in rows]
            found.append(measure(head, classes, logits[head][rows], classifier.temperatures[head], chosen, threshold))
    return found


def measure(
    head: str, classes: Sequence[str], logits: Floats, temperature: float, labels: Sequence[Label], threshold: int
) -> Measured:
    """Compare the logits [N, K] of one head with what the labels say."""
    said = [str(class_of(label.said, head)) for label in labels]
    shares, plain = np.exp(log_softmax(logits / temperature)), np.exp(log_softmax(logits))
    told = [classes[place] for place in shares.argmax(1).tolist()]
    right = np.array([a == b for a, b in zip(said, told, strict=True)])
    numbers = _quality_numbers(said, expected_quality(shares, classes), threshold) if head == "quality" else {}
    known = [(class_of(label.true, head), a, b) for label, a, b in zip(labels, said, told, strict=True) if label.true]
    true = [(truth, a, b) for truth, a, b in known if truth is not None]
    if true:
        numbers["macro_f1_against_truth"] = macro_f1([truth for truth, _, _ in true], [b for _, _, b in true])
        numbers["macro_f1_of_labels"] = macro_f1([truth for truth, _, _ in true], [a for _, a, _ in true])
    return Measured(
        head,
        list(labels),
        said,
        told,
        shares.max(1),
        class_scores(said, told),
        reliability(shares.max(1), right),
        temperature,
        calibration_error(reliability(plain.max(1), right)),
        numbers,
    )


def _quality_numbers(said: Sequence[str], expected: Floats, threshold: int) -> dict[str, float]:
    truth = np.array([float(value) for value in said])
    good, taken = truth >= threshold, expected >= threshold
    both = int((good & taken).sum())
    return {
        "rank_correlation": rank_correlation(truth.tolist(), expected.tolist()),
        "mean_error": float(np.abs(truth - expected).mean()),
        f"f1_at_{threshold}": 2 * both / (int(good.sum()) + int(taken.sum())) if both else 0.0,
    }


def show(measured: Sequence[Measured], sizes: Mapping[str, int], texts: Mapping[str, str], out: StageOutput) -> None:
    """Metrics and panels."""
    out.metric(**{f"{name}_labels": size for name, size in sizes.items()})
    summaries = {one.head: one.summary() for one in measured}
    for head, summary in summaries.items():
        out.metric(**{f"{head}_f1": summary["macro_f1"], f"{head}_ece": summary["calibration_error"]})
    names = dict.fromkeys(name for summary in summaries.values() for name in summary)
    rows: list[list[Any]] = [
        [name.replace("_", " ").replace("f1", "F1"), *(_rounded(summary.get(name)) for summary in summaries.values())]
        for name in names
        if name not in ("reliability", "classes")
    ]
    note = (
        f"{sizes['train']} labels to learn, {sizes['calibrate']} set temperatures; these on {sizes['test']} others. "
        "Calibration error: the mean distance of a probability told from the share that was right."
    )
    columns = ["measure", *summaries]
    out.panel("table", "The classifier on labels held out", columns=columns, rows=rows, note=note)
    rows = [
        [one.head, name, *(round(value, 4) for value in scores)]
        for one in measured
        for name, scores in one.classes.items()
    ]
    columns = ["head", "class", "documents", "precision", "recall", "F1"]
    out.panel("table", "Class by class", columns=columns, rows=rows)
    _show_calibration(measured, out)
    for one in measured:
        _show_confusion(one, out)
    _show_errors(measured, texts, out)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _show_calibration(measured: Sequence[Measured], out: StageOutput) -> None:
    series = [{"name": "perfect", "x": [0.0, 1.0], "y": [0.0, 1.0]}]
    for one in measured:
        series.append({"name": one.head, "x": [x.confidence for x in one.bins], "y": [x.accuracy for x in one.bins]})
    note = "; ".join(
        f"{one.head}: off by {calibration_error(one.bins):.3f}, by {one.error_before:.3f} before its temperature of "
        f"{one.temperature:.2f}"
        for one in measured
    )
    labels = {"x_label": "probability told", "y_label": "share that was right"}
    out.panel("lines", "Calibration", **labels, series=series, note=note)


def _show_confusion(one: Measured, out: StageOutput) -> None:
    values = sorted({*one.said, *one.told})
    if 2 < len(values) <= _MAX_CONFUSED:
        table = confusion(one.said, one.told, values).tolist()
        rows = [[value, *counts] for value, counts in zip(values, table, strict=True)]
        out.panel("table", f"Taken for: {one.head}", columns=["label", *values], rows=rows, note="rows: the label")


def _show_errors(measured: Sequence[Measured], texts: Mapping[str, str], out: StageOutput) -> None:
    """The documents that the classifier is surest of against their label: its faults, or the labeller's."""
    wrong = [
        (float(sure), one.head, label, said, told)
        for one in measured
        for label, said, told, sure in zip(one.labels, one.said, one.told, one.confidence, strict=True)
        if said != told
    ]
    wrong.sort(key=lambda item: (-item[0], item[2].id, item[1]))
    rows = []
    for sure, head, label, said, told in wrong[:_NUM_ERRORS]:
        true = class_of(label.true, head) if label.true else None
        rows.append([head, said, told, true, round(sure, 3), " ".join(texts[label.id].split())[:_EXAMPLE_CHARS]])
    if rows:
        columns = ["head", "label", "told", "truth", "probability", "document"]
        if all(row[3] is None for row in rows):
            columns, rows = [*columns[:3], *columns[4:]], [[*row[:3], *row[4:]] for row in rows]
        out.panel("table", "Surest against the label", columns=columns, rows=rows)

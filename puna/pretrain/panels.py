"""What the report shows of a training log."""

from typing import Any

SCORE = "score/"
"""What the names of scores begin with in a row of the log."""


def loss_panel(log: list[dict[str, float]], title: str) -> dict[str, Any]:
    """The loss curve: training loss averaged over 1% of the steps, and validation."""
    width = max(1, len(log) // 100)
    chunks = [log[i : i + width] for i in range(0, len(log), width)]
    mean = [sum(row["loss"] for row in chunk) / len(chunk) for chunk in chunks]
    series = [{"name": "training", "x": [chunk[-1]["tokens"] for chunk in chunks], "y": mean}]
    checked = [row for row in log if "validation" in row]
    if checked:
        ys = [row["validation"] for row in checked]
        series.append({"name": "held-back documents", "x": [row["tokens"] for row in checked], "y": ys})
    return {
        "kind": "lines",
        "title": title,
        "x_label": "tokens learned",
        "y_label": "loss (nats a token)",
        "series": series,
    }


def score_panel(log: list[dict[str, float]], title: str) -> dict[str, Any] | None:
    """The scores that were measured on the way; None if there are none."""
    names = sorted({name for row in log for name in row if name.startswith(SCORE)})
    rows = {name: [row for row in log if name in row] for name in names}
    series = [
        {"name": name.removeprefix(SCORE), "x": [row["tokens"] for row in found], "y": [row[name] for row in found]}
        for name, found in rows.items()
    ]
    labels = {"x_label": "tokens learned", "y_label": "score"}
    return {"kind": "lines", "title": title, **labels, "series": series} if series else None

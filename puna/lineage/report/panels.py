"""Panels: what a stage declares to be shown. A kind is a function from its data to HTML, and an entry in PANELS.

    table    columns, rows
    funnel   steps: [{name, documents, tokens}]
    bars     unit, items: [{label, value, low?, high?, group?}]
    lines    x_label, y_label, series: [{name, x, y, right?}], x_scale?, y_scale? (log), right_label?
    heatmap  x_label, y_label, columns, rows, values: a row of shares from 0 to 1 for each of the rows, or null
    samples  items: [{id, prompt, answer, expected, verdict}]
    text     text

Each may have a `note`. The report comes at the end of an hour's work, so a panel that cannot be drawn says so in its
place instead of taking the page with it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from puna.lineage.report.curves import lines
from puna.lineage.report.figures import bars, colour, funnel, swatch
from puna.lineage.report.formats import exact, format_number
from puna.lineage.report.heat import heat_map
from puna.lineage.report.markup import Child, Html, linked, tag

MAX_ROWS = 200  # of a table, in the page; the manifest has them all
OPEN_ROWS, FEW_ROWS = 20, 5  # shown at once, if more than a few would be folded
MAX_SAMPLES = 40
OPEN_SAMPLES = 8  # shown at once; the rest unfold
OPEN_MANY = 4  # the same where an item has many answers
FEW_ANSWERS = 2  # more of them to one item stand below its prompt, and are cut shorter
MAX_SHORT = 280
MAX_TEXT = 1500  # characters of one answer, or of a prompt unfolded
MAX_PROMPT = 500


def table_panel(panel: Mapping[str, Any]) -> Html:
    """Rows of text and numbers; a column of numbers only is set to the right."""
    rows = panel["rows"][:MAX_ROWS]
    numeric = [
        any(row[index] is not None for row in rows) and all(row[index] is None or is_number(row[index]) for row in rows)
        for index in range(len(panel["columns"]))
    ]
    css = ["value" if right else None for right in numeric]
    head = [tag("th", name, scope="col", class_=c) for name, c in zip(panel["columns"], css, strict=True)]

    def table(part: Sequence[Sequence[Any]]) -> Html:
        body = [tag("tr", [tag("td", cell(x), class_=c) for x, c in zip(row, css, strict=True)]) for row in part]
        whole = tag("table", tag("thead", tag("tr", head)), tag("tbody", body), class_="data")
        return scroll(whole, panel["title"])

    shown = rows[:OPEN_ROWS] if len(rows) > OPEN_ROWS + FEW_ROWS else rows
    rest = rows[len(shown) :]
    fold = tag("details", tag("summary", f"{len(rest):,} more rows"), table(rest)) if rest else None
    more = len(panel["rows"]) - len(rows)
    return tag("div", table(shown), fold, more_note(more, "rows"), class_="figure")


def is_number(value: object) -> bool:
    """Whether a cell is a number (a truth value is not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cell(value: Any) -> Child:
    """One table cell."""
    if value is None or is_number(value):
        return exact(value, format_number(value))
    return clipped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def scroll(content: Html, label: str) -> Html:
    """A box that scrolls sideways by itself, reachable by keyboard, so that the page never does."""
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def more_note(more: int, what: str) -> Html | None:
    """How much the page leaves out."""
    return tag("p", f"and {more:,} more {what} in the manifest", class_="note") if more > 0 else None


def clipped(text: object) -> str:
    """A long text's beginning, and how much is missing."""
    whole = str(text)
    return whole if len(whole) <= MAX_TEXT else f"{whole[:MAX_TEXT]}\u2026 ({len(whole) - MAX_TEXT:,} more characters)"


def asked_prompt(prompt: str) -> Html:
    """A prompt; of a long one its end, where the question stands after worked examples, and the whole in a fold."""
    if len(prompt) <= MAX_PROMPT:
        return tag("div", prompt, class_="prompt")
    end = prompt[-MAX_PROMPT:].partition(" ")[2]
    fold = tag("details", tag("summary", f"the whole prompt ({len(prompt):,} characters)"), tag("div", clipped(prompt)))
    return tag("div", tag("div", f"\u2026 {end}", class_="prompt"), fold)


def lines_panel(panel: Mapping[str, Any]) -> Html:
    """Curves over one axis, or over two where a series says `right`; x_scale and y_scale are "linear" or "log"."""
    logs = {}
    for name, key in (("log_x", "x_scale"), ("log_y", "y_scale")):
        scale = panel.get(key) or "linear"
        if scale not in ("linear", "log"):
            raise ValueError(f"{key} is linear or log, not {scale!r}")
        logs[name] = scale == "log"
    return lines(
        panel["series"], panel["x_label"], panel["y_label"], right_label=panel.get("right_label") or "", **logs
    )


PANELS = {
    "table": table_panel,
    "funnel": lambda panel: funnel(panel["steps"]),
    "bars": lambda panel: bars(panel["items"], panel.get("unit") or ""),
    "lines": lines_panel,
    "heatmap": lambda panel: heat_map(
        panel["columns"], panel["rows"], panel["values"], panel["x_label"], panel["y_label"]
    ),
    "text": lambda panel: tag("p", clipped(panel["text"]), class_="text"),
    "samples": lambda panel: sample_cards(merge_samples([("answer", panel)]), {}),
}
WIDE = {"funnel", "samples"}
NARROW_COLUMNS = 4  # a table with more of them takes the whole width
NARROW_CHARS = 48


def render_panel(panel: Mapping[str, Any], href: str | None) -> Html:
    """A panel with its title, which links to the artifact, and its note."""
    kind = panel.get("kind")
    try:
        if kind not in PANELS:
            raise ValueError(f"known kinds are {', '.join(PANELS)}")
        content = PANELS[kind](panel)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError, OverflowError) as error:
        problem = f"This panel could not be drawn: kind {kind!r}, {type(error).__name__}: {error}."
        content = tag("p", problem, class_="problem")
    title = tag("h4", linked(href, panel.get("title") or kind, title="the artifact behind these numbers"))
    note = tag("p", panel["note"], class_="note") if panel.get("note") else None
    wide = kind in WIDE or len(panel.get("columns") or ()) > NARROW_COLUMNS or _is_wordy(panel)
    return tag("section", title, content, note, class_="panel wide" if wide else "panel")


@dataclass
class Sample:
    """One item and what each stage answered to it, by stage."""

    id: str
    prompt: str
    expected: Any
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def merge_samples(panels: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Sample]:
    """The same item from several stages together; items that most stages answered first, else as they appear."""
    samples: dict[str, Sample] = {}
    for stage, panel in panels:
        for item in panel["items"]:
            id_ = str(item["id"])
            sample = samples.setdefault(id_, Sample(id_, str(item.get("prompt", "")), item.get("expected")))
            name, count = stage, 2
            while name in sample.answers:  # a second answer of one stage to one item: shown, not dropped
                name, count = f"{stage} ({count})", count + 1
            sample.answers[name] = item
    return sorted(samples.values(), key=lambda sample: -len(sample.answers))


def sample_cards(samples: Sequence[Sample], colours: Mapping[str, int]) -> Html:
    """Prompt and expected answer, then every stage's answer with its verdict beside each other."""
    cards = [sample_card(sample, colours) for sample in samples[:MAX_SAMPLES]]
    num_open = OPEN_MANY if any(len(sample.answers) > FEW_ANSWERS for sample in samples) else OPEN_SAMPLES
    folded = None
    if len(cards) > num_open:
        rest = tag("div", cards[num_open:], class_="samples")
        folded = tag("details", tag("summary", f"{len(cards) - num_open} more items"), rest, class_="more")
    more = more_note(len(samples) - MAX_SAMPLES, "samples")
    return tag("div", cards[:num_open], folded, more, class_="samples")


def sample_card(sample: Sample, colours: Mapping[str, int]) -> Html:
    """One item; where there are many answers they take the whole width in a grid below the prompt."""
    answers = [answer_box(stage, item, sample, colours) for stage, item in sample.answers.items()]
    asked = asked_prompt(sample.prompt.strip())
    expected = None
    if sample.expected is not None and sample.expected != "":
        expected = tag("p", tag("span", "expected "), tag("b", clipped(sample.expected)), class_="expected")
    head = tag("header", tag("code", sample.id), asked, expected)
    css = "sample many" if len(answers) > FEW_ANSWERS else "sample"
    return tag("article", head, tag("div", answers, class_="answers"), class_=css)


VERDICTS = {"correct": ("good", "\u2713"), "wrong": ("bad", "\u2717")}


def answer_box(stage: str, item: Mapping[str, Any], sample: Sample, colours: Mapping[str, int]) -> Html:
    """One stage's answer; its prompt too where that differs from the one above."""
    verdict = str(item.get("verdict") or "not judged")
    css, sign = VERDICTS.get(verdict, ("open", "?"))
    who = [swatch(colour(colours[stage])) if stage in colours else None, tag("b", stage)]
    head = tag("p", tag("span", who, class_="who"), tag("span", sign, " ", verdict, class_=f"verdict {css}"))
    prompt = str(item.get("prompt", "")).strip()
    other = None
    if prompt != sample.prompt.strip():
        other = tag("details", tag("summary", "prompt as this stage saw it"), tag("div", clipped(prompt)))
    answer = str(item.get("answer") if item.get("answer") is not None else "")
    text = answer_text(answer.strip(), MAX_SHORT if len(sample.answers) > FEW_ANSWERS else MAX_TEXT)
    return tag("div", head, text, other, class_=f"box {css}")


def answer_text(answer: str, limit: int) -> Html:
    """An answer; of one longer than `limit` its beginning, and the whole in a fold where the page can hold it."""
    if limit >= MAX_TEXT or len(answer) <= limit:
        return tag("div", clipped(answer) or tag("i", "(empty)"), class_="answer")
    fold = tag("details", tag("summary", f"all {len(answer):,} characters"), tag("div", clipped(answer)))
    return tag("div", tag("div", answer[:limit].rpartition(" ")[0] or answer[:limit], "\u2026"), fold, class_="answer")


def _is_wordy(panel: Mapping[str, Any]) -> bool:
    """Whether a table has long texts beside other columns, which half a page would cut off."""
    rows = panel.get("rows") if len(panel.get("columns") or ()) > 2 else None
    cells = [cell for row in rows if isinstance(row, list) for cell in row] if isinstance(rows, list) else []
    return any(isinstance(cell, str) and len(cell) > NARROW_CHARS for cell in cells)

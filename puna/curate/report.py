"""report.json of a curate artifact, and the panels made of it alone, so that a resumed stage shows the same."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from puna.base.files import read_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_documents
from puna.curate.audit.rejects import NUM_SAMPLES, read_rejects, read_samples
from puna.curate.audit.truth import Fate, compare
from puna.curate.clean import CurateConfig
from puna.curate.decontaminate import read_items
from puna.curate.outliers import Corpus
from puna.curate.supply.ledger import ledger_panels, relaxed_words

_EXAMPLE_CHARS = 80
_WORDS_NOTE = "words between white space; each Chinese or Japanese character counts as one"


def make_report(
    folder: Path,
    config: CurateConfig,
    counts: dict[str, Any],
    listing: dict[str, Any],
    skipped_files: Counter[str],
    inputs: Inputs,
) -> dict[str, Any]:
    """Everything that is counted of the artifact in `folder`; `counts` and `listing` come from select.py and pass 1."""
    relaxed = relaxed_words(read_rejects(folder), config, Corpus.of(folder))
    for source, book in counts["ledger"].items():
        book["relaxed"] = relaxed.get(source, 0)
    report = {
        **counts,
        "examples": {rule: _in_a_line(rows[0]["text"]) for rule, rows in read_samples(folder).items()},
        "skipped": {**listing["skipped"], **dict(sorted(skipped_files.items()))},
        "files": listing["files"],
        "file_bytes": listing["file_bytes"],
        "words_are": _WORDS_NOTE,
    }
    if inputs.has("thresholds"):
        report["by_language"] = config.by_language
    if inputs.has("exams"):
        report["exams"] = _exams(folder, inputs.many("exams"))
    if inputs.has("truth"):
        report["truth"] = compare(_fates(folder), inputs.one("truth"))
    return report


def _exams(folder: Path, paths: list[Path]) -> list[dict[str, Any]]:
    """For each exam: its items, the pages that went for one, and the first of these, with what it said."""
    exams: dict[str, dict[str, Any]] = {}
    for name, _ in read_items(paths):
        exam = exams.setdefault(name.partition(":")[0], {"items": 0, "pages": 0, "item": "", "page": ""})
        exam["items"] += 1
    for row in read_rejects(folder):
        if row["rule"].startswith("decontaminate:"):
            item = row["rule"].partition(" (")[2].rpartition(", ")[0]
            exam = exams[item.partition(":")[0]]
            if not exam["pages"]:
                exam |= {"item": item, "page": _in_a_line(row["text"])}
            exam["pages"] += 1
    return [{"exam": name, **exam} for name, exam in exams.items()]


def _in_a_line(text: str) -> str:
    return " ".join(text.split())[:_EXAMPLE_CHARS]


def _fates(folder: Path) -> Iterator[Fate]:
    for place in (folder, folder / "heldout"):
        yield from (Fate(document.url, document.date, True, document.text) for document in read_documents(place))
    yield from (Fate(row["url"], row["date"], False, rule=row["rule"]) for row in read_rejects(folder))


def show_report(folder: Path, seconds: dict[str, float], out: StageOutput) -> None:
    """Metrics and panels of the report in `folder`; `seconds` of cleaning by source."""
    report = read_json(folder / "report.json")
    unread = sum(n for rule, n in report["rejects"].items() if rule.startswith("read:"))
    names = ("records", "kept", "heldout", "bytes_in", "words_out")
    out.metric(
        **{name: report[name] for name in names}, records_unreadable=unread, masked=sum(report["masked"].values())
    )
    out.panel("funnel", "From the crawl to the corpus", steps=report["funnel"], note=f"tokens: {_WORDS_NOTE}")
    supply, books = ledger_panels(report["ledger"], seconds)
    out.panel(**supply, note=_WORDS_NOTE)
    groups = sorted(report["mix"]["lang"].items(), key=lambda item: -item[1]["words"])
    items = [{"label": label, "value": group["words"]} for label, group in groups]
    out.panel("bars", "Mix by language", unit="words", items=items, note=_WORDS_NOTE)
    ordered = sorted(report["rejects"].items(), key=lambda item: (-item[1], item[0]))
    rows = [[rule, count, report["examples"].get(rule, "")] for rule, count in ordered]
    note = f"{NUM_SAMPLES} of each to read: puna curate --out RUN --rejects [RULE]"
    out.panel("table", "What was dropped, and why", columns=["rule", "documents", "an example"], rows=rows, note=note)
    out.panel(**books)
    if report["skipped"]:
        skipped = sorted(report["skipped"].items(), key=lambda item: (-item[1], item[0]))
        note = "what an archive or folder holds besides documents"
        out.panel("table", "Not read", columns=["what", "number"], rows=[list(item) for item in skipped], note=note)
    if "exams" in report:
        rows = [[exam["exam"], exam["items"], exam["pages"], exam["item"], exam["page"]] for exam in report["exams"]]
        out.metric(contaminated=sum(exam["pages"] for exam in report["exams"]))
        columns = ["exam", "items", "pages dropped", "an item", "its page"]
        out.panel("table", "Exam items in the crawl", columns=columns, rows=rows, note="n-grams of words in common")
    if "truth" in report:
        _show_truth(report["truth"], out)


def _show_truth(truth: dict[str, Any], out: StageOutput) -> None:
    precision, recall, f1 = truth["precision"], truth["recall"], truth["extraction_f1"]
    out.metric(keep_precision=precision, keep_recall=recall, extraction_f1=f1)
    rows: list[list[Any]] = [
        ["precision of keeping", round(truth["precision"], 4), truth["pages"]],
        ["recall of keeping", round(truth["recall"], 4), truth["pages"]],
        ["word F1 of the text", round(truth["extraction_f1"], 4), truth["extraction_pages"]],
    ]
    for kind, counts in truth["dirt"].items():
        if counts.get("should_go"):
            rows.append([f"{kind}: removed", round(counts["went"] / counts["should_go"], 4), counts["should_go"]])
        if counts.get("may_stay"):
            share = round(counts["stayed"] / counts["may_stay"], 4)
            rows.append([f"{kind}: kept, as it should be", share, counts["may_stay"]])
    note = "a page and its copies count once, whichever of them stays"
    if truth["wrong_rules"]:
        note += f"; good pages were dropped by {summary(truth['wrong_rules'])}"
    out.panel("table", "Against the known truth", columns=["measure", "share", "pages"], rows=rows, note=note)


def summary(counts: dict[str, int]) -> str:
    """The first few counts in a line."""
    return ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:4])

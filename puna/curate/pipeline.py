"""The curate stage: crawl files -> documents-*.parquet, heldout/, rejects/ and report.json.

Three passes. 1: chunks of records are cleaned by worker processes, each a pure function, into parts (out.state).
2: what needs all documents at once is decided from the small columns of the parts: duplicates, held-out documents, the
funnel. 3: each output shard is one row group of every part, sorted by id. The same bytes come out whatever the order of
the inputs, the number of workers, and where an earlier attempt was killed.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from puna.base.errors import DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents, write_documents
from puna.curate.clean import MASKED_COLUMNS, CurateConfig, Row, read_shard
from puna.curate.decontaminate import read_items
from puna.curate.dedup.common_lines import without_common
from puna.curate.outliers import COUNTS_FILE
from puna.curate.pool import Pool
from puna.curate.read.records import Record, read_file
from puna.curate.read.sources import READABLE, InputFile, list_inputs
from puna.curate.select import Selection, rule_group, select
from puna.curate.truth import Fate, compare
from puna.curate.words import count_words

_CHUNK_RECORDS, _CHUNK_BYTES = 256, 4_000_000
_EXAMPLE_CHARS = 80
_WORDS_NOTE = "words between white space; each Chinese or Japanese character counts as one"
_REJECTS = pa.schema(
    [(name, pa.string()) for name in ("id", "url", "source", "rule", "twin", "text", "date", "lang", "form")]
)


def run(config: CurateConfig, inputs: Inputs, out: StageOutput) -> None:
    """Curate the inputs `crawl` (files or folders); pages that hold items of `exams` go; `truth` measures the result.

    With the input `languages`, a stage of that kind, its model tells the language of a page.

    Raises DataError if nothing can be read or nothing is kept, InputError for a file of unknown kind.
    """
    files, skipped_files = list_inputs(inputs.many("crawl"))
    exams = inputs.many("exams") if inputs.has("exams") else []
    languages = inputs.one("languages") if inputs.has("languages") else None
    listing = _clean_all(files, exams, languages, config, out)
    parts = [out.state / name for name in listing["parts"]]
    if not parts:
        raise DataError(f"expected pages or texts ({READABLE}), came only {_list(listing['skipped']) or 'empty files'}")
    selection = select(parts, config, out.seed, decontaminated=bool(exams))
    for shard in range(config.shards):
        _write_shard(shard, parts, selection, out)
    if selection.corpus is not None and not out.done(COUNTS_FILE):
        with out.unit(COUNTS_FILE) as unit:
            selection.corpus.save(unit.path)
    if not out.done("report.json"):
        with out.unit("report.json") as unit:
            write_json(unit.path, _report(listing, skipped_files, selection, inputs, out))
    _show(read_json(out.path / "report.json"), out)


def _clean_all(
    files: list[InputFile], exams: list[Path], languages: Path | None, config: CurateConfig, out: StageOutput
) -> dict[str, Any]:
    """Pass 1: clean all records into parts in `out.state`; what an earlier attempt finished is not made again."""
    listing = out.state / "parts.json"
    if listing.exists():
        return dict(read_json(listing))
    skipped: Counter[str] = Counter()
    names: list[str] = []
    total = sum(file.path.stat().st_size for file in files)
    began, documents, kept = time.monotonic(), 0, 0

    def missing() -> Iterator[tuple[list[Record], Path, int]]:
        for name, records, position in _chunks(files, skipped, config.max_chars):
            names.append(name)
            if not (out.state / name).exists():
                yield records, out.state / name, position

    with Pool(config, config.workers or out.workers, exams, languages) as pool:
        for num_records, num_kept, position in pool.clean(missing()):
            documents, kept = documents + num_records, kept + num_kept
            rate = documents / max(1e-9, time.monotonic() - began)
            out.progress(position / 1e6, total / 1e6, "MB", documents_per_s=round(rate), documents=documents, kept=kept)
    if documents:
        seconds = time.monotonic() - began
        out.metric(documents_per_s=documents / seconds)
    value = {"parts": sorted(names), "skipped": dict(sorted(skipped.items())), "files": len(files), "file_bytes": total}
    write_json(listing, value)
    return value


def _chunks(files: list[InputFile], skipped: Counter[str], max_chars: int) -> Iterator[tuple[str, list[Record], int]]:
    """Records cut into chunks within each file: name of the part, records, bytes of the inputs read until then."""
    before = 0
    for number, file in enumerate(files):
        size = file.path.stat().st_size
        chunk: list[Record] = []
        chunk_bytes = read_bytes = count = 0
        for record in read_file(file, skipped, max_chars):
            chunk.append(record)
            chunk_bytes += len(record.body)
            if len(chunk) >= _CHUNK_RECORDS or chunk_bytes >= _CHUNK_BYTES:
                read_bytes += chunk_bytes
                yield f"part-{number:06d}-{count:06d}.parquet", chunk, before + min(size, read_bytes // 4)
                chunk, chunk_bytes, count = [], 0, count + 1
        before += size
        if chunk:
            yield f"part-{number:06d}-{count:06d}.parquet", chunk, before


def _write_shard(shard: int, parts: list[Path], selection: Selection, out: StageOutput) -> None:
    """Pass 3: the documents, held-out documents and rejects of one shard, sorted by id."""
    names = {kind: f"{kind}-{shard:05d}.parquet" for kind in ("documents", "heldout/documents", "rejects/rejects")}
    if all(out.done(name) for name in names.values()):
        return
    rows = [row for part in parts for row in read_shard(part, shard)]
    for row in rows:
        row.id = selection.renamed.get((row.source, row.locator), row.id)
    rows.sort(key=lambda row: row.id)
    gone = selection.duplicates.keys() | selection.outliers.keys() | selection.emptied
    kept = [row for row in rows if not row.rule and row.id not in gone]
    for row in kept if len(selection.common_lines) else ():
        row.text = without_common(row.text, np.frombuffer(row.line_keys, np.uint64), selection.common_lines)
        row.words = count_words(row.text)
    if not out.done(names["documents"]):
        with out.unit(names["documents"]) as unit:
            write_documents(unit.path, [_document(row) for row in kept if row.id not in selection.heldout])
    if not out.done(names["heldout/documents"]):
        with out.unit(names["heldout/documents"]) as unit:
            write_documents(unit.path, [_document(row) for row in kept if row.id in selection.heldout])
    if not out.done(names["rejects/rejects"]):
        with out.unit(names["rejects/rejects"]) as unit:
            _write_rejects(unit.path, rows, selection)


def _document(row: Row) -> Document:
    meta: dict[str, Any] = {"file": row.locator, "words": row.words}
    if row.form != "html":
        meta["form"] = row.form
    if row.title:
        meta["title"] = row.title
    if masked := sum(getattr(row, column) for column in MASKED_COLUMNS):
        meta["masked"] = masked
    return Document(row.id, row.text, row.url, row.source, row.lang, row.date, meta)


def _write_rejects(path: Path, rows: list[Row], selection: Selection) -> None:
    table: dict[str, list[str]] = {name: [] for name in _REJECTS.names}
    for row in rows:
        rule, twin = row.rule, ""
        if not rule:
            if row.id in selection.duplicates:
                kind, twin = selection.duplicates[row.id]
                rule = f"{kind}:duplicate"
            elif row.id in selection.outliers:
                rule = selection.outliers[row.id]
            elif row.id in selection.emptied:
                rule = "lines:nothing left"
            else:
                continue
        values = (row.id, row.url, row.source, rule, twin, row.text, row.date, row.lang, row.form)
        for name, value in zip(_REJECTS.names, values, strict=True):
            table[name].append(value)
    pq.write_table(pa.table(table, schema=_REJECTS), path, compression="zstd")


def _report(
    listing: dict[str, Any], skipped_files: Counter[str], selection: Selection, inputs: Inputs, out: StageOutput
) -> dict[str, Any]:
    report = {
        **selection.counts,
        "funnel": selection.funnel,
        "examples": _examples(out.path),
        "skipped": {**listing["skipped"], **dict(sorted(skipped_files.items()))},
        "files": listing["files"],
        "file_bytes": listing["file_bytes"],
        "words_are": _WORDS_NOTE,
    }
    if inputs.has("exams"):
        report["exams"] = _exams(out.path, inputs.many("exams"))
    if inputs.has("truth"):
        report["truth"] = compare(_fates(out.path), inputs.one("truth"))
    return report


def _exams(folder: Path, paths: list[Path]) -> list[dict[str, Any]]:
    """For each exam: its items, the pages that went for one, and the first of these, with what it said."""
    exams: dict[str, dict[str, Any]] = {}
    for name, _ in read_items(paths):
        exam = exams.setdefault(name.partition(":")[0], {"items": 0, "pages": 0, "item": "", "page": ""})
        exam["items"] += 1
    for row in _rejected(folder):
        if row["rule"].startswith("decontaminate:"):
            item = row["rule"].partition(" (")[2].rpartition(", ")[0]
            exam = exams[item.partition(":")[0]]
            if not exam["pages"]:
                exam |= {"item": item, "page": " ".join(row["text"].split())[:_EXAMPLE_CHARS]}
            exam["pages"] += 1
    return [{"exam": name, **exam} for name, exam in exams.items()]


def _rejected(folder: Path) -> Iterator[dict[str, str]]:
    for path in sorted((folder / "rejects").glob("rejects-*.parquet")):
        yield from pq.ParquetFile(path).read().to_pylist()


def _examples(folder: Path) -> dict[str, str]:
    """The first reject (by shard and id) of each rule, its first 80 characters in one line."""
    examples: dict[str, str] = {}
    for row in _rejected(folder):
        group = rule_group(row["rule"])
        if group not in examples:
            examples[group] = " ".join(row["text"].split())[:_EXAMPLE_CHARS]
    return examples


def _fates(folder: Path) -> Iterator[Fate]:
    for place in (folder, folder / "heldout"):
        yield from (Fate(document.url, document.date, True, document.text) for document in read_documents(place))
    yield from (Fate(row["url"], row["date"], False, rule=row["rule"]) for row in _rejected(folder))


def _show(report: dict[str, Any], out: StageOutput) -> None:
    """Metrics and panels from report.json alone, so that a resumed stage shows the same."""
    unread = sum(n for rule, n in report["rejects"].items() if rule.startswith("read:"))
    names = ("records", "kept", "heldout", "bytes_in", "words_out")
    out.metric(
        **{name: report[name] for name in names}, records_unreadable=unread, masked=sum(report["masked"].values())
    )
    out.panel("funnel", "From the crawl to the corpus", steps=report["funnel"], note=f"tokens: {_WORDS_NOTE}")
    for name, title in (("source", "Mix by source"), ("lang", "Mix by language")):
        groups = sorted(report["mix"][name].items(), key=lambda item: -item[1]["words"])
        items = [{"label": label, "value": group["words"]} for label, group in groups]
        out.panel("bars", title, unit="words", items=items, note=_WORDS_NOTE)
    ordered = sorted(report["rejects"].items(), key=lambda item: (-item[1], item[0]))
    rows = [[rule, count, report["examples"].get(rule, "")] for rule, count in ordered]
    out.panel("table", "What was dropped, and why", columns=["rule", "documents", "an example"], rows=rows)
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
        note += f"; good pages were dropped by {_list(truth['wrong_rules'])}"
    out.panel("table", "Against the known truth", columns=["measure", "share", "pages"], rows=rows, note=note)


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:4])

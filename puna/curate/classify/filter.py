"""The stage `filter`: documents and a classifier -> the documents that are good enough, each with its labels.

The artifact is laid out as that of curate (documents-*.parquet, heldout/, rejects/, report.json), so whatever takes
the one takes the other. quality, domain, domain_share and toxicity are columns of all three. Held-out documents are
labelled and never filtered: bits per byte with and without the filter stay comparable.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from puna.base.config import Config
from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents, write_documents
from puna.base.rng import hash64
from puna.curate.classify.encoder import Vectors
from puna.curate.classify.scores import Classifier, load_classifier, score
from puna.curate.rules.check import Check, first_failure
from puna.curate.truth import Fate, compare
from puna.curate.words import count_words

_REJECTS = [(name, pa.string()) for name in ("id", "url", "source", "rule", "twin", "text", "date", "lang", "form")]
_LABELS = [
    ("quality", pa.float64()),
    ("domain", pa.string()),
    ("domain_share", pa.float64()),
    ("toxicity", pa.float64()),
]
_EXAMPLE_CHARS = 80
_STEPS = {"quality": "good enough", "toxicity": "not toxic", "domain": "domains thinned"}


class FilterConfig(Config):
    """min_quality: of the expected score, 0 to 5; max_toxicity: of the probability to be toxic.

    keep_share: of a domain that there is too much of, the share that stays (Llama 3, 3.1.1, thins arts and
    entertainment). Which documents of it is decided by a hash of the id: those of a smaller share are among those of a
    larger one. A domain is believed from `min_domain_share` of probability on.
    """

    min_quality: float | None = Field(default=None, ge=0, le=5)
    max_toxicity: float | None = Field(default=None, ge=0, le=1)
    keep_share: dict[str, float] = Field(default_factory=dict)
    min_domain_share: float = Field(default=0.5, ge=0, le=1)

    @field_validator("keep_share")
    @classmethod
    def _are_shares(cls, shares: dict[str, float]) -> dict[str, float]:
        if bad := [share for share in shares.values() if not 0 <= share <= 1]:
            raise ValueError(f"shares of 0 to 1, not {bad[0]}")
        return shares


def run(config: FilterConfig, inputs: Inputs, out: StageOutput) -> None:
    """Label and filter. Inputs: `documents` (a curate stage), `classifier` (a classify stage), by choice `truth`.

    A classifier on an encoder wants the documents' `embeddings`; held-out documents without them have no labels.
    A classifier that learned nothing, for want of labels that were not required, lets every document pass.
    Raises ConfigError for a threshold of what the classifier does not tell, DataError if no document is left.
    """
    folder, classifier = inputs.one("documents"), load_classifier(inputs.one("classifier"))
    if classifier.heads:
        _check(config, classifier)
    vectors = Vectors(inputs.many("embeddings")) if inputs.has("embeddings") else None
    shards = sorted(path.name for path in folder.glob("documents-*.parquet"))
    if not shards:
        raise DataError(f"expected documents-*.parquet in {folder}, came none; give a curate stage")
    began, num_bytes = time.monotonic(), 0
    for number, name in enumerate(shards):
        num_bytes += _filter_shard(folder, name, classifier, vectors, config, out)
        out.progress(number + 1, len(shards), "files")
    if num_bytes:
        out.metric(mb_per_s=num_bytes / 1e6 / (time.monotonic() - began))
    if not out.done("report.json"):
        with out.unit("report.json") as unit:
            write_json(unit.path, _report(config, classifier, folder, inputs, out))
    report = read_json(out.path / "report.json")
    if not report["kept"]:
        raise DataError(f"expected documents to be left, came none of {report['documents']}; relax the thresholds")
    _show(report, out)


def label_checks(config: FilterConfig, row: Mapping[str, Any]) -> Iterator[tuple[str, Check]]:
    """By the name of its step each check of a document with its labels: a row of an artifact of this stage."""
    if config.min_quality is not None and "quality" in row:
        yield "quality", Check("too low", "min_quality", row["quality"], least=config.min_quality)
    if config.max_toxicity is not None and "toxicity" in row:
        yield "toxicity", Check("too high", "max_toxicity", row["toxicity"], most=config.max_toxicity)
    domain = row.get("domain")
    if domain in config.keep_share and row["domain_share"] >= config.min_domain_share:
        place = hash64(0, "keep_share", row["id"]) / 2**64
        yield "domain", Check(f"enough of {domain}", f"keep_share.{domain}", place, most=config.keep_share[domain])


def _check(config: FilterConfig, classifier: Classifier) -> None:
    wanted = {
        "min_quality": ("quality", config.min_quality is not None),
        "max_toxicity": ("toxic", config.max_toxicity is not None),
        "keep_share": ("domain", bool(config.keep_share)),
    }
    for setting, (head, is_set) in wanted.items():
        if is_set and head not in classifier.heads:
            raise ConfigError(f"{setting}: expected a classifier of {head}, came one of {', '.join(classifier.heads)}")
    if unknown := sorted(config.keep_share.keys() - set(classifier.heads.get("domain", ()))):
        known = ", ".join(classifier.heads["domain"])
        raise ConfigError(f"keep_share: expected domains of the classifier ({known}), came {', '.join(unknown)}")


def _filter_shard(
    folder: Path,
    name: str,
    classifier: Classifier,
    vectors: Vectors | None,
    config: FilterConfig,
    out: StageOutput,
) -> int:
    """Write the three files of a shard; the bytes of text that were classified."""
    heldout, rejects = f"heldout/{name}", f"rejects/{name.replace('documents-', 'rejects-')}"
    num_bytes = 0
    if not out.done(heldout) and (folder / heldout).exists():
        rows = _label(folder / heldout, classifier, vectors, may_lack=True)
        num_bytes += sum(len(document.text.encode()) for document, _ in rows)
        with out.unit(heldout) as unit:
            _write(unit.path, rows)
    if not (out.done(name) and out.done(rejects)):
        rows = _label(folder / name, classifier, vectors)
        num_bytes += sum(len(document.text.encode()) for document, _ in rows)
        reasons = [_reason(config, document, labels) for document, labels in rows]
        with out.unit(name) as unit:
            unit.info.update(_count(rows, reasons))
            _write(unit.path, [row for row, reason in zip(rows, reasons, strict=True) if not reason])
        with out.unit(rejects) as unit:
            _write_rejects(unit.path, [(*row, why) for row, why in zip(rows, reasons, strict=True) if why])
    return num_bytes


Labelled = tuple[Document, dict[str, Any]]


def _label(path: Path, classifier: Classifier, vectors: Vectors | None, may_lack: bool = False) -> list[Labelled]:
    documents = list(read_documents(path))
    if may_lack and vectors is not None and not all(one.id in vectors for one in documents):
        return [(one, {}) for one in documents]
    columns = score(classifier, documents, vectors).columns()
    return [(one, {name: values[row] for name, values in columns.items()}) for row, one in enumerate(documents)]


def _reason(config: FilterConfig, document: Document, labels: Mapping[str, Any]) -> str:
    for step, check in label_checks(config, {"id": document.id, **labels}):
        if reason := first_failure([check]):
            return f"{step}:{reason}"
    return ""


def _words(document: Document) -> int:
    return int(document.meta.get("words") or count_words(document.text))


def _count(rows: Sequence[Labelled], reasons: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """What the report needs of a shard: documents and words by reason, by domain and by score."""
    counts: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in ("reason", "domain", "score")}
    for (document, labels), reason in zip(rows, reasons, strict=True):
        words, kept = _words(document), int(not reason)
        counts["reason"][reason].update(documents=1, words=words)
        if "domain" in labels:
            counts["domain"][labels["domain"]].update(documents=1, words=words, kept=kept, kept_words=kept * words)
        if "quality" in labels:
            half = f"{round(2 * labels['quality']) / 2:.1f}"
            counts["score"][half].update(documents=1, words=words, kept=kept)
    return {name: {key: dict(count) for key, count in groups.items()} for name, groups in counts.items()}


def _write(path: Path, rows: Sequence[Labelled]) -> None:
    columns = {name: [labels[name] for _, labels in rows] for name in (rows[0][1] if rows else ())}
    write_documents(path, [document for document, _ in rows], columns)


def _write_rejects(path: Path, rows: Sequence[tuple[Document, dict[str, Any], str]]) -> None:
    table: dict[str, list[Any]] = {name: [] for name, _ in _REJECTS}
    labels = {name: [labels.get(name) for _, labels, _ in rows] for name, _ in _LABELS}
    for document, _, reason in rows:
        mine = {"rule": reason, "twin": "", "form": document.meta.get("form", "html")}
        for name, values in table.items():
            values.append(mine[name] if name in mine else getattr(document, name))
    pq.write_table(pa.table({**table, **labels}, schema=pa.schema([*_REJECTS, *_LABELS])), path, compression="zstd")


def _report(
    config: FilterConfig, classifier: Classifier, folder: Path, inputs: Inputs, out: StageOutput
) -> dict[str, Any]:
    totals: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in ("reason", "domain", "score")}
    for info in (out.info(name) for name in out.records() if name.startswith("documents-")):
        for name, groups in info.items():
            for key, count in groups.items():
                totals[name][key].update(count)
    reasons = totals["reason"]
    left = Counter({name: sum(count[name] for count in reasons.values()) for name in ("documents", "words")})
    funnel = [{"name": "documents", "documents": left["documents"], "tokens": left["words"]}]
    for step, name in _STEPS.items():
        for reason, count in reasons.items():
            left.subtract(count if reason.startswith(f"{step}:") else {})
        funnel.append({"name": name, "documents": left["documents"], "tokens": left["words"]})
    used = [config.min_quality is not None, config.max_toxicity is not None, bool(config.keep_share)]
    report: dict[str, Any] = {
        "documents": funnel[0]["documents"],
        "kept": left["documents"],
        "labelled": bool(classifier.heads),
        "funnel": [funnel[0], *(step for step, is_used in zip(funnel[1:], used, strict=True) if is_used)],
        "rejects": {key: dict(count) for key, count in sorted(reasons.items()) if key},
        "examples": _examples(out.path),
        "domains": {key: dict(count) for key, count in sorted(totals["domain"].items())},
        "scores": {key: dict(count) for key, count in sorted(totals["score"].items())},
    }
    if inputs.has("truth"):
        known = read_json(folder / "report.json") if (folder / "report.json").exists() else {}
        report["before"] = known.get("truth") or compare(_fates(folder, [folder]), inputs.one("truth"))
        report["truth"] = compare(_fates(out.path, [folder, out.path]), inputs.one("truth"))
    return report


def _examples(folder: Path) -> dict[str, str]:
    examples: dict[str, str] = {}
    for row in _rejected(folder):
        examples.setdefault(row["rule"], " ".join(row["text"].split())[:_EXAMPLE_CHARS])
    return examples


def _rejected(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((folder / "rejects").glob("rejects-*.parquet")):
        yield from pq.ParquetFile(path).read().to_pylist()


def _fates(kept: Path, dropped: Sequence[Path]) -> Iterator[Fate]:
    """What became of each page: kept in the artifact `kept`, or among the rejects of `dropped`."""
    for place in (kept, kept / "heldout"):
        if list(place.glob("documents-*.parquet")):
            yield from (Fate(one.url, one.date, True, one.text) for one in read_documents(place))
    for folder in dropped:
        yield from (Fate(row["url"], row["date"], False, rule=row["rule"]) for row in _rejected(folder))


def _show(report: dict[str, Any], out: StageOutput) -> None:
    """Metrics and panels from report.json alone."""
    out.metric(documents=report["documents"], kept=report["kept"])
    note = "tokens: words between white space; held-out documents are labelled and stand beside"
    out.panel("funnel", "From curated documents to those to learn from", steps=report["funnel"], note=note)
    if report["scores"]:
        items = [{"label": score, "value": count["documents"]} for score, count in report["scores"].items()]
        out.panel("bars", "Quality as the classifier sees it", unit="documents", items=items)
    if report["domains"]:
        order = sorted(report["domains"].items(), key=lambda item: -item[1]["words"])
        items = [
            {"label": domain, "value": count[name], "group": group}
            for domain, count in order
            for group, name in (("before", "words"), ("after", "kept_words"))
        ]
        out.panel("bars", "Mix by domain", unit="words", items=items)
    order = sorted(report["rejects"].items(), key=lambda item: -item[1]["documents"])
    rows = [[rule, count["documents"], count["words"], report["examples"].get(rule, "")] for rule, count in order]
    columns = ["reason", "documents", "words", "an example"]
    note = "" if rows else "nothing" if report["labelled"] else "nothing: the classifier had no labels to learn from"
    out.panel("table", "What the filter dropped", columns=columns, rows=rows, note=note)
    if "truth" in report:
        before, after = report["before"], report["truth"]
        rows = [
            [f"{name} of keeping", round(before[name], 4), round(after[name], 4)] for name in ("precision", "recall")
        ]
        for kind, count in after["dirt"].items():
            if total := count.get("should_go"):
                shares = (round(side["dirt"][kind]["went"] / total, 4) for side in (before, after))
                rows.append([f"{kind}: removed", *shares])
        wrong = {rule: number for rule, number in after["wrong_rules"].items() if rule.partition(":")[0] in _STEPS}
        dropped = ", ".join(f"{rule} ({number})" for rule, number in wrong.items())
        note = f"good pages that the filter dropped: {dropped or 'none'}"
        out.metric(keep_precision=after["precision"], keep_recall=after["recall"])
        columns = ["measure", "before the filter", "after"]
        out.panel("table", "Filtering against the known truth", columns=columns, rows=rows, note=note)

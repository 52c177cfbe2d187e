"""The stage `label`: a sample of documents -> labels.jsonl, what a labeller says of each of them.

Five labellers. simulated: a program that knows the truth and errs at a stated rate. source: by where a document comes
from. words: by a list of words. file: labels that somebody else made. endpoint: a language model behind HTTP. A model
of our own is asked by the stage `label-model` (puna/evals/label.py), which sees the engine; all else is the same.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from puna.base.config import Config
from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents
from puna.base.rng import hash64
from puna.curate.audit import rejects
from puna.curate.classify.asking import ask_all
from puna.curate.classify.endpoint import Endpoint, endpoint
from puna.curate.classify.labellers import Labeller, Said, Simulated, by_source, by_words, simulated
from puna.curate.classify.labels import LABELS_FILE, Label, read_labels, write_labels
from puna.curate.classify.measure import kappa
from puna.curate.classify.rubric import Rubric, Verdict

_EXAMPLE_CHARS = 120
_NO_TEXT = ("read:", "extract:")


class Sample(Config):
    """Which documents are labelled: so many of those kept, and so many of the rejects that had a text of their own.

    Both by the smallest hash, so a larger sample holds the smaller one. Copies of other documents are never asked for.
    """

    documents: int = Field(default=2000, ge=0)
    rejects: int = Field(default=0, ge=0)


class LabelConfig(Config):
    """Settings of a labelling; of simulated, sources, words and endpoint those of the labeller count.

    required: refuse to go on if no document can be labelled. A recipe for whatever crawl sets it to false: then nothing
    is learned and nothing filtered, and the report says so.
    """

    labeller: Literal["simulated", "source", "words", "file", "endpoint"]
    name: str = ""
    sample: Sample = Sample()
    rubric: Rubric = Rubric()
    simulated: Simulated = Simulated()
    sources: dict[str, Said] = Field(default_factory=dict)
    words: tuple[str, ...] = ()
    max_words: int = Field(default=0, ge=0)
    endpoint: Endpoint = Endpoint()
    required: bool = True


def run(config: LabelConfig, inputs: Inputs, out: StageOutput) -> None:
    """Label documents. Inputs: `documents` (a curate stage); `truth` if simulated; `labels` if from a file.

    With `beside`, labels of another labeller, the agreement of both is shown. Raises DataError if nothing is labelled.
    """
    if not out.done(LABELS_FILE):
        labels = _labels(config, inputs, out)
        if not labels and config.required:
            raise DataError(f"expected documents that the labeller {config.labeller} can label, came none")
        with out.unit(LABELS_FILE) as unit:
            write_labels(unit.path, labels)
    show(read_labels(out.path, may_be_empty=True), inputs, out)


def _labels(config: LabelConfig, inputs: Inputs, out: StageOutput) -> list[Label]:
    name = config.name or config.labeller
    if config.labeller == "file":
        wanted = {label.id: label for path in inputs.many("labels") for label in read_labels(path)}
        if not inputs.has("documents"):
            return list(wanted.values())
        return [wanted[one.id] for one in every_document(inputs.one("documents")) if one.id in wanted]
    documents = choose(inputs.one("documents"), config.sample, out.seed)
    if config.labeller == "endpoint":
        ask, state = endpoint(config.endpoint), out.state / "answers.jsonl"
        batch = 8 * config.endpoint.concurrency
        return ask_all(documents, config.rubric, ask, name, state, batch, lambda a, b: out.progress(a, b, "documents"))
    label = _labeller(config, inputs, out, name)
    return [found for document in documents if (found := label(document)) is not None]


def _labeller(config: LabelConfig, inputs: Inputs, out: StageOutput, name: str) -> Labeller:
    if config.labeller == "simulated":
        return simulated(config.simulated, config.rubric, inputs.one("truth"), out.seed, name)
    if config.labeller == "source":
        if not config.sources:
            raise ConfigError("sources: expected patterns of sources with what is said of each, came none")
        return by_source(config.sources, name)
    if not config.words:
        raise ConfigError("words: expected words or paths of lists of them, came none")
    return by_words(config.words, config.max_words, name)


def choose(folder: Path, sample: Sample, seed: int) -> list[Document]:
    """The sample of a curate artifact, by id. Raises DataError if the folder is none."""
    kept = _smallest(read_documents(folder), sample.documents, seed)
    dropped = _smallest(read_rejects(folder), sample.rejects, seed)
    return sorted((*kept, *dropped), key=lambda document: document.id)


def every_document(folder: Path) -> Iterator[Document]:
    """All that can be labelled: documents, and rejects with a text of their own."""
    yield from read_documents(folder)
    yield from read_rejects(folder)


def read_rejects(folder: Path) -> Iterator[Document]:
    """Rejects that a rule dropped after reading them: no copies, nothing damaged. The rule is in `meta`."""
    for row in rejects.read_rejects(folder):
        rule = row["rule"]
        if row["text"].strip() and not rule.startswith(_NO_TEXT) and not rule.endswith(":duplicate"):
            names = ("id", "text", "url", "source", "lang", "date")
            yield Document(**{name: row[name] for name in names}, meta={"rule": rule})


def _smallest(documents: Iterable[Document], count: int, seed: int) -> list[Document]:
    return heapq.nsmallest(count, documents, key=lambda one: (hash64(seed, "sample", one.id), one.id)) if count else []


def show(labels: Sequence[Label], inputs: Inputs, out: StageOutput) -> None:
    """Metrics and panels of labels: what was said, errors of a simulated labeller, agreement with another."""
    out.metric(labels=len(labels))
    if not labels:
        out.panel("text", "Labels", text="No document could be labelled: nothing is learned and nothing filtered.")
        return
    said = {name: [getattr(label.said, name) for label in labels] for name in Verdict._fields}
    asked = any(label.answer for label in labels)
    for name, values in said.items():
        counts = Counter(value for value in values if value is not None)
        missing = len(values) - counts.total()
        if asked:
            out.metric(**{f"{name}_unreadable": missing / len(values)})
        if counts and name != "toxic":
            order = sorted(counts.items()) if name == "quality" else counts.most_common()
            items = [{"label": str(value), "value": count} for value, count in order]
            note = f"{missing} of {len(values)} were not told" if missing else ""
            out.panel("bars", f"Labels: {name}", unit="documents", items=items, note=note)
        elif counts:
            out.metric(toxic=counts[True] / counts.total())
    true = [(label.said, label.true) for label in labels if label.true is not None]
    if true:
        rows = _agreement([a for a, _ in true], [b for _, b in true])
        note = "A program that knows the truth and errs at a stated rate; no person read these pages."
        out.panel("table", "The simulated labeller against the truth", columns=_COLUMNS, rows=rows, note=note)
        out.metric(**{f"{row[0]}_error": 1 - row[2] for row in rows})
    if inputs.has("beside"):
        others = {label.id: label for label in read_labels(inputs.one("beside"))}
        pairs = [(label.said, others[label.id].said) for label in labels if label.id in others]
        rows = _agreement([a for a, _ in pairs], [b for _, b in pairs])
        names = " and ".join(sorted({one.labeller or "unnamed" for one in (labels[0], *list(others.values())[:1])}))
        note = "" if rows else "none: no document was labelled by both"
        out.panel("table", f"Agreement of {names}", columns=_COLUMNS, rows=rows, note=note)
        out.metric(**{f"{row[0]}_kappa": row[3] for row in rows})
    if asked:
        rows = [[one.id[:12], one.said.quality, one.said.domain, one.answer[:_EXAMPLE_CHARS]] for one in labels[:8]]
        out.panel("table", "Answers, the first by id", columns=["document", "quality", "domain", "answer"], rows=rows)


_COLUMNS = ["question", "documents", "same", "kappa", "mean distance"]


def _agreement(first: Sequence[Verdict], second: Sequence[Verdict]) -> list[list[Any]]:
    """Of each question that both answered: documents, share of equal answers, kappa (quality: quadratic), distance."""
    rows: list[list[Any]] = []
    for place, name in enumerate(Verdict._fields):
        both: list[tuple[Any, Any]] = [(a[place], b[place]) for a, b in zip(first, second, strict=True)]
        pairs = [(a, b) for a, b in both if a is not None and b is not None]
        if pairs:
            mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
            same = sum(a == b for a, b in pairs) / len(pairs)
            is_number = name == "quality"
            apart = round(sum(abs(a - b) for a, b in pairs) / len(pairs), 4) if is_number else None
            rows.append([name, len(pairs), round(same, 4), round(kappa(mine, theirs, quadratic=is_number), 4), apart])
    return rows

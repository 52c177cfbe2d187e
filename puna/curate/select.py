"""All rows together -> who stays: what no document can decide alone (duplicates, held-out documents, the funnel)."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from puna.base.errors import DataError
from puna.base.rng import hashes64
from puna.curate.clean import LINE_RULES, MASKED_COLUMNS, CurateConfig
from puna.curate.columns import Columns
from puna.curate.dedup.common_lines import common_keys, common_words
from puna.curate.dedup.twins import Numbers, best_of, crowded, first_equal, near_heads
from puna.curate.holdout import choose_heldout
from puna.curate.outliers import Corpus, count, score
from puna.curate.parts import read_parts, with_values
from puna.curate.text.words import Hashes

_NO_TWIN = -1
_STEP_NAMES = {
    "read": "readable pages",
    "extract": "with text",
    "language": "in the languages",
    "encoding": "sound encoding",
    "repeated_lines": "no logs",
    "refinedweb": "RefinedWeb lines",
    "c4": "C4 rules",
    "blocked": "no blocked words",
    "gopher_quality": "Gopher quality",
    "gopher_repetition": "Gopher repetition",
    "fineweb": "FineWeb rules",
    "decontaminate": "no exam items",
    "url": "newest of an address",
    "exact": "no exact copies",
    "near": "no near-copies",
    "outliers": "no unusual words",
    "lines": "no common lines",
}


class Selection:
    """The fate of each row beyond its own rule.

    columns: what is known of the rows; their rules are the final ones. twins: the row that stays for a duplicate, else
    -1, [N]. heldout: [N]. common_lines: sorted keys of the lines to take off. words: what is left of each row, [N].
    details: more on why a row was dropped. corpus: the words that outliers were judged by, if that was asked for.
    funnel: steps of name, documents, tokens; counts: totals for the report.
    """

    def __init__(self, columns: Columns):
        self.columns = columns
        self.rules = columns.rule.of_row.copy()
        self.twins = np.full(len(columns), _NO_TWIN, np.int64)
        self.heldout = np.zeros(len(columns), bool)
        self.words = columns.words.copy()
        self.common_lines: Hashes = np.zeros(0, np.uint64)
        self.details: dict[int, str] = {}
        self.corpus: Corpus | None = None
        self.funnel: list[dict[str, Any]] = []
        self.counts: dict[str, Any] = {}

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Rows that no rule dropped, [N]."""
        return self.rules == self.columns.rule.number("")

    def drop(self, rows: Numbers, rule: str) -> None:
        """Drop these rows by `rule`."""
        self.rules[rows] = self.columns.rule.number(rule)

    def rejects(self) -> Counter[str]:
        """How often each rule dropped, details in brackets left out."""
        counts = np.bincount(self.rules, minlength=len(self.columns.rule.names)).tolist()
        named = zip(self.columns.rule.names, counts, strict=True)
        return Counter({name: count for name, count in named if name and count})

    def decide(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Rows of one part after the other with their final id and rule.

        Added are `record`, the id that copies of one record share, `twin`, the id of the twin, and `heldout`.
        """
        names = self.columns.rule.names
        for start, table in zip(self.columns.starts.tolist(), tables, strict=False):
            rows = slice(start, start + len(table))
            dropped_now = self.rules[rows] != self.columns.rule.of_row[rows]
            rules = []
            for row in (start + np.flatnonzero(dropped_now)).tolist():
                detail = self.details.get(row)
                rules.append(names[self.rules[row]] + (f" ({detail})" if detail else ""))
            is_copy = self.columns.copies[rows] > 1
            copies = [self.columns.id(row) for row in (start + np.flatnonzero(is_copy)).tolist()]
            twins = self.twins[rows]
            twin_ids = [self.columns.id(row) for row in twins[twins != _NO_TWIN].tolist()]
            values = {
                "record": table["id"],
                "id": with_values(table["id"], is_copy, copies),
                "rule": with_values(table["rule"], dropped_now, rules),
                "twin": with_values(pa.repeat("", len(table)), twins != _NO_TWIN, twin_ids),
                "heldout": pa.array(self.heldout[rows]),
            }
            others = [name for name in table.schema.names if name not in values]
            yield pa.table(values | {name: table[name] for name in others})


def select(parts: list[Path], config: CurateConfig, seed: int, folder: Path, decontaminated: bool = False) -> Selection:
    """Decide over the rows of all parts; `folder` is for keys on their way.

    Raises DataError if nothing could be read or nothing is kept.
    """
    columns = Columns(parts, folder)
    selection = Selection(columns)
    _check_readable(selection)
    _drop_copies(selection, config)
    if config.outliers.max_kl:
        _drop_outliers(parts, config, selection)
    if config.max_line_copies:
        _take_lines(parts, config, selection, folder)
        selection.drop(np.flatnonzero(selection.kept & (selection.words == 0)), "lines:nothing left")
    kept = np.flatnonzero(selection.kept)
    if not len(kept):
        common = ", ".join(f"{rule} ({count})" for rule, count in selection.rejects().most_common(3))
        raise DataError(
            f"expected documents to keep, came {len(columns)} and all were dropped: {common}; relax the rules"
        )
    hashes = np.fromiter(hashes64(columns.ids_of(kept), seed, "heldout"), np.uint64, len(kept))
    sources = columns.source.of_row[kept]
    selection.heldout[kept] = choose_heldout(hashes, sources, config.heldout_fraction, config.heldout_min)
    selection.funnel = _funnel(selection, config, decontaminated)
    selection.counts = _counts(parts, selection)
    return selection


def _check_readable(selection: Selection) -> None:
    rejects = selection.rejects()
    unread = Counter({rule: count for rule, count in rejects.items() if rule.startswith("read:")})
    if len(selection.columns) == unread.total():
        reasons = ", ".join(f"{rule.removeprefix('read:')} ({n})" for rule, n in unread.most_common(3))
        raise DataError(
            f"expected at least one document, came {len(selection.columns)} records that cannot be read: {reasons}"
        )


def _drop_copies(selection: Selection, config: CurateConfig) -> None:
    """By address, then by text, then by MinHash: of each group of copies all but one."""
    columns = selection.columns
    standing = np.arange(len(columns.candidates))  # places among the candidates of those that no rule dropped yet
    for rule in _kinds_of_copies(config):
        heads = _copies(rule, columns, standing, config)
        members = crowded(heads)
        if not len(members):
            continue
        rows = columns.candidates[standing[members]]
        best = best_of(heads[members], _ranks(columns, rows, config.keep_copy, newest=rule == "url"))
        lost = best != np.arange(len(best))
        selection.drop(rows[lost], f"{rule}:duplicate")
        selection.twins[rows[lost]] = rows[best[lost]]
        standing = np.delete(standing, members[lost])
    _follow(selection.twins)


def _kinds_of_copies(config: CurateConfig) -> list[str]:
    kinds = ["url", "exact"] if config.exact_duplicates else []
    return [*kinds, "near"] if config.near_duplicates else kinds


def _copies(rule: str, columns: Columns, standing: Numbers, config: CurateConfig) -> Numbers:
    """For each of the `standing` candidates the first of its copies, as a place in `standing`."""
    if rule == "near":
        bands = (columns.band(number)[standing] for number in range(config.minhash.bands))
        return near_heads(bands if len(standing) else (), len(standing))
    keys = columns.keys("address" if rule == "url" else "exact")[standing]
    heads = first_equal(keys)
    if rule == "url":
        nowhere = ~keys.any(1)
        heads[nowhere] = np.flatnonzero(nowhere)
    return heads


def _ranks(columns: Columns, rows: Numbers, keep: str, newest: bool) -> Numbers:
    """The order of who stays: by (source, id), before that by length or date if so asked, for addresses by date."""
    before = [columns.age(rows)] if newest or keep == "newest" else []
    if keep == "longest":
        before.append(-columns.words[rows].astype(np.int64))
    return columns.ranks(rows, *before)


def _follow(twins: Numbers) -> None:
    """A document that stays for another and then goes itself as a copy leads on to the one that stays for it."""
    rows = np.flatnonzero(twins != _NO_TWIN)
    while len(rows := rows[twins[twins[rows]] != _NO_TWIN]):
        twins[rows] = twins[twins[rows]]


def _drop_outliers(parts: list[Path], config: CurateConfig, selection: Selection) -> None:
    """Two passes over the parts: count the words of what is kept, then judge each; copies have no vote."""
    kept, starts = selection.kept, selection.columns.starts.tolist()
    spans = [slice(start, end) for start, end in itertools.pairwise(starts)]
    corpus = selection.corpus = Corpus()
    for part, span in zip(parts, spans, strict=True):
        corpus.merge(count(part, kept[span]))
    for part, span in zip(parts, spans, strict=True):
        scores = score(part, kept[span], corpus, config.outliers)
        for place in np.flatnonzero(scores > config.outliers.max_kl).tolist():
            selection.details[span.start + place] = f"{scores[place]:.2f} nats a word"
    selection.drop(np.array(sorted(selection.details), np.int64), "outliers:unusual words")


def _take_lines(parts: list[Path], config: CurateConfig, selection: Selection, folder: Path) -> None:
    """Find the common lines of what is kept, and take their words off."""
    kept = selection.kept

    def lines(*names: str) -> Iterator[tuple[Numbers, list[pa.Array]]]:
        """Of each part the rows that are kept, and these columns of them."""
        for start, table in zip(selection.columns.starts, read_parts(parts, names), strict=False):
            chosen = np.flatnonzero(kept[start : start + len(table)])
            yield chosen + start, [table[name].take(pa.array(chosen)) for name in names]

    keys = (np.frombuffer(b"".join(column.to_pylist()), np.uint64) for _, (column,) in lines("line_keys"))
    selection.common_lines = common_keys(keys, config.max_line_copies, folder)
    for rows, (line_keys, line_words) in lines("line_keys", "line_words"):
        selection.words[rows] -= common_words(line_keys, line_words, selection.common_lines)


def _funnel(selection: Selection, config: CurateConfig, decontaminated: bool) -> list[dict[str, Any]]:
    """Documents and words left after each step; words are of the text as it is at that step."""
    steps = ["read", "extract", "language", *config.rules]
    steps += ["decontaminate"] if decontaminated else []
    steps += _kinds_of_copies(config)
    steps += ["outliers"] if config.outliers.max_kl else []
    steps += ["lines"] if config.max_line_copies else []
    place = {name: number for number, name in enumerate(steps)}
    columns = selection.columns
    fell_by = [place[rule.partition(":")[0]] if rule else len(steps) for rule in columns.rule.names]
    fell = np.array(fell_by, np.int16)[selection.rules]
    changed_at = min((place[name] for name in LINE_RULES if name in place), default=len(steps))
    funnel: list[dict[str, Any]] = [
        {"name": "records found", "documents": len(columns), "tokens": int(columns.words_seen.sum())}
    ]
    for number, name in enumerate(steps):
        extracted = columns.words if number >= changed_at else columns.words_extracted
        words = columns.words_seen if name == "read" else selection.words if name == "lines" else extracted
        left = fell > number
        row = {"name": _STEP_NAMES[name], "documents": int(left.sum()), "tokens": int(words[left].sum())}
        funnel.append(row)
    return funnel


def _counts(parts: list[Path], selection: Selection) -> dict[str, Any]:
    columns, kept = selection.columns, selection.kept
    masked = dict.fromkeys(MASKED_COLUMNS, 0)
    for start, table in zip(columns.starts, read_parts(parts, MASKED_COLUMNS), strict=False):
        table = table.filter(pa.array(kept[start : start + len(table)]))
        for name in MASKED_COLUMNS:
            masked[name] += pc.sum(table[name]).as_py() or 0
    mix = {}
    for name, codes in (("source", columns.source), ("lang", columns.lang)):
        groups = {
            "documents": np.bincount(codes.of_row[kept], minlength=len(codes.names)),
            "words": np.bincount(codes.of_row[kept], selection.words[kept], len(codes.names)),
            "heldout": np.bincount(codes.of_row[selection.heldout], minlength=len(codes.names)),
        }
        rows = {
            label: {group: int(values[number]) for group, values in groups.items()}
            for number, label in enumerate(codes.names)
        }
        mix[name] = {label: row for label, row in sorted(rows.items()) if row["documents"]}
    return {
        "records": len(columns),
        "kept": int(kept.sum()),
        "heldout": int(selection.heldout.sum()),
        "bytes_in": columns.bytes_in,
        "words_out": int(selection.words[kept].sum()),
        "rejects": dict(sorted(selection.rejects().items())),
        "mix": mix,
        "masked": masked,
        "common_lines": len(selection.common_lines),
    }

"""All rows together -> who stays: what no document can decide alone (duplicates, held-out documents, the funnel)."""

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from puna.base.errors import DataError
from puna.curate.clean import LINE_RULES, MASKED_COLUMNS, CurateConfig
from puna.curate.dedup.common_lines import common_keys
from puna.curate.dedup.twins import exact_twins, near_twins, url_key, url_twins
from puna.curate.holdout import choose_heldout
from puna.curate.outliers import Corpus, count, score
from puna.curate.words import Hashes

_TEXT_COLUMNS = ("text", "title", "word_counts")
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


@dataclass
class Selection:
    """The fate of each row beyond its own rule.

    renamed: (source, locator) -> id, where the same record occurs more than once; duplicates: id -> (rule, twin);
    outliers: id -> rule, and corpus: the words they were judged by, if that was asked for;
    common_lines: keys of the lines to take off; emptied: ids of the documents of which no line is left;
    heldout: ids; funnel: steps of name, documents, tokens; counts: totals for the report.
    """

    renamed: dict[tuple[str, str], str] = field(default_factory=dict)
    duplicates: dict[str, tuple[str, str]] = field(default_factory=dict)
    outliers: dict[str, str] = field(default_factory=dict)
    corpus: Corpus | None = None
    common_lines: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    emptied: set[str] = field(default_factory=set)
    heldout: set[str] = field(default_factory=set)
    funnel: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)


def select(parts: list[Path], config: CurateConfig, seed: int, decontaminated: bool = False) -> Selection:
    """Decide over the rows of all parts. Raises DataError if nothing could be read or nothing is kept."""
    table = _read_columns(parts)
    columns = {name: table[name].to_pylist() for name in ("id", "source", "locator", "url", "date", "lang", "rule")}
    selection = Selection(renamed=_rename(columns))
    ids, rules = columns["id"], columns["rule"]
    _check_readable(rules)
    alive = np.array([not rule for rule in rules])
    ranks = _ranks(table, columns, config.keep_copy)
    steps = ("url", "exact") if config.exact_duplicates else ()
    for rule in (*steps, "near") if config.near_duplicates else steps:
        chosen = np.flatnonzero(alive)
        twins = chosen[_twins(rule, table, columns, chosen, ranks[chosen], config)]
        for index, twin in zip(chosen.tolist(), twins.tolist(), strict=True):
            if index != twin:
                selection.duplicates[ids[index]] = (rule, ids[twin])
                rules[index] = f"{rule}:duplicate"
                alive[index] = False
    if config.outliers.max_kl:
        _drop_outliers(parts, config, selection, ids, rules, alive)
    words = table["words"].to_numpy().copy()
    if config.max_line_copies:
        _take_lines(table, config, selection, alive, words)
        for index in np.flatnonzero(alive & (words == 0)).tolist():
            selection.emptied.add(ids[index])
            rules[index], alive[index] = "lines:nothing left", False
    kept = np.flatnonzero(alive).tolist()
    if not kept:
        common = ", ".join(f"{rule} ({count})" for rule, count in group_rules(rules).most_common(3))
        raise DataError(
            f"expected documents to keep, came {len(rules)} and all were dropped: {common}; relax the rules"
        )
    selection.heldout = choose_heldout(
        ((ids[index], columns["source"][index]) for index in kept), seed, config.heldout_fraction, config.heldout_min
    )
    selection.funnel = _funnel(table, rules, config, decontaminated, words)
    selection.counts = _counts(table, columns, rules, kept, words, selection)
    return selection


def _drop_outliers(
    parts: list[Path],
    config: CurateConfig,
    selection: Selection,
    ids: list[str],
    rules: list[str],
    alive: NDArray[np.bool_],
) -> None:
    """Two passes over the parts: count the words of what is alive, then judge each; copies have no vote."""
    starts = np.cumsum([0, *(pq.read_metadata(part).num_rows for part in parts)]).tolist()
    spans = [slice(start, end) for start, end in itertools.pairwise(starts)]
    corpus = selection.corpus = Corpus()
    for part, span in zip(parts, spans, strict=True):
        corpus.merge(count(part, alive[span]))
    for part, span in zip(parts, spans, strict=True):
        scores = score(part, alive[span], corpus, config.outliers)
        for offset in np.flatnonzero(scores > config.outliers.max_kl).tolist():
            index = span.start + offset
            rule = f"outliers:unusual words ({scores[offset]:.2f} nats a word)"
            selection.outliers[ids[index]] = rules[index] = rule
            alive[index] = False


def _take_lines(
    table: pa.Table, config: CurateConfig, selection: Selection, alive: NDArray[np.bool_], words: NDArray[np.int64]
) -> None:
    """Find the common lines of what is alive, and take their words off `words`."""
    chosen = np.flatnonzero(alive)
    keys = [np.frombuffer(packed, np.uint64) for packed in table["line_keys"].take(chosen).to_pylist()]
    counts = [np.frombuffer(packed, np.int32) for packed in table["line_words"].take(chosen).to_pylist()]
    selection.common_lines = common_keys(keys, config.max_line_copies)
    for index, mine, number in zip(chosen.tolist(), keys, counts, strict=True):
        words[index] -= int(number[np.isin(mine, selection.common_lines)].sum())


def group_rules(rules: list[str]) -> Counter[str]:
    """How often each rule dropped, details in brackets left out."""
    return Counter(rule_group(rule) for rule in rules if rule)


def rule_group(rule: str) -> str:
    """A rule without the details in brackets: "read:truncated record (5 of 9 bytes)" -> "read:truncated record"."""
    return rule.partition(" (")[0]


def _read_columns(parts: list[Path]) -> pa.Table:
    names = [name for name in pq.read_schema(parts[0]).names if name not in _TEXT_COLUMNS]
    return pa.concat_tables([pq.ParquetFile(part).read(columns=names) for part in parts])


def _rename(columns: dict[str, list[str]]) -> dict[tuple[str, str], str]:
    """Give the second and later copy of a record (same address, date and bytes) an id of its own, in `columns` too."""
    by_id: dict[str, list[int]] = defaultdict(list)
    for index, identifier in enumerate(columns["id"]):
        by_id[identifier].append(index)
    renamed = {}
    for identifier, members in by_id.items():
        members.sort(key=lambda index: (columns["source"][index], columns["locator"][index]))
        for number, index in enumerate(members[1:], 2):
            columns["id"][index] = f"{identifier}-{number}"
            renamed[columns["source"][index], columns["locator"][index]] = columns["id"][index]
    return renamed


def _check_readable(rules: list[str]) -> None:
    if not any(not rule.startswith("read:") for rule in rules):
        reasons = ", ".join(f"{rule.removeprefix('read:')} ({n})" for rule, n in group_rules(rules).most_common(3))
        raise DataError(f"expected at least one document, came {len(rules)} records that cannot be read: {reasons}")


def _ranks(table: pa.Table, columns: dict[str, list[str]], keep: str) -> NDArray[np.int64]:
    """Place of each row in the order of who stays: by (source, id), before that by length or by date if so asked."""
    order = sorted(range(len(table)), key=lambda index: (columns["source"][index], columns["id"][index]))
    if keep == "longest":
        words = table["words"].to_pylist()
        order.sort(key=lambda index: -words[index])
    elif keep == "newest":
        order.sort(key=lambda index: columns["date"][index], reverse=True)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _twins(
    rule: str,
    table: pa.Table,
    columns: dict[str, list[str]],
    chosen: NDArray[np.int64],
    ranks: NDArray[np.int64],
    config: CurateConfig,
) -> NDArray[np.int64]:
    """For each of the `chosen` rows the position in `chosen` of the one that stays for it."""
    if rule == "url":
        keys = [url_key(columns["url"][index]) for index in chosen]
        return url_twins(keys, [columns["date"][index] for index in chosen], ranks)
    if rule == "exact":
        return exact_twins(table["exact"].take(chosen).to_pylist(), ranks)
    width = config.minhash.bands * config.minhash.rows
    packed = b"".join(table["signature"].take(chosen).to_pylist())
    return near_twins(np.frombuffer(packed, np.uint32).reshape(-1, width), ranks, config.minhash)


def _funnel(
    table: pa.Table, rules: list[str], config: CurateConfig, decontaminated: bool, words_left: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Documents and words left after each step; words are of the text as it is at that step."""
    steps = ["read", "extract", "language", *config.rules]
    steps += ["decontaminate"] if decontaminated else []
    steps += ["url", "exact"] if config.exact_duplicates else []
    steps += ["near"] if config.near_duplicates else []
    steps += ["outliers"] if config.outliers.max_kl else []
    steps += ["lines"] if config.max_line_copies else []
    place = {name: number for number, name in enumerate(steps)}
    fell = np.array([place[rule.partition(":")[0]] if rule else len(steps) for rule in rules])
    seen, extracted, final = (table[name].to_numpy() for name in ("words_seen", "words_extracted", "words"))
    changed_at = min((place[name] for name in LINE_RULES if name in place), default=len(steps))
    funnel: list[dict[str, Any]] = [{"name": "records found", "documents": len(rules), "tokens": int(seen.sum())}]
    for number, name in enumerate(steps):
        words = seen if name == "read" else final if number >= changed_at else extracted
        words = words_left if name == "lines" else words
        left = fell > number
        row = {"name": _STEP_NAMES[name], "documents": int(left.sum()), "tokens": int(words[left].sum())}
        funnel.append(row)
    return funnel


def _counts(
    table: pa.Table,
    columns: dict[str, list[str]],
    rules: list[str],
    kept: list[int],
    words: NDArray[np.int64],
    selection: Selection,
) -> dict[str, Any]:
    mix: dict[str, dict[str, dict[str, int]]] = {"source": {}, "lang": {}}
    for index in kept:
        for name, groups in mix.items():
            group = groups.setdefault(columns[name][index], {"documents": 0, "words": 0, "heldout": 0})
            group["documents"] += 1
            group["words"] += int(words[index])
            group["heldout"] += columns["id"][index] in selection.heldout
    chosen = pa.array(kept, pa.int64())
    masked = {name: int(np.sum(table[name].take(chosen).to_numpy())) for name in MASKED_COLUMNS}
    return {
        "records": len(rules),
        "kept": len(kept),
        "heldout": len(selection.heldout),
        "bytes_in": int(np.sum(table["bytes_in"].to_numpy())),
        "words_out": int(words[kept].sum()),
        "rejects": dict(sorted(group_rules(rules).items())),
        "mix": {name: dict(sorted(groups.items())) for name, groups in mix.items()},
        "masked": masked,
        "common_lines": len(selection.common_lines),
    }

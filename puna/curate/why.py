"""The whole story of one document: where it came from, what was measured of it, why it went, who stayed for it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from puna.base.errors import DataError, InputError
from puna.base.files import read_json
from puna.curate.classify.filter import FilterConfig, label_checks
from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.outliers import COUNTS_FILE, Corpus, is_counted
from puna.curate.rules.check import Check

_PLACES = {
    "kept": "documents-*.parquet",
    "held out": "heldout/documents-*.parquet",
    "dropped": "rejects/rejects-*.parquet",
}
_UNMEASURED = ("read", "extract", "language")


@dataclass(frozen=True)
class Story:
    """fate: kept, held out or dropped. rule: "step:reason" if dropped. twin: the document that stays for a duplicate.

    copies: what was dropped as duplicates of this one. checks: by rule, of the text as it is now; a rule before the one
    that dropped it has passed. unusual: the words furthest from the corpus's, how often each comes and its part in the
    divergence in nats, if outliers were asked for. row: id, url, source, lang, date, text and what else is kept.
    """

    fate: str
    row: dict[str, Any]
    rule: str
    twin: dict[str, Any] | None
    copies: list[dict[str, Any]]
    checks: list[tuple[str, Check]]
    unusual: list[tuple[str, int, float]] = field(default_factory=list)


def tell(folder: Path, wanted: str) -> Story:
    """The story of the document with the id or address `wanted` in a curate or filter artifact.

    Raises DataError if the folder is none, InputError if no document has this id or address.
    """
    if not (folder / "manifest.json").is_file():
        raise DataError(
            f"expected a finished curate stage at {folder}, found none; run puna curate INPUT... --out first"
        )
    manifest = read_json(folder / "manifest.json")
    found = next(_find(folder, ("id", "url"), wanted), None)
    if found is None:
        raise InputError(f"--why: expected the id or address of a document in {folder}, came {wanted!r}")
    fate, row = found
    rule, twin = row.get("rule", ""), None
    if row.get("twin"):
        twin = next((other for _, other in _find(folder, ("id",), row["twin"])), None)
    copies = [other for _, other in _find(folder, ("twin",), row["id"], dropped_only=True)]
    if manifest.get("kind") == "filter":
        by_labels = list(label_checks(FilterConfig.model_validate(manifest["config"]), row))
        return Story(fate, row, rule, twin, copies, by_labels)
    config = CurateConfig.model_validate(manifest["config"])
    checks, unusual = _checks(config, row, rule), list[tuple[str, int, float]]()
    if (folder / COUNTS_FILE).exists() and rule.partition(":")[0] not in _UNMEASURED:
        corpus = Corpus.load(folder / COUNTS_FILE)
        check = corpus.check(row["lang"], row["text"], config.outliers, is_counted(rule))
        checks += [("outliers", check)] if check else []
        unusual = corpus.unusual(row["lang"], row["text"], is_counted(rule)) if check else []
    return Story(fate, row, rule, twin, copies, checks, unusual)


def _find(
    folder: Path, columns: tuple[str, ...], wanted: str, dropped_only: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    for fate, pattern in _PLACES.items():
        if dropped_only and fate != "dropped":
            continue
        for path in sorted(folder.glob(pattern)):
            for column in columns:
                for row in pq.read_table(path, filters=[(column, "=", wanted)]).to_pylist():
                    yield fate, row


def _checks(config: CurateConfig, row: dict[str, Any], rule: str) -> list[tuple[str, Check]]:
    """Of what was dropped before the rules nothing is measured: its text is not what they would have seen."""
    step = rule.partition(":")[0]
    if step in _UNMEASURED:
        return []
    since = step if step in config.rules else ""
    form = row["form"] if "form" in row else json.loads(row["meta"]).get("form", "html")
    return list(Cleaner(config).checks(row["text"], row["lang"], form, since=since))

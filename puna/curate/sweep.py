"""What relaxing a threshold would keep: asked of the rejects before anyone decides.

A document counts for a threshold if this alone stands against it: it passes every other check of its rule and of the
rules behind. Whether it is a copy of another is not asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from puna.base.errors import DataError
from puna.base.files import read_json
from puna.curate.classify.filter import FilterConfig, label_checks
from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.outliers import COUNTS_FILE, Corpus, is_counted
from puna.curate.rules.check import Check
from puna.curate.words import count_words

STEPS = (0.1, 0.25, 0.5)
"""A threshold relaxed by these shares of itself."""


@dataclass
class Sweep:
    """One threshold: dropped by it first (documents, words), and of these by what it alone stands against.

    values: the statistic of each document that this check alone drops, with its words.
    """

    rule: str
    setting: str
    limit: float
    is_least: bool
    documents: int = 0
    words: int = 0
    values: list[tuple[float, int]] = field(default_factory=list)

    def kept_at(self, step: float | None) -> tuple[int, int]:
        """Documents and words that the threshold relaxed by `step` would keep; None: without it."""
        if step is None:
            return len(self.values), sum(words for _, words in self.values)
        limit = self.limit * (1 - step if self.is_least else 1 + step)
        kept = [words for value, words in self.values if (value >= limit if self.is_least else value <= limit)]
        return len(kept), sum(kept)


def sweep(folder: Path) -> list[Sweep]:
    """All thresholds that dropped something in a curate or filter artifact, those with most words to win first.

    Raises DataError if the folder is no finished stage.
    """
    if not (folder / "manifest.json").is_file():
        raise DataError(
            f"expected a finished curate stage at {folder}, found none; run puna curate INPUT... --out first"
        )
    manifest, found = read_json(folder / "manifest.json"), dict[tuple[str, str], Sweep]()
    read = _checked_labels if manifest.get("kind") == "filter" else _checked_texts
    for row, checks in read(folder, manifest["config"]):
        failed = [(name, check) for name, check in checks if check.failed]
        if not failed:  # C4 takes lines off: what is left of a page may pass when it is looked at again
            continue
        name, first = failed[0]
        one = found.setdefault((name, first.setting), _new(name, first))
        num_words = count_words(row["text"])
        one.documents, one.words = one.documents + 1, one.words + num_words
        if len({check.setting for _, check in failed}) == 1:
            one.values.append((first.value, num_words))
    return sorted(found.values(), key=lambda one: (-one.kept_at(None)[1], one.rule, one.setting))


Checked = Iterator[tuple[dict[str, Any], list[tuple[str, Check]]]]
"""Each reject with the checks from the one that dropped it on."""


def _checked_texts(folder: Path, settings: dict[str, Any]) -> Checked:
    """The rejects of a curate stage that a threshold dropped, measured again."""
    config = CurateConfig.model_validate(settings)
    cleaner = Cleaner(config)
    corpus = Corpus.load(folder / COUNTS_FILE) if (folder / COUNTS_FILE).exists() else Corpus()
    for row in _rejects(folder):
        rule = row["rule"].partition(":")[0]
        checks: list[tuple[str, Check]] = []
        if rule in config.rules:
            checks += cleaner.checks(row["text"], row["lang"], row["form"], since=rule)
        elif rule != "outliers":
            continue
        unusual = corpus.check(row["lang"], row["text"], config.outliers, is_counted(row["rule"]))
        yield row, checks + ([("outliers", unusual)] if unusual else [])


def _checked_labels(folder: Path, settings: dict[str, Any]) -> Checked:
    """The rejects of a filter stage, which keeps what its classifier said of them."""
    config = FilterConfig.model_validate(settings)
    yield from ((row, list(label_checks(config, row))) for row in _rejects(folder))


def _new(rule: str, check: Check) -> Sweep:
    is_least = check.value < check.least
    return Sweep(rule, check.setting, check.least if is_least else check.most, is_least)


def _rejects(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((folder / "rejects").glob("rejects-*.parquet")):
        yield from pq.ParquetFile(path).read().to_pylist()

"""What relaxing a threshold would keep: asked of the rejects before anyone decides.

A document counts for a threshold if this alone stands against it: it passes every other check of its rule and of the
rules behind. Whether it is a copy of another is not asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puna.base.errors import DataError
from puna.base.files import read_json
from puna.curate.audit.rejects import read_rejects
from puna.curate.classify.filter import FilterConfig, label_checks
from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.outliers import Corpus, is_counted
from puna.curate.rules.check import Check
from puna.curate.text.words import count_words

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
        limit = relaxed(self.limit, self.is_least, step)
        kept = [words for value, words in self.values if (value >= limit if self.is_least else value <= limit)]
        return len(kept), sum(kept)


def sweep(folder: Path) -> list[Sweep]:
    """All thresholds that dropped something in a curate or filter artifact, those with most words to win first.

    Raises DataError if the folder is no finished stage.
    """
    found = dict[tuple[str, str], Sweep]()
    for row, verdict in _verdicts(folder):
        one = found.setdefault((verdict.rule, verdict.check.setting), _new(verdict.rule, verdict.check))
        words = count_words(row["text"])
        one.documents, one.words = one.documents + 1, one.words + words
        if verdict.is_alone:
            one.values.append((verdict.check.value, words))
    return sorted(found.values(), key=lambda one: (-one.kept_at(None)[1], one.rule, one.setting))


def _verdicts(folder: Path) -> Iterator[tuple[dict[str, Any], "Verdict"]]:
    """The rejects that a threshold dropped: measured again, but a filter keeps what its classifier said."""
    config = settings_of(folder)
    if isinstance(config, FilterConfig):
        verdicts = ((row, verdict_of(list(label_checks(config, row)))) for row in read_rejects(folder))
    else:
        cleaner, corpus = Cleaner(config), Corpus.of(folder)
        verdicts = ((row, judge(cleaner, row, corpus)) for row in read_rejects(folder))
    yield from ((row, verdict) for row, verdict in verdicts if verdict is not None)


def settings_of(folder: Path) -> CurateConfig | FilterConfig:
    """What a curate or filter artifact was made with. Raises DataError if the folder is none."""
    if not (folder / "manifest.json").is_file():
        raise DataError(
            f"expected a finished curate stage at {folder}, found none; run puna curate INPUT... --out first"
        )
    manifest = read_json(folder / "manifest.json")
    config = manifest["config"]
    if manifest.get("kind") == "filter":
        return FilterConfig.model_validate(config)
    fitted = read_json(folder / "report.json").get("by_language")
    return CurateConfig.model_validate(config | ({"by_language": fitted} if fitted else {}))


@dataclass(frozen=True)
class Verdict:
    """The check that dropped a document, and whether nothing else stands against it."""

    rule: str
    check: Check
    is_alone: bool

    def passes(self, step: float) -> bool:
        """Whether the document would stay with this threshold relaxed by a share of itself."""
        check = self.check
        return relaxed(check.least, True, step) <= check.value <= relaxed(check.most, False, step) and self.is_alone


def relaxed(limit: float, is_least: bool, step: float) -> float:
    """A threshold relaxed by a share of itself."""
    return limit * (1 - step if is_least else 1 + step)


def judge(cleaner: Cleaner, row: dict[str, Any], corpus: Corpus) -> Verdict | None:
    """Look at a reject again; None if no threshold dropped it. `corpus`: the words that unusual ones are judged by.

    C4 takes lines off: what is left of a page may pass when it is looked at again, and is none of these either.
    """
    rule, config = row["rule"].partition(":")[0], cleaner.config
    if rule not in (*config.rules, "outliers"):
        return None
    checks = list(cleaner.checks(row["text"], row["lang"], row["form"], since=rule)) if rule != "outliers" else []
    unusual = corpus.check(row["lang"], row["text"], config.outliers, is_counted(row["rule"]))
    checks += [("outliers", unusual)] if unusual else []
    return verdict_of(checks)


def verdict_of(checks: list[tuple[str, Check]]) -> Verdict | None:
    """The first of these checks, by rule, that fails."""
    failed = [(name, check) for name, check in checks if check.failed]
    if not failed:
        return None
    return Verdict(*failed[0], is_alone=len({check.setting for _, check in failed}) == 1)


def _new(rule: str, check: Check) -> Sweep:
    is_least = check.value < check.least
    return Sweep(rule, check.setting, check.least if is_least else check.most, is_least)

"""The stage `thresholds`: clean reference text -> thresholds of the rules for each language (after FineWeb-2, 2025).

A threshold of a rule was found on English. What it says there, so many standard deviations from the mean of clean text,
or such a multiple of its median, is said of the other language's clean text. Stop words are its commonest words.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import Field

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_documents, read_jsonl
from puna.curate.clean import Cleaner, CurateConfig, RuleName
from puna.curate.text.words import Words

THRESHOLDS_FILE = "thresholds.yaml"
_KEPT = ("min_words", "max_words", "min_stop_words")
"""They say how long the reference documents are, not what the language is like; stop words get a list of their own."""
_MAX_LISTED = 40
_MAX_WITHOUT = 0.1


class ThresholdsConfig(Config):
    """method: how an English threshold is carried over. rules: those whose thresholds are; as set in `like`.

    anchor: the language that the thresholds were found on. min_documents: a language with fewer is left as it is.
    stop_word_share: a word that is at least this share of all words is a stop word, or else the `min_stop_words` first;
    where a tenth of the reference has fewer than two of them, as in scripts without spaces, none is asked for.
    """

    method: Literal["mean_std", "median_ratio"] = "median_ratio"
    rules: tuple[RuleName, ...] = ("gopher_quality", "gopher_repetition", "fineweb")
    like: CurateConfig = Field(default_factory=lambda: CurateConfig.model_validate({}))
    anchor: str = "en"
    min_documents: int = Field(50, ge=2)
    stop_word_share: float = Field(0.008, gt=0, lt=1)
    min_stop_words: int = Field(8, ge=1)


Statistics = dict[tuple[str, str, bool], list[float]]
"""Values by rule, setting and whether the threshold is a least one."""


def run(config: ThresholdsConfig, inputs: Inputs, out: StageOutput) -> None:
    """From `reference`: documents artifacts, or JSONL files with `text` and `lang`, to thresholds.yaml.

    Raises DataError if the anchor or every other language has too few documents.
    """
    texts = _read(inputs.many("reference"))
    fitted = fit(texts, config)
    if not out.done(THRESHOLDS_FILE):
        with out.unit(THRESHOLDS_FILE) as unit:
            unit.path.write_text(yaml.safe_dump({"by_language": fitted}, allow_unicode=True, sort_keys=True))
    limits = _limits(config)
    rows: list[list[Any]] = []
    for language, rules in sorted(fitted.items()):
        for rule, settings in sorted(rules.items()):
            for name, value in sorted(settings.items()):
                if name == "stop_words":
                    rows.append([language, rule, name, "its own", " ".join(value[:_MAX_LISTED])])
                else:
                    rows.append([language, rule, name, limits[rule][name], value])
    columns = ["language", "rule", "setting", f"in {config.anchor}", "here"]
    out.panel("table", "Thresholds by language", columns=columns, rows=rows, note=f"method: {config.method}")
    out.metric(languages=len(fitted), documents=sum(len(mine) for mine in texts.values()))


def fit(texts: dict[str, list[str]], config: ThresholdsConfig) -> dict[str, dict[str, dict[str, Any]]]:
    """Settings by language and rule, in the form of `by_language` of the curate stage; texts by language."""
    if len(texts.get(config.anchor, ())) < config.min_documents:
        raise DataError(
            f"expected at least {config.min_documents} reference documents in {config.anchor}, "
            f"came {len(texts.get(config.anchor, ()))}"
        )
    others = [name for name in sorted(texts) if name != config.anchor and len(texts[name]) >= config.min_documents]
    if not others:
        counts = ", ".join(f"{name} ({len(mine)})" for name, mine in sorted(texts.items())[:6])
        raise DataError(f"expected a language with {config.min_documents} reference documents, came {counts}")
    anchor = _statistics(texts[config.anchor], config.anchor, config)
    limits = _limits(config)
    fitted: dict[str, dict[str, dict[str, Any]]] = {}
    for language in others:
        stop_words = _stop_words(texts[language], config)
        rules: dict[str, dict[str, Any]] = defaultdict(dict)
        if "gopher_quality" in config.rules:
            rules["gopher_quality"] |= stop_words
        for (rule, setting, is_least), values in _statistics(texts[language], language, config).items():
            limit = limits[rule].get(setting)
            if limit is not None and setting not in _KEPT and (rule, setting, is_least) in anchor:
                carried = _METHODS[config.method](limit, anchor[rule, setting, is_least], values)
                rules[rule][setting] = _no_stricter(carried, limit, is_least)
        fitted[language] = dict(rules)
    return fitted


def _read(paths: Iterable[Path]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if path.is_dir():
            for document in read_documents(path):
                texts[document.lang].append(document.text)
        else:
            for number, row in enumerate(read_jsonl(path), 1):
                if not isinstance(row.get("text"), str) or not isinstance(row.get("lang"), str):
                    raise DataError(f'{path}:{number}: expected strings "text" and "lang", came keys {sorted(row)}')
                texts[row["lang"]].append(row["text"])
    return texts


def _statistics(texts: list[str], language: str, config: ThresholdsConfig) -> Statistics:
    """What every check measures of these texts."""
    cleaner = Cleaner(config.like.model_copy(update={"rules": config.rules, "by_language": {}}))
    values: Statistics = defaultdict(list)
    for text in texts:
        for rule, check in cleaner.checks(text, language):
            values[rule, check.setting, np.isinf(check.most)].append(check.value)
    return values


def _limits(config: ThresholdsConfig) -> dict[str, dict[str, float]]:
    """Thresholds that are one number, by rule."""
    settings = config.like.model_dump()
    return {
        rule: {
            name: value
            for name, value in settings[rule].items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        for rule in config.rules
        if isinstance(settings.get(rule), dict)
    }


def _mean_std(limit: float, anchor: list[float], values: list[float]) -> float:
    spread = statistics.pstdev(anchor)
    away = (limit - statistics.fmean(anchor)) / spread if spread else 0.0
    return statistics.fmean(values) + away * statistics.pstdev(values) if spread else limit


def _median_ratio(limit: float, anchor: list[float], values: list[float]) -> float:
    middle = statistics.median(anchor)
    return limit * statistics.median(values) / middle if middle else limit


_METHODS = {"mean_std": _mean_std, "median_ratio": _median_ratio}


def _no_stricter(carried: float, limit: float, is_least: bool) -> float:
    """Four digits; a least threshold of zero or more never falls below zero, and English's own is the strictest."""
    loosest = max(0.0, min(carried, limit)) if is_least else max(carried, limit)
    return float(f"{loosest:.4g}")


def _stop_words(texts: list[str], config: ThresholdsConfig) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    per_text = []
    for text in texts:
        words = Words(text)
        ends = words.starts + words.lengths
        spans = zip(words.starts[words.is_word].tolist(), ends[words.is_word].tolist(), strict=True)
        mine = [text[start:end].lower() for start, end in spans]
        counts.update(mine)
        per_text.append(set(mine))
    ranked = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if not word.isdigit()]
    common = [word for word in ranked if counts[word] >= config.stop_word_share * counts.total()]
    chosen = common if len(common) >= config.min_stop_words else ranked[: config.min_stop_words]
    asked = config.like.gopher_quality.min_stop_words
    enough = sum(len(mine & set(chosen)) >= asked for mine in per_text)
    return {"stop_words": chosen} if enough >= (1 - _MAX_WITHOUT) * len(texts) else {"min_stop_words": 0}

"""How well curation did where the truth is known (the village's truth.jsonl): precision, recall, and text quality."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.base.errors import DataError
from puna.base.records import read_jsonl
from puna.curate.dedup.twins import url_key

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class Fate:
    """What became of a page: kept with its text, or dropped by a rule."""

    url: str
    date: str
    kept: bool
    text: str = ""
    rule: str = ""


def compare(fates: Iterable[Fate], truth_file: Path) -> dict[str, Any]:
    """Compare with the truth: rows of url, date (if an address occurs twice), keep, dirt, duplicate_of (a url), text.

    precision: of the pages kept, the share that should be; recall: of those that should be, the share kept. A page and
    its copies count as one page that should be kept once, whichever of them stays; each further one kept is an error.
    dirt: by kind, how many pages should go, how many did, and how many of those that may stay were kept.
    extraction_f1: mean F1 over words of the kept text against the true text. Raises DataError for a row without url.
    """
    truth = read_truth(truth_file)
    found = _by_page(fates, truth)
    clusters: dict[str, list[str]] = defaultdict(list)
    originals = {url_key(row["url"]): key for key, row in sorted(truth.items(), key=lambda item: item[1]["keep"])}
    for key in truth:
        clusters[_original(key, truth, originals)].append(key)
    right = wrong = missed = 0
    dirt: dict[str, Counter[str]] = defaultdict(Counter)
    for members in clusters.values():
        should = any(truth[key]["keep"] for key in members)
        num_kept = sum(key in found and found[key].kept for key in members)
        right += min(num_kept, 1) if should else 0
        wrong += max(num_kept - 1, 0) if should else num_kept
        missed += should and not num_kept
        _count_dirt(members, truth, found, num_kept, dirt)
    kept = {key: fate for key, fate in found.items() if fate.kept and truth[key].get("text")}
    scores = [word_f1(fate.text, truth[key]["text"]) for key, fate in sorted(kept.items())]
    return {
        "pages": len(truth),
        "pages_unread": sum(key not in found for key in truth),
        "precision": right / (right + wrong) if right + wrong else 0.0,
        "recall": right / (right + missed) if right + missed else 0.0,
        "extraction_f1": sum(scores) / len(scores) if scores else 0.0,
        "extraction_pages": len(scores),
        "dirt": {kind: dict(sorted(counts.items())) for kind, counts in sorted(dirt.items())},
        "wrong_rules": _wrong_rules(truth, found),
    }


def word_f1(text: str, truth: str) -> float:
    """F1 over words counted with repetition (a Chinese character is a word)."""
    ours, theirs = Counter(_TOKEN.findall(text)), Counter(_TOKEN.findall(truth))
    common = (ours & theirs).total()
    return 2 * common / (ours.total() + theirs.total()) if common else 0.0


def read_truth(file: Path) -> dict[str, dict[str, Any]]:
    """Rows by page: address and date. Of rows with the same, one that should be kept goes before."""
    truth: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(read_jsonl(file), 1):
        if not isinstance(row.get("url"), str) or not isinstance(row.get("keep"), bool):
            raise DataError(f'{file}:{number}: expected a row with "url" and a boolean "keep", came keys {sorted(row)}')
        key = page_key(row["url"], row.get("date") or "")
        if key not in truth or (row["keep"] and not truth[key]["keep"]):
            truth[key] = row
    return truth


def find_page(truth: dict[str, dict[str, Any]], url: str, date: str) -> str | None:
    """The key of a page in `truth`: by address and date, or by address alone where the truth has no dates."""
    return next((key for one in (date, "") if (key := page_key(url, one)) in truth), None)


def page_key(url: str, date: str) -> str:
    """What names a page of the truth."""
    return f"{url_key(url)} {date}"


def _by_page(fates: Iterable[Fate], truth: dict[str, dict[str, Any]]) -> dict[str, Fate]:
    """The fate of each page of the truth that was read; a page of several records counts as kept if one is."""
    found: dict[str, Fate] = {}
    for fate in fates:
        key = find_page(truth, fate.url, fate.date)
        if key is not None and (key not in found or fate.kept):
            found[key] = fate
    return found


def _original(key: str, truth: dict[str, dict[str, Any]], originals: dict[str, str]) -> str:
    """The page that a copy, or a copy of a copy, goes back to; `originals` leads from an address to its best page."""
    seen = {key}
    while (parent := originals.get(url_key(truth[key].get("duplicate_of") or ""), "")) and parent not in seen:
        seen.add(parent)
        key = parent
    return key


def _kinds(row: dict[str, Any]) -> list[str]:
    dirt = row.get("dirt") or []
    return [dirt] if isinstance(dirt, str) else list(dirt)


def _count_dirt(
    members: list[str],
    truth: dict[str, dict[str, Any]],
    found: dict[str, Fate],
    num_kept: int,
    dirt: dict[str, Counter[str]],
) -> None:
    copies = [key for key in members if truth[key].get("duplicate_of")]
    surplus = max(0, num_kept - (len(members) - len(copies)))
    for key in members:
        row, kept = truth[key], key in found and found[key].kept
        for kind in _kinds(row):
            counts = dirt[kind]
            counts["pages"] += 1
            if row["keep"]:
                counts["may_stay"] += 1
                counts["stayed"] += kept
                continue
            counts["should_go"] += 1
            if key in copies:
                # Of a page and its copies any one may stay: only those beyond that are missed.
                counts["went"] += 1 if surplus == 0 else 0
                surplus = max(0, surplus - 1)
            else:
                counts["went"] += not kept


def _wrong_rules(truth: dict[str, dict[str, Any]], found: dict[str, Fate]) -> dict[str, int]:
    """Which rules dropped pages that should be kept, duplicates left out."""
    wrong = Counter(
        found[key].rule.partition(" (")[0]
        for key, row in truth.items()
        if row["keep"] and key in found and not found[key].kept and not found[key].rule.endswith(":duplicate")
    )
    return dict(wrong.most_common())

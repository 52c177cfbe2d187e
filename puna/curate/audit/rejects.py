"""What was dropped: every reject of an artifact, and fifty of each rule to read."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from puna.base.errors import DataError, InputError
from puna.base.records import read_jsonl
from puna.curate.columns import rule_group

SAMPLES_FILE = "rejects/samples.jsonl"
NUM_SAMPLES = 50
_SAMPLE_CHARS = 1000
_BATCH = 256


def read_rejects(folder: Path) -> Iterator[dict[str, Any]]:
    """The rejects of a curate artifact, by shard and id: id, url, source, rule, twin, text, date, lang, form."""
    for path in sorted((folder / "rejects").glob("rejects-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(_BATCH):
            yield from batch.to_pylist()


def write_samples(folder: Path, path: Path) -> None:
    """The first fifty rejects of each rule, as JSON lines; ids are hashes, so these are fifty by chance."""
    taken: Counter[str] = Counter()
    with open(path, "w", encoding="utf-8") as file:
        for row in read_rejects(folder):
            group = rule_group(row["rule"])
            taken[group] += 1
            if taken[group] <= NUM_SAMPLES:
                sample = {name: row[name] for name in ("id", "url", "source", "rule", "twin", "lang")}
                file.write(json.dumps({**sample, "text": row["text"][:_SAMPLE_CHARS]}, ensure_ascii=False) + "\n")


def read_samples(folder: Path, rule: str = "") -> dict[str, list[dict[str, Any]]]:
    """Samples by rule, those of most rejects first; only of rules that begin with `rule`.

    Raises DataError if the folder is no finished curate stage, InputError if no reject has such a rule.
    """
    if not (folder / SAMPLES_FILE).is_file():
        raise DataError(
            f"expected a finished curate stage at {folder}, found none; run puna curate INPUT... --out first"
        )
    samples: dict[str, list[dict[str, Any]]] = {}
    for row in read_jsonl(folder / SAMPLES_FILE):
        samples.setdefault(rule_group(row["rule"]), []).append(row)
    chosen = {group: rows for group, rows in samples.items() if group.startswith(rule)}
    if rule and not chosen:
        raise InputError(f"expected a rule that dropped something ({', '.join(samples) or 'none did'}), came {rule!r}")
    return dict(sorted(chosen.items(), key=lambda item: (-len(item[1]), item[0])))

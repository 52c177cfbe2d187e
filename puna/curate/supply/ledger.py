"""The books of a corpus, a line a source: what came in, what was kept, what was lost to what, and what it cost.

Words add up: those that extraction found are kept, or went with documents that were dropped, or with lines.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from puna.curate.audit.sweep import judge
from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.outliers import Corpus
from puna.curate.select import Selection
from puna.curate.text.words import count_words

COPIES = ("url", "exact", "near")
LINES = "lines"
RELAXED_BY = 0.1
MAX_LOOKED_AT = 2000


def make_ledger(selection: Selection) -> dict[str, dict[str, Any]]:
    """By source: records, bytes, words extracted, documents and words kept, and [documents, words] lost by step."""
    columns, kept = selection.columns, selection.kept
    steps = [name.partition(":")[0] for name in columns.rule.names]
    shape = (len(columns.source.names), len(steps))
    cells = columns.source.of_row.astype(np.int64) * shape[1] + selection.rules
    documents = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    words = np.bincount(cells, columns.words_extracted, shape[0] * shape[1]).reshape(shape)
    left = np.bincount(columns.source.of_row[kept], selection.words[kept], shape[0])
    stayed = steps.index("")
    ledger = {}
    for number, source in enumerate(columns.source.names):
        lost: dict[str, list[int]] = {}
        for rule, step in enumerate(steps):
            if rule != stayed and documents[number, rule]:
                total = lost.setdefault(step, [0, 0])
                total[0] += int(documents[number, rule])
                total[1] += int(words[number, rule])
        lost.setdefault(LINES, [0, 0])[1] += int(words[number, stayed] - left[number])
        ledger[source] = {
            "records": int(documents[number].sum()),
            "bytes": columns.bytes_of_source[source],
            "words_extracted": int(words[number].sum()),
            "documents": int(documents[number, stayed]),
            "words": int(left[number]),
            "lost": dict(sorted(lost.items())),
        }
    return dict(sorted(ledger.items()))


def relaxed_words(rows: Iterable[dict[str, Any]], config: CurateConfig, corpus: Corpus) -> dict[str, int]:
    """By source: the words that every threshold relaxed by a tenth would keep of these rejects.

    corpus: the words that unusual ones are judged by.

    Of more than 2,000 rejects by rules the first ones are looked at, and the rest is taken to be like them.
    """
    cleaner = Cleaner(config)
    seen, looked_at, won = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        if row["rule"].partition(":")[0] not in (*config.rules, "outliers"):
            continue
        source = row["source"]
        seen[source] += 1
        if looked_at.total() >= MAX_LOOKED_AT:
            continue
        looked_at[source] += 1
        verdict = judge(cleaner, row, corpus)
        if verdict is not None and verdict.passes(RELAXED_BY):
            won[source] += count_words(row["text"])
    return {source: round(won[source] * seen[source] / max(1, looked_at[source])) for source in sorted(seen)}


def ledger_panels(ledger: dict[str, dict[str, Any]], seconds: dict[str, float]) -> list[dict[str, Any]]:
    """The ledger as a table and a figure; `seconds` of cleaning by source."""
    sources = sorted(ledger, key=lambda source: -ledger[source]["words"])
    rows, items = [], []
    for source in sources:
        book = ledger[source]
        lost = {name: words for name, (_, words) in book["lost"].items()}
        copies = sum(lost.get(name, 0) for name in COPIES)
        others = sum(lost.values()) - copies - lost.get(LINES, 0)
        cost = round(seconds.get(source, 0.0), 2)
        counts = [book["records"], book["documents"], book["words"], others, copies, lost.get(LINES, 0)]
        rows.append([source, *counts, book["relaxed"], cost])
        groups = {"kept": book["words"], "lost to rules": others, "lost as copies": copies}
        items += [{"label": source, "group": group, "value": value} for group, value in groups.items()]
    columns = ["source", "records", "documents kept", "words kept", "lost to rules", "lost as copies", "lost in lines"]
    columns += [f"every threshold {RELAXED_BY:.0%} looser adds", "seconds"]
    return [
        {"kind": "bars", "title": "Supply by source", "unit": "words", "items": items},
        {"kind": "table", "title": "Ledger by source, in words", "columns": columns, "rows": rows},
    ]

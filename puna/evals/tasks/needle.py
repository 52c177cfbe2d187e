"""Needle in a haystack: a fact planted at a depth of a long text must be told at its end, greedily, to the last digit.

Facts of the same form are planted beside it, so a model has to look for the one that is asked (`puna/needle`). The
haystack is held-out text, the facts are in no training text. A chat model goes on with the text like a base model.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from puna.base.errors import ConfigError, DataError
from puna.base.records import read_documents
from puna.evals.candidate import Candidate
from puna.evals.items import ItemResult
from puna.evals.tasks.spec import TaskConfig, TaskResult, accuracy
from puna.needle.find import Cell, greedy_answers, heat_map, is_found
from puna.needle.plant import Haystack, NeedleItem, Pages, needle_items
from puna.tokenizer import Tokenizer
from puna.tokenizer.shards import INDEX_FILE, TokenShards

SHOWN = 300
"""Characters of the end of a prompt that are kept in items.parquet."""


def evaluate(config: TaskConfig, paths: Sequence[Path], candidate: Candidate) -> TaskResult:
    """Look for needles of every length and depth. Raises ConfigError for lengths beyond the context, DataError without
    documents."""
    lengths = config.lengths or [candidate.context]
    if max(lengths) > candidate.context:
        raise ConfigError(
            f"{config.name}.lengths: expected at most the {candidate.context} positions of the model, came "
            f"{max(lengths)}"
        )
    haystack = Haystack([_pages(path, candidate.tokenizer) for path in paths], candidate.tokenizer)
    items = [
        item
        for length in lengths
        for item in needle_items(haystack, config.needles, length, config.depths, config.per_depth)
    ]
    answers = greedy_answers(candidate.engine.model, items, candidate.on_progress)
    results = [_result(config.name, *pair, candidate.tokenizer) for pair in zip(items, answers, strict=True)]
    by_length = defaultdict[int, list[ItemResult]](list)
    for item, result in zip(items, results, strict=True):
        by_length[item.length].append(result)
    settings: dict[str, Any] = {"facts": config.needles.facts, "depths": len(config.depths)}
    scores = [accuracy(config.name, results, **settings)]
    scores += [accuracy(config.name, of, f"accuracy/{length}", **settings) for length, of in sorted(by_length.items())]
    return TaskResult(results, scores)


def panel(results: Sequence[ItemResult], title: str) -> dict[str, Any]:
    """A heat map of what was found, by length and depth."""
    places = [json.loads(result.details) for result in results]
    counts = Counter((one["length"], one["depth"]) for one in places)
    found = Counter((one["length"], one["depth"]) for one, r in zip(places, results, strict=True) if r.value)
    return heat_map([Cell(*place, found[place], n) for place, n in counts.items()], title)


def _result(task: str, item: NeedleItem, answer: list[int], tokenizer: Tokenizer) -> ItemResult:
    found = is_found(item, answer, tokenizer)
    prompt = tokenizer.decode(item.prompt, skip_special=True)[-SHOWN:]
    verdict, reason = ("correct", "") if found else ("wrong", "another value")
    output = tokenizer.decode(answer)
    return ItemResult(
        task, item.id, f"{item.length} tokens, depth {item.depth:.0%}", prompt, output, item.value, verdict, reason,
        float(found), 1.0, json.dumps({"length": item.length, "depth": item.depth, "at": item.at}),
    )  # fmt: skip


class _Encoded:
    """Documents that were text, as ids."""

    def __init__(self, ids: list[list[int]]) -> None:
        self._ids = [np.array(one, np.int64) for one in ids]

    def __len__(self) -> int:
        return len(self._ids)

    def document(self, number: int) -> np.ndarray:
        return self._ids[number]


def _pages(path: Path, tokenizer: Tokenizer) -> Pages:
    if (path / INDEX_FILE).is_file():
        return TokenShards(path, tokenizer.fingerprint)
    texts = [document.text for document in read_documents(path) if document.text]
    if not texts:
        raise DataError(f"{path}: expected documents to plant needles in, found none")
    return _Encoded(tokenizer.encode_batch(texts))

"""Bits per byte of held-out documents, by source: comparable between tokenizers, unlike the loss per token.

    sum over tokens of -log2 P(token | document so far)  /  UTF-8 bytes of the text

Each document is on its own (what document-masked training sees), after <|begin_of_text|>; the end token is not counted.
Documents longer than the window are read in windows that overlap by half, so that every token but the first ones has
at least half a window before it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from puna.base.errors import DataError
from puna.base.records import read_documents
from puna.evals.candidate import Candidate
from puna.evals.items import ItemResult, Score, choose
from puna.evals.statistics import ratio_interval
from puna.evals.tasks.spec import TaskConfig, TaskResult
from puna.tokenizer.shards import INDEX_FILE, TokenShards

SHOWN = 300
"""Characters of a document that are kept in items.parquet."""


@dataclass(frozen=True)
class Text:
    """A document to be read: ids with <|begin_of_text|>, without the end."""

    id: str
    source: str
    ids: Sequence[int]
    text: str


def evaluate(config: TaskConfig, paths: Sequence[Path], candidate: Candidate) -> TaskResult:
    """Read held-out documents (Parquet, with sources) or held-out token shards.

    Raises DataError if there are none, ArtifactError for shards of another tokenizer.
    """
    texts = choose([text for path in paths for text in _texts(path, candidate)], config.limit)
    window = min(config.window or candidate.context, candidate.context)
    pieces = [(i, *piece) for i, text in enumerate(texts) for piece in windows(len(text.ids), window)]
    prompts = [texts[i].ids[start:split] for i, start, split, _ in pieces]
    scores = candidate.engine.score(prompts, [texts[i].ids[split:stop] for i, _, split, stop in pieces])
    bits = np.zeros(len(texts))
    for (i, *_), values in zip(pieces, scores):
        bits[i] -= values.sum(dtype=np.float64) / math.log(2)
    results = [
        ItemResult(
            config.name, t.id, t.source, t.text[:SHOWN], "", "", "", "", float(b), float(len(t.text.encode())), ""
        )
        for t, b in zip(texts, bits)
    ]
    settings = {"window": window}
    scores_of_parts = [_score(config.name, "bits_per_byte", results, settings)]
    sources = sorted({result.subject for result in results if result.subject})
    for source in sources if len(sources) > 1 else []:
        part = [result for result in results if result.subject == source]
        scores_of_parts.append(_score(config.name, f"bits_per_byte/{source}", part, settings))
    return TaskResult(results, scores_of_parts)


def windows(num_tokens: int, window: int) -> list[tuple[int, int, int]]:
    """(start, split, stop): ids[split:stop] are scored after ids[start:split]; each but the first is scored once."""
    if num_tokens < 2:
        return []
    # `score` feeds all but the last token, so a window of W inputs reaches W + 1 tokens.
    pieces = [(0, 1, min(num_tokens, window + 1))]
    half = max(1, window // 2)
    while pieces[-1][2] < num_tokens:
        split = pieces[-1][2]
        stop = min(num_tokens, split + half)
        pieces.append((max(0, stop - window - 1), split, stop))
    return pieces


def _score(task: str, metric: str, results: Sequence[ItemResult], settings: dict[str, int]) -> Score:
    bits, num_bytes = [result.value for result in results], [result.weight for result in results]
    return Score(
        task, metric, sum(bits) / sum(num_bytes), ratio_interval(bits, num_bytes), len(results), dict(settings)
    )


def _texts(path: Path, candidate: Candidate) -> list[Text]:
    tokenizer = candidate.tokenizer
    if not (path / INDEX_FILE).is_file():
        documents = [document for document in read_documents(path) if document.text]
        if not documents:
            raise DataError(f"{path}: expected held-out documents with text, found none")
        encoded = tokenizer.encode_batch([document.text for document in documents])
        return [Text(d.id, d.source, [tokenizer.bos_id, *ids], d.text) for d, ids in zip(documents, encoded)]
    shards = TokenShards(path, tokenizer.fingerprint)
    texts = []
    for number in range(len(shards)):
        ids = shards.document(number).tolist()
        ids = ids[:-1] if ids[-1] == tokenizer.eos_id else ids
        texts.append(Text(str(number), "", ids, tokenizer.decode(ids, skip_special=True)))
    return texts

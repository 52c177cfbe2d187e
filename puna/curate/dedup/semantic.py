"""The stage semantic-dedup: documents that say the same in other words (SemDeDup, Abbas et al. 2023, 2303.09540).

Documents become unit vectors (embeddings.py), are cut into clusters by k-means (clusters.py), and within a cluster one
goes if its cosine to another that stays is 1 - eps or more (greedy.py). The artifact is laid out as curate's: the same
shards of documents, heldout/ as it was, and rejects/ with the twin of each that goes. MinHash looks for runs of words
and misses what is reordered or reworded; this looks at which words, or what a model makes of them.

SemDeDup drops whoever is near an earlier one, staying or not; here only one near another that stays, so everyone who
goes has a twin in the documents. DCLM found semantic deduplication slightly below its baseline: docs/curate.md.

N documents, D width, K clusters.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.curate.dedup.clusters import Floats, assign, kmeans, unit
from puna.curate.dedup.embeddings import Embedder, HashedEmbedder, read_embeddings
from puna.curate.dedup.greedy import greedy_keep
from puna.curate.dedup.semantic_output import copy_heldout, write_report, write_shard

_HASHED_EPS, _MODEL_EPS = 0.1, 0.01
_BATCH = 1024


class SemanticConfig(Config):
    """eps: a document goes within this cosine distance of one that stays; 0 takes 0.1 for hashed words, and Curator's
    0.01 for vectors of a model. cluster_size: documents a cluster, on average; near-copies in two are not found.

    keep: which of two stays; first: by source, then id, as in curate; quality: the largest value of the column that
    `quality` names; nearest, farthest: to the cluster's centroid (SemDeDup keeps the farthest). Ties are as for first.
    """

    eps: float = Field(default=0.0, ge=0, lt=2)
    cluster_size: int = Field(default=2000, ge=1)
    rounds: int = Field(default=20, ge=1)
    keep: Literal["first", "longest", "newest", "quality", "nearest", "farthest"] = "first"
    quality: str = "quality"
    dim: int = Field(default=256, ge=64, multiple_of=64)
    ngrams: int = Field(default=1, ge=1)
    """Runs of words up to this long count in the hashed embedding: with 2 the order of words tells, with 1 not."""
    center: bool = False
    """Take the mean of all off the vectors first: states of a language model all point one way."""


@dataclass
class _Index:
    """What is known of all documents without their texts, in the order of their ids, [N].

    files: the shards; at: for each row of these, one after the other, its place in the order of ids. ranks: who stays,
    the smallest first.
    """

    files: list[Path]
    ids: list[str]
    at: NDArray[np.int64]
    ranks: NDArray[np.int64]


def run(config: SemanticConfig, inputs: Inputs, out: StageOutput) -> None:
    """documents (a curate artifact) -> documents-*.parquet, heldout/, rejects/, report.json.

    With the input `embeddings` (a folder, see embeddings.py) their vectors count, else those of hashed words.
    """
    deduplicate(config, inputs, out)


def deduplicate(config: SemanticConfig, inputs: Inputs, out: StageOutput, embed: Embedder | None = None) -> None:
    """`run` with an embedder of your own; its state must not depend on earlier calls.

    Raises DataError if there are no documents, ids occur twice, or a vector or the column of quality is missing.
    """
    folder = inputs.one("documents")
    index = _read_index(folder, config)
    own = embed is not None or inputs.has("embeddings")
    vectors = _vectors(index, config, inputs, out, embed)
    eps = config.eps or (_MODEL_EPS if own else _HASHED_EPS)
    num_clusters = max(1, round(len(index.ids) / config.cluster_size))
    centroids = kmeans(vectors, num_clusters, seed=0, rounds=config.rounds)
    labels, near = assign(vectors, centroids)
    twins, cosines = _twins(vectors, labels, _ranks(index.ranks, near, config.keep), 1 - eps, out)
    before = 0
    for file in index.files:
        rows = index.at[before : before + pq.read_metadata(file).num_rows]
        names = [index.ids[twin] if twin != row else "" for row, twin in zip(rows, twins[rows], strict=True)]
        write_shard(file, names, cosines[rows], out)
        before += len(rows)
    copy_heldout(folder, out)
    sizes = np.bincount(labels, minlength=num_clusters)
    write_report([file.name for file in index.files], eps, sizes.tolist(), out)


def _read_index(folder: Path, config: SemanticConfig) -> _Index:
    files = sorted(folder.glob("documents-*.parquet"))
    if not files:
        raise DataError(f"expected documents-*.parquet in {folder}, found none; run the curate stage first")
    ids: list[str] = []
    sources: list[str] = []
    keys: list[Any] = []
    for file in files:
        columns = ["id", "source", *_key_columns(file, config)]
        for batch in pq.ParquetFile(file).iter_batches(columns=columns):
            ids += batch.column("id").to_pylist()
            sources += batch.column("source").to_pylist()
            keys += _keys(batch, config)
    if not ids:
        raise DataError(f"expected documents in {folder}, came none; relax the rules of curate")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    listed = [ids[row] for row in order]
    if doubles := [a for a, b in itertools.pairwise(listed) if a == b]:
        raise DataError(f"{folder}: expected an id of its own for every document, came {doubles[0]!r} more than once")
    ranked = sorted(range(len(order)), key=lambda at: (sources[order[at]], listed[at]))
    ranked.sort(key=lambda at: keys[order[at]], reverse=True)
    ranks = np.empty(len(order), np.int64)
    ranks[ranked] = np.arange(len(order))
    return _Index(files, listed, np.argsort(np.array(order, np.int64)), ranks)


def _key_columns(file: Path, config: SemanticConfig) -> list[str]:
    wanted = {"longest": "text", "newest": "date", "quality": config.quality}.get(config.keep)
    names = pq.read_schema(file).names
    if wanted is not None and wanted not in names:
        raise DataError(f"keep: expected a column {wanted!r} in {file}, found {', '.join(names)}; label them first")
    return [wanted] if wanted else []


def _keys(batch: pa.RecordBatch, config: SemanticConfig) -> list[Any]:
    """What decides who stays before source and id, the largest first."""
    if config.keep == "longest":
        return pc.utf8_length(batch.column("text")).to_pylist()  # type: ignore[no-any-return]
    if config.keep == "newest":
        return batch.column("date").to_pylist()  # type: ignore[no-any-return]
    if config.keep == "quality":
        return [float("-inf") if value is None else value for value in batch.column(config.quality).to_pylist()]
    return [0] * batch.num_rows


def _ranks(ranks: NDArray[np.int64], near: Floats, keep: str) -> NDArray[np.int64]:
    if keep not in ("nearest", "farthest"):
        return ranks
    order = np.lexsort((ranks, -near if keep == "nearest" else near))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def _vectors(index: _Index, config: SemanticConfig, inputs: Inputs, out: StageOutput, embed: Embedder | None) -> Floats:
    """Unit vectors in the order of ids, [N, D], a memory map that a killed attempt leaves whole or not at all."""
    path, temp = out.state / "vectors.npy", out.state / ".part-vectors.npy"
    if not path.exists():
        store: np.memmap[Any, np.dtype[np.float32]] | None = None
        if embed is None and inputs.has("embeddings"):
            batches = _read(index, inputs.one("embeddings"))
        else:
            batches = _embedded(index, embed or _counted(index, config), out)
        for places, vectors in batches:
            if store is None:
                shape = (len(index.ids), vectors.shape[1])
                store = np.lib.format.open_memmap(temp, "w+", np.float32, shape)  # type: ignore[no-untyped-call]
            store[places] = unit(vectors.astype(np.float32))
        assert store is not None
        if config.center:
            _center(store)
        store.flush()
        os.replace(temp, path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _center(vectors: Floats) -> None:
    """Take the mean of all off each, in place and in blocks."""
    spans = [slice(start, start + _BATCH) for start in range(0, len(vectors), _BATCH)]
    mean = np.sum([vectors[span].sum(0, dtype=np.float64) for span in spans], axis=0) / len(vectors)
    for span in spans:
        vectors[span] = unit(vectors[span] - mean.astype(np.float32))


def _read(index: _Index, folder: Path) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    found, rows = read_embeddings(folder, index.ids)
    for start in range(0, len(rows), _BATCH):
        yield np.arange(start, min(start + _BATCH, len(rows))), found[rows[start : start + _BATCH]]


def _counted(index: _Index, config: SemanticConfig) -> HashedEmbedder:
    embedder = HashedEmbedder(config.dim, config.ngrams)
    for _, texts in _texts(index):
        embedder.count(texts)
    return embedder


def _embedded(index: _Index, embed: Embedder, out: StageOutput) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Places in the order of ids, and vectors, of a batch of documents in the order of the shards."""
    for row, texts in _texts(index):
        yield index.at[row : row + len(texts)], embed(texts)
        out.progress(row + len(texts), len(index.at), "documents")


def _texts(index: _Index) -> Iterator[tuple[int, list[str]]]:
    """Batches of texts in the order of the shards, with the number of texts before."""
    row = 0
    for file in index.files:
        for batch in pq.ParquetFile(file).iter_batches(_BATCH, columns=["text"]):
            texts = batch.column("text").to_pylist()
            yield row, texts
            row += len(texts)


def _twins(
    vectors: Floats, labels: NDArray[np.int32], ranks: NDArray[np.int64], threshold: float, out: StageOutput
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each document the one that stays for it and their cosine, cluster by cluster."""
    twins, cosines = np.arange(len(labels)), np.ones(len(labels), np.float32)
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels))
    for number, members in enumerate(np.split(order, ends[:-1])):
        found, alike = greedy_keep(np.asarray(vectors[members]), ranks[members], threshold)
        twins[members], cosines[members] = members[found], alike
        out.progress(number + 1, len(ends), "clusters")
    return twins, cosines

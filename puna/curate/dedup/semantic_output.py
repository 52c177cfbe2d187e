"""What semantic deduplication leaves: the shards without those that went, these with their twins, and a report."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from puna.base.files import read_json, write_json
from puna.base.output import StageOutput
from puna.curate.words import count_words

_EXAMPLES, _EXAMPLE_CHARS = 12, 80
_ROW_GROUP = 4096


def write_shard(file: Path, twins: Sequence[str], cosines: NDArray[np.float32], out: StageOutput) -> None:
    """The documents of the shard `file` that stay, all columns as they were, and rejects/ of those that go.

    twins: for each row the id of the document that stays for it, "" if it stays itself; cosines: to that one.
    """
    rejects = f"rejects/rejects-{file.stem.removeprefix('documents-')}.parquet"
    if out.done(file.name) and out.done(rejects):
        return
    table, stays = pq.ParquetFile(file).read(), np.array([not twin for twin in twins], bool)
    if not out.done(file.name):
        with out.unit(file.name) as unit:
            kept = table.filter(pa.array(stays))
            pq.write_table(kept, unit.path, compression="zstd", row_group_size=_ROW_GROUP)
            before, after = (sum(map(count_words, part["text"].to_pylist())) for part in (table, kept))
            unit.info.update(documents=table.num_rows, words=before, words_out=after)
    if not out.done(rejects):
        with out.unit(rejects) as unit:
            gone = table.filter(pa.array(~stays))
            forms = [json.loads(meta or "{}").get("form", "html") for meta in gone["meta"].to_pylist()]
            columns = {
                **{name: gone[name] for name in ("id", "url", "source")},
                "rule": pa.array(["semantic:duplicate"] * gone.num_rows, pa.string()),
                "twin": pa.array([twin for twin in twins if twin], pa.string()),
                **{name: gone[name] for name in ("text", "date", "lang")},
                "form": pa.array(forms, pa.string()),
                "cosine": pa.array(cosines[~stays], pa.float32()),
            }
            pq.write_table(pa.table(columns), unit.path, compression="zstd")


def copy_heldout(folder: Path, out: StageOutput) -> None:
    """The held-out documents of `folder` as they are."""
    for file in sorted((folder / "heldout").glob("documents-*.parquet")):
        name = f"heldout/{file.name}"
        if not out.done(name):
            with out.unit(name) as unit:
                shutil.copyfile(file, unit.path)


def write_report(shards: Sequence[str], eps: float, cluster_sizes: Sequence[int], out: StageOutput) -> None:
    """report.json from the artifact itself, so that a resumed stage reports the same; metrics and panels from that."""
    if not out.done("report.json"):
        with out.unit("report.json") as unit:
            write_json(unit.path, _report([out.info(name) for name in shards], eps, cluster_sizes, out.path))
    report = read_json(out.path / "report.json")
    gone = report["records"] - report["kept"]
    out.metric(records=report["records"], kept=report["kept"], semantic_duplicates=gone, clusters=report["clusters"])
    note = f"near-copies of cosine {1 - report['eps']:.4g} or more, within {report['clusters']} clusters"
    out.panel("funnel", "Semantic deduplication", steps=report["funnel"], note=note)
    if report["examples"]:
        columns = ["cosine", "dropped", "stays for it"]
        out.panel("table", "The least alike that were dropped", columns=columns, rows=report["examples"], note=note)


def _report(shards: Sequence[dict[str, Any]], eps: float, cluster_sizes: Sequence[int], folder: Path) -> dict[str, Any]:
    rejects = [
        row
        for path in sorted((folder / "rejects").glob("rejects-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    documents, words, words_out = (sum(info[name] for info in shards) for name in ("documents", "words", "words_out"))
    kept = documents - len(rejects)
    steps = (("documents", documents, words), ("no semantic copies", kept, words_out))
    return {
        "records": documents,
        "kept": kept,
        "words_out": words_out,
        "rejects": {"semantic:duplicate": len(rejects)} if rejects else {},
        "funnel": [{"name": name, "documents": count, "tokens": tokens} for name, count, tokens in steps],
        "eps": eps,
        "clusters": len(cluster_sizes),
        "largest_cluster": max(cluster_sizes),
        "examples": _examples(rejects, folder),
    }


def _examples(rejects: list[dict[str, Any]], folder: Path) -> list[list[Any]]:
    """Those that were least like their twin: cosine, its beginning, its twin's."""
    chosen = sorted(rejects, key=lambda row: (row["cosine"], row["id"]))[:_EXAMPLES]
    if not chosen:
        return []
    wanted = [("id", "in", sorted({row["twin"] for row in chosen}))]
    heads = {
        row["id"]: _head(row["text"])
        for path in sorted(folder.glob("documents-*.parquet"))
        for row in pq.read_table(path, columns=["id", "text"], filters=wanted).to_pylist()
    }
    return [[round(row["cosine"], 4), _head(row["text"]), heads[row["twin"]]] for row in chosen]


def _head(text: str) -> str:
    return " ".join(text.split())[:_EXAMPLE_CHARS]

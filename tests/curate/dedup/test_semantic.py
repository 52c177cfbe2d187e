"""The stage: what it drops and for whom, against all pairs; its layout; no order, no kill changes a byte."""

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents, write_documents
from puna.curate.dedup import semantic
from puna.curate.dedup.clusters import Floats, assign, kmeans, unit
from puna.curate.dedup.semantic import SemanticConfig, deduplicate
from puna.curate.dedup.twins import MinHash, near_twins, signature
from puna.curate.words import Words
from tests.curate.pages import files_of, sentences


def shuffled(text: str, seed: int) -> str:
    """The sentences in another order, some words left out."""
    draw = random.Random(seed)
    parts = re.findall(r"[^.]+\.", text)
    return " ".join(" ".join(w for w in p.split() if draw.random() > 0.03) for p in draw.sample(parts, len(parts)))


ORIGINALS = {f"{i:02d}a": sentences(i, 12) for i in range(40)}
COPIES = {f"{i:02d}b": shuffled(ORIGINALS[f"{i:02d}a"], i) for i in range(0, 40, 4)}


def documents() -> list[Document]:
    texts = {**ORIGINALS, **COPIES}
    return [
        Document(key, text, f"https://x.org/{key}", "web", "en", f"2026-01-{10 + ('b' in key)}", {"words": 1})
        for key, text in texts.items()
    ]


def artifact(folder: Path, rows: list[Document], shards: int = 2, quality: bool = False) -> Path:
    """Laid out as curate's: a shard by the hash of the id, sorted by id."""
    (folder / "heldout").mkdir(parents=True)
    for shard in range(shards):
        mine = sorted((row for row in rows if hash_of(row.id) % shards == shard), key=lambda row: row.id)
        extra = {"score": [float(row.id[-1] == "b") for row in mine]} if quality else None
        write_documents(folder / f"documents-{shard:05d}.parquet", mine, extra)
        write_documents(
            folder / "heldout" / f"documents-{shard:05d}.parquet", [Document(f"h{shard}", ORIGINALS["00a"])]
        )
    return folder


def hash_of(identifier: str) -> int:
    return sum(identifier.encode())


def dedup(folder: Path, work: Path, embeddings: Path | None = None, embed: Any = None, **config: Any) -> StageOutput:
    out = StageOutput(work)
    inputs = {"documents": folder} | ({"embeddings": embeddings} if embeddings else {})
    deduplicate(SemanticConfig.model_validate(config), Inputs(inputs), out, embed)
    return out


def rejects(out: StageOutput) -> dict[str, dict[str, Any]]:
    rows = [row for p in sorted(out.path.glob("rejects/*.parquet")) for row in pq.read_table(p).to_pylist()]
    return {row["id"]: row for row in rows}


def test_reworded_copies_go_and_name_the_one_that_stays(tmp_path: Path) -> None:
    out = dedup(artifact(tmp_path / "in", documents()), tmp_path / "out")
    gone = rejects(out)
    assert {key: row["twin"] for key, row in gone.items()} == {key: key.replace("b", "a") for key in COPIES}
    assert {row["rule"] for row in gone.values()} == {"semantic:duplicate"}
    assert all(0.9 <= row["cosine"] < 1 for row in gone.values())
    assert {d.id for d in read_documents(out.path)} == set(ORIGINALS)
    # MinHash at its usual settings finds none of them: that is what this is for.
    texts = [*ORIGINALS.values(), *COPIES.values()]
    signatures = np.stack([signature(Words(text).word_hashes, MinHash()) for text in texts])
    found = near_twins(signatures, np.arange(len(texts)), MinHash())
    assert (found != np.arange(len(texts))).sum() < len(COPIES) / 2


def test_the_layout_is_that_of_curate_and_columns_stay(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "in", documents(), quality=True)
    out = dedup(folder, tmp_path / "out")
    names = {path.name for path in out.path.glob("*.parquet")}
    assert names == {path.name for path in folder.glob("*.parquet")}
    for name in names:
        before, after = pq.read_table(folder / name), pq.read_table(out.path / name)
        assert after.schema.equals(before.schema)
        kept = [row for row in before.to_pylist() if row["id"] not in COPIES]
        assert after.to_pylist() == kept
    for path in (folder / "heldout").iterdir():
        assert (out.path / "heldout" / path.name).read_bytes() == path.read_bytes()
    report = json.loads((out.path / "report.json").read_text())
    assert [step["documents"] for step in report["funnel"]] == [50, 40]
    assert report["rejects"] == {"semantic:duplicate": 10} and report["kept"] == 40
    words = [sum(len(text.split()) for text in group.values()) for group in (ORIGINALS, COPIES)]
    assert [step["tokens"] for step in report["funnel"]] == [sum(words), words[0]]
    assert len(report["examples"]) == 10 and [panel["kind"] for panel in out.panels] == ["funnel", "table"]


@pytest.mark.parametrize(("keep", "stays"), [("first", "a"), ("newest", "b"), ("longest", "a"), ("quality", "b")])
def test_which_of_two_stays_is_a_rule(tmp_path: Path, keep: str, stays: str) -> None:
    out = dedup(artifact(tmp_path / "in", documents(), quality=True), tmp_path / "out", keep=keep, quality="score")
    assert {row["twin"][-1] for row in rejects(out).values()} == {stays} and len(rejects(out)) == 10


def test_first_is_by_source_before_id(tmp_path: Path) -> None:
    rows = documents()
    for row in rows:
        row.source = "archive" if "b" in row.id else "web"
    assert {row["twin"][-1] for row in rejects(dedup(artifact(tmp_path / "in", rows), tmp_path / "out")).values()} == {
        "b"
    }


def test_farthest_and_nearest_are_to_the_centroid(tmp_path: Path) -> None:
    """Three near vectors; of the mean of all, the first is nearest."""
    angles = {"a": 0.0, "b": 2.0, "c": -4.0, "d": 60.0}
    rows = [Document(key, key) for key in angles]

    def embed(texts: list[str]) -> Floats:
        turned = np.radians([angles[text] for text in texts])
        return np.stack([np.cos(turned), np.sin(turned)], 1).astype(np.float32)

    for keep, twin in (("nearest", "b"), ("farthest", "c")):  # the mean points to 13 degrees
        out = dedup(artifact(tmp_path / keep, rows), tmp_path / f"out-{keep}", embed=embed, keep=keep, eps=0.01)
        assert {row["twin"] for row in rejects(out).values()} == {twin}
        assert {d.id for d in read_documents(out.path)} == {twin, "d"}


def test_no_order_of_the_documents_and_no_number_of_shards_changes_who_stays(tmp_path: Path) -> None:
    rows = documents()
    first = dedup(artifact(tmp_path / "a", rows), tmp_path / "oa", cluster_size=10)
    other = dedup(
        artifact(tmp_path / "b", random.Random(1).sample(rows, 50), shards=3), tmp_path / "ob", cluster_size=10
    )
    assert rejects(first) == rejects(other) and rejects(first)
    again = dedup(tmp_path / "a", tmp_path / "oc", cluster_size=10)
    assert files_of(tmp_path / "oa") == files_of(tmp_path / "oc") and again.metrics == first.metrics


def test_killed_at_any_unit_and_run_again_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = artifact(tmp_path / "in", documents())
    dedup(folder, tmp_path / "whole")
    expected, kills = files_of(tmp_path / "whole"), 0
    commit = StageOutput.unit
    for stop in range(8):

        def dying(self: StageOutput, name: str, limit: int = stop) -> Any:
            if len(self.records()) >= limit:
                raise KeyboardInterrupt
            return commit(self, name)

        with monkeypatch.context() as patch:
            patch.setattr(StageOutput, "unit", dying)
            try:
                dedup(folder, tmp_path / "killed")
            except KeyboardInterrupt:
                kills += 1
    out = dedup(folder, tmp_path / "killed")
    assert kills >= 6 and files_of(tmp_path / "killed") == expected
    assert out.metrics["semantic_duplicates"] == 10


def test_more_clusters_find_fewer_pairs_and_one_finds_all() -> None:
    draw = np.random.default_rng(0)
    base = unit(draw.normal(size=(600, 8)).astype(np.float32))
    points = unit(np.concatenate([base, base + 0.12 * draw.normal(size=base.shape).astype(np.float32)]))
    exact = {(i, j) for i, j in zip(*np.nonzero(np.triu(points @ points.T, 1) > 0.95), strict=True)}
    recalls = []
    for count in (1, 4, 64):
        labels, _ = assign(points, kmeans(points, count, seed=0))
        recalls.append(sum(labels[i] == labels[j] for i, j in exact) / len(exact))
    assert recalls[0] == 1.0 and recalls[0] > recalls[1] > recalls[2] > 0.4


def test_vectors_of_a_file_count_instead(tmp_path: Path) -> None:
    rows = documents()[:6]
    vectors = np.eye(6, dtype=np.float16)
    vectors[4] = vectors[1]
    (tmp_path / "vectors").mkdir()
    np.save(tmp_path / "vectors" / "embeddings.npy", vectors[::-1])
    (tmp_path / "vectors" / "ids.txt").write_text("".join(f"{row.id}\n" for row in rows[::-1]))
    out = dedup(artifact(tmp_path / "in", rows), tmp_path / "out", embeddings=tmp_path / "vectors")
    assert {key: row["twin"] for key, row in rejects(out).items()} == {rows[4].id: rows[1].id}
    assert json.loads((out.path / "report.json").read_text())["eps"] == 0.01


def test_centering_takes_off_what_all_share(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    vectors = {d.id: (10 + draw.normal(size=16)).astype(np.float32) for d in documents()}
    rows = documents()
    by_text = {d.text: vectors[d.id] for d in rows}
    folder = artifact(tmp_path / "in", rows)

    def embed(texts: list[str]) -> Floats:
        return np.stack([by_text[text] for text in texts])

    assert len(rejects(dedup(folder, tmp_path / "raw", embed=embed, eps=0.05))) > 40
    assert len(rejects(dedup(folder, tmp_path / "centred", embed=embed, eps=0.05, center=True))) == 0


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected documents-\*\.parquet in .*run the curate stage first"):
        dedup(tmp_path, tmp_path / "o1")
    with pytest.raises(DataError, match="came none; relax the rules"):
        dedup(artifact(tmp_path / "empty", []), tmp_path / "o2")
    doubled = [Document("one", "a"), Document("one", "b")]
    with pytest.raises(DataError, match="came 'one' more than once"):
        dedup(artifact(tmp_path / "doubled", doubled), tmp_path / "o3")
    with pytest.raises(DataError, match="keep: expected a column 'quality' in .*label them first"):
        dedup(artifact(tmp_path / "bare", documents()), tmp_path / "o4", keep="quality")


def test_batches_of_texts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = artifact(tmp_path / "in", documents())
    dedup(folder, tmp_path / "a", cluster_size=7, center=True)
    monkeypatch.setattr(semantic, "_BATCH", 7)
    dedup(folder, tmp_path / "b", cluster_size=7, center=True)
    assert rejects(StageOutput(tmp_path / "a")).keys() == rejects(StageOutput(tmp_path / "b")).keys()

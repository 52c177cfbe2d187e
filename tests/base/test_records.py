"""Records: what is written is read; damage is told with its line."""

import resource
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from puna.base import records
from puna.base.errors import ArtifactError, DataError
from puna.base.files import read_json, write_json
from puna.base.records import (
    Document,
    append_jsonl,
    read_documents,
    read_jsonl,
    write_document_tables,
    write_documents,
    write_jsonl,
)
from puna.base.rng import generator, hash64, hashes64


def test_documents_come_back_in_file_order(tmp_path: Path) -> None:
    rows = [Document(f"id{i}", f"text {i} 村", url=f"u{i}", source="s", lang="en", meta={"k": i}) for i in range(5)]
    write_documents(tmp_path / "documents-00001.parquet", rows[3:])
    write_documents(tmp_path / "documents-00000.parquet", rows[:3], extra={"quality": [0.1, 0.2, 0.3]})
    assert list(read_documents(tmp_path)) == rows
    assert pq.read_table(tmp_path / "documents-00000.parquet").column("quality").to_pylist() == [0.1, 0.2, 0.3]
    with pytest.raises(DataError, match=r"expected documents-\*\.parquet"):
        list(read_documents(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_jsonl_round_trip(tmp_path: Path, name: str) -> None:
    rows = [{"a": 1, "text": "zwei\nZeilen 好"}, {"b": None}]
    assert write_jsonl(tmp_path / name, rows) == 2
    assert list(read_jsonl(tmp_path / name)) == rows


def test_a_row_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    """The kernel writes what still fits of it: without care the next row would stand behind half a one."""
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"a": 1})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 3, resource.RLIM_INFINITY))
        with pytest.raises(OSError):
            append_jsonl(path, {"b": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    append_jsonl(path, {"c": 3})
    assert list(read_jsonl(path)) == [{"a": 1}, {"c": 3}]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(DataError, match=r"rows\.jsonl:3: expected one JSON object a line"):
        list(read_jsonl(tmp_path / "rows.jsonl"))


def test_json_files(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2]} and not list(tmp_path.glob("*.tmp"))
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ArtifactError, match="is damaged: expected JSON"):
        read_json(tmp_path / "a.json")


def test_streams_are_uniform_independent_and_named() -> None:
    a, b = generator(0, "x", 1).random(2000), generator(0, "x", 2).random(2000)
    assert np.array_equal(a, generator(0, "x", 1).random(2000))
    assert stats.kstest(a, "uniform").pvalue > 1e-3 and abs(stats.pearsonr(a, b).statistic) < 0.1
    hashes = np.array([hash64(0, "doc", i) for i in range(2000)], dtype=np.float64) / 2**64
    assert stats.kstest(hashes, "uniform").pvalue > 1e-3
    assert hash64(0, 1) != hash64(0, "1")


def test_tables_of_documents_become_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_ROW_GROUP", 10)
    monkeypatch.setattr(records, "_ROW_GROUP_CHARS", 60)
    draw = np.random.default_rng(5)
    for count in (0, 1, 9, 10, 11, 57):
        rows = [Document(f"{i}", "好" * int(draw.integers(20)), meta={"b": i, "a": "村"}) for i in range(count)]
        write_documents(tmp_path / "one", rows)
        whole = pq.read_table(tmp_path / "one")
        for size in (1, 4, 23):
            pieces = [whole.slice(start, size) for start in range(0, count, size)]
            assert write_document_tables(tmp_path / "other", pieces) == count
            assert (tmp_path / "other").read_bytes() == (tmp_path / "one").read_bytes()


def test_many_names_hash_as_each_alone() -> None:
    names = ["", "a", "a\x1fb", "村" * 50]
    assert list(hashes64(names, 3, "heldout", 1)) == [hash64(3, "heldout", 1, name) for name in names]
    assert list(hashes64(names, 3)) == [hash64(3, name) for name in names]

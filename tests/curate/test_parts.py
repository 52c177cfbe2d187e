"""The way of texts to output files: small buckets hold the same as one, whatever parts they came in."""

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.curate import parts
from puna.curate.parts import Buckets, Row, ahead, encode_part, read_parts, with_values
from tests.curate.pages import curate, files_of, html_page, sentences, write_warc


def rows(count: int) -> list[Row]:
    draw = random.Random(1)
    return [Row(f"{draw.getrandbits(128):032x}", "source", f"{i}", text=f"text {i}") for i in range(count)]


def tables(items: list[Row], size: int) -> list[pa.Table]:
    blocks = [items[i : i + size] for i in range(0, len(items), size)]
    return [pq.read_table(pa.BufferReader(encode_part(block))) for block in blocks]


@pytest.mark.parametrize(("shards", "text_bytes"), [(1, 0), (3, 0), (3, 10**9), (2, 10**12)])
def test_shards_are_sorted_and_hold_every_row_once(tmp_path: Path, shards: int, text_bytes: int) -> None:
    items = rows(500)
    for size in (7, 100):
        buckets = Buckets(tmp_path / f"{size}", shards, text_bytes)
        buckets.fill(tables(items, size))
        found = [
            [row for table in buckets.read(shard, ["id", "text"]) for row in table.to_pylist()]
            for shard in range(shards)
        ]
        for shard, mine in enumerate(found):
            expected = sorted((row for row in items if int(row.id[:8], 16) % shards == shard), key=lambda row: row.id)
            assert [(row["id"], row["text"]) for row in mine] == [(row.id, row.text) for row in expected]


def test_a_second_fill_begins_anew(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path / "buckets", 1, 0)
    buckets.fill(tables(rows(5), 5))
    buckets.fill(tables(rows(5), 2))
    (table,) = buckets.read(0, ["id"])
    assert len(table) == 5


def test_parts_are_read_one_by_one(tmp_path: Path) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, block in zip(paths, (rows(4)[:3], rows(4)[3:]), strict=True):
        path.write_bytes(encode_part(block))
    assert [len(table) for table in read_parts(paths, ("id",))] == [3, 1]


def test_the_stage_writes_the_same_documents_from_many_small_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [(f"https://a.example/{i}", html_page(sentences(i, 8))) for i in range(60)]
    write_warc(tmp_path / "crawl.warc.gz", pages)
    curate([tmp_path / "crawl.warc.gz"], tmp_path / "one", rules=[], max_line_copies=2)
    monkeypatch.setattr(parts, "_BUCKET_BYTES", 1000)
    monkeypatch.setattr(parts, "_BUFFER_BYTES", 1000)
    curate([tmp_path / "crawl.warc.gz"], tmp_path / "many", rules=[], max_line_copies=2)
    for name in files_of(tmp_path / "one"):
        if name.endswith(".parquet"):
            one, many = (pq.read_table(tmp_path / run / "files" / name) for run in ("one", "many"))
            assert one.equals(many), name


def test_what_is_made_ahead_comes_in_order_and_fails_where_it_failed() -> None:
    def items() -> Iterator[int]:
        yield from (3, 1, 2)
        raise ValueError("the fourth")

    came: list[int] = []
    with pytest.raises(ValueError, match="the fourth"):
        came.extend(ahead(items()))
    assert came == [3, 1, 2]
    assert list(ahead(iter(()))) == []
    assert next(ahead(itertools.count(7))) == 7  # whoever stops early waits for nothing


def test_the_next_one_is_made_while_this_one_is_worked_on() -> None:
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        begun.set()
        yield 2

    made = ahead(items())
    assert next(made) == 1
    assert begun.wait(10)  # by no call of ours
    assert list(made) == [2]


def test_values_are_put_in_their_places() -> None:
    column = pa.chunked_array([["a", "b"], ["c"], []], pa.string())
    places = np.array([True, False, True])
    assert with_values(column, places, ["x", "y"]).to_pylist() == ["x", "b", "y"]
    assert with_values(column, np.zeros(3, bool), []).to_pylist() == ["a", "b", "c"]

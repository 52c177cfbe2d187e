import datetime
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.curate.read.limits import Reading
from puna.curate.read.record import Record
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs
from puna.curate.read.table import _largest_page


def read(path: Path, max_record_bytes: int = 2000) -> list[Record]:
    (file,), _ = list_inputs([path])
    return list(read_file(file, Counter(), 0, Reading(max_record_bytes=max_record_bytes)))


def written(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_a_cell_that_is_too_large_costs_its_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"text": ["one", "x" * 3000, "three"]})
    assert [(r.locator, r.problem or r.body) for r in read(path)] == [
        ("a.parquet:1", "one"),
        ("a.parquet:2", "larger than 2000 bytes"),
        ("a.parquet:3", "three"),
    ]


def test_a_page_of_gigabytes_costs_its_row_group(tmp_path: Path) -> None:
    texts = ["one", "two", "x" * 100_000, "four", "five", "six"]
    path = written(tmp_path / "a.parquet", {"text": texts}, row_group_size=2, compression="zstd")
    assert [(r.locator, r.problem or r.body) for r in read(path)] == [
        ("a.parquet:1", "one"),
        ("a.parquet:2", "two"),
        ("a.parquet:group 1", "page larger than 64000 bytes"),
        ("a.parquet:5", "five"),
        ("a.parquet:6", "six"),
    ]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_the_largest_page_is_that_of_the_texts(tmp_path: Path, version: str, compression: str) -> None:
    """Without a dictionary a page holds four bytes and the text for each row, and at most 20 bytes more."""
    texts = [f"{number} " * (number % 40) for number in range(3000)]
    options = {
        "use_dictionary": False,
        "data_page_size": 1 << 30,
        "compression": compression,
        "write_batch_size": 10**6,
    }
    path = written(tmp_path / "a.parquet", {"text": texts, "n": [1] * 3000}, data_page_version=version, **options)
    table = pq.ParquetFile(path)
    with open(path, "rb") as content:
        size = _largest_page(content, table.metadata.row_group(0), "text")
    assert 0 <= size - sum(4 + len(text) for text in texts) <= 20


def test_other_types_of_columns(tmp_path: Path) -> None:
    when = datetime.datetime(2020, 1, 31, 12)
    path = written(tmp_path / "a.parquet", {"text": ["a"], "date": [when], "url": [["list"]]})
    (record,) = read(path)
    assert (record.body, record.url, record.date[:10]) == ("a", "", "2020-01-31")
    path = written(tmp_path / "b.parquet", {"text": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert [record.body for record in read(path)] == ["a", "b", "a"]
    path = written(tmp_path / "c.parquet", {"text": [1, 2]})
    assert [(r.locator, r.problem) for r in read(path)] == [("c.parquet:group 0", 'no string in field "text"')]


def test_a_text_that_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"caf\xe9", b"three"]).view(pa.string())
    records = read(written(tmp_path / "a.parquet", {"text": texts}))
    assert [record.problem for record in records] == ["", "invalid UTF-8", ""]


def test_a_damaged_row_group_costs_no_other(tmp_path: Path) -> None:
    texts = [f"text number {number}" for number in range(300)]
    options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    path = written(tmp_path / "a.parquet", {"text": texts}, row_group_size=100, **options)
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    at = chunk.data_page_offset + chunk.total_compressed_size - 60
    content[at : at + 40] = bytes(40)
    path.write_bytes(content)
    records = read(path)
    assert [record.body for record in records if not record.problem] == texts[:100] + texts[200:]
    assert [(r.locator, r.problem) for r in records if r.problem] == [("a.parquet:group 1", "damaged Parquet")]

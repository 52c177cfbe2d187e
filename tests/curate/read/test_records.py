import gzip
import io
import json
import lzma
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.curate.read.records import Record, read_file
from puna.curate.read.sources import list_inputs


def read(path: Path, max_chars: int = 0) -> tuple[list[Record], Counter[str]]:
    skipped: Counter[str] = Counter()
    files, _ = list_inputs([path])
    return [record for file in files for record in read_file(file, skipped, max_chars)], skipped


def test_jsonl_keeps_good_lines_and_sets_bad_ones_aside(tmp_path: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"text": "first", "url": "http://a/", "date": "2020-01-01"}',
        b'{"text": "caf\xe9"}',
        b'{"text": ',
        b'{"instruction": "do", "output": "done"}',
        b'["text"]',
        b'{"text": "  "}',
        b"",
        b'{"text": "lone \\ud800 half"}',
        '{"text": "última"}'.encode(),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    records, _ = read(path)
    assert [(record.body, record.problem) for record in records if not record.problem] == [
        ("first", ""),
        ("lone ? half", ""),
        ("última", ""),
    ]
    assert (records[0].url, records[0].date) == ("http://a/", "2020-01-01")
    assert [record.problem for record in records if record.problem] == [
        "invalid UTF-8",
        "invalid JSON",
        'no string in field "text"',
        'no string in field "text"',
        "empty text",
    ]
    assert records[1].locator == "rows.jsonl:2"


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.xz", ".jsonl.zst"])
def test_compressed_jsonl_is_the_same(tmp_path: Path, suffix: str) -> None:
    content = "".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(500)).encode()
    path = tmp_path / f"rows{suffix}"
    if suffix.endswith(".zst"):
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(content)
    else:
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(content))
    assert [record.body for record in read(path)[0]] == [f"text {i}" for i in range(500)]


def test_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    content = gzip.compress(b"".join(json.dumps({"text": f"{i * 7919}"}).encode() + b"\n" for i in range(20_000)))
    path.write_bytes(content[: len(content) // 2])
    records, _ = read(path)
    assert len(records) > 1000
    assert [record.problem for record in records if record.problem] == ["damaged file (truncated gzip member)"]


def test_parquet_text_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None, "c"], "url": ["u", "v", "w"], "n": [1, 2, 3]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"body": ["a", "b"]}), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no parquet")
    records, _ = read(tmp_path)
    assert [(record.body, record.url) for record in records if not record.problem] == [("a", "u"), ("c", "w")]
    assert [record.problem for record in records if record.problem] == [
        'no string in field "text"',  # one row
        'no string in field "text"',  # a row group without the column
        "damaged Parquet",
    ]


def test_html_tar_and_files_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_bytes(b"<html>1</html>")
    (tmp_path / "empty.html").write_bytes(b" ")
    with tarfile.open(tmp_path / "more.tar.xz", "w:xz") as archive:
        for name in ("two.html", "notes.csv", "three.htm"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"<p>x"))
    records, skipped = read(tmp_path)
    assert [(record.locator, record.problem) for record in records] == [
        ("empty.html", "empty body"),
        ("more.tar.xz:two.html", ""),
        ("more.tar.xz:three.htm", ""),
        ("one.html", ""),
    ]
    assert skipped == {"file in tar that is no HTML": 1}


def test_a_book_is_split_and_its_bad_lines_left_out(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {i} of the book.\r\n" for i in range(100)]
    content = "\r\n".join(paragraphs).encode()
    (tmp_path / "book.txt").write_bytes(content + b"\r\nbroken \xff line\r\n")
    records, _ = read(tmp_path / "book.txt", max_chars=500)
    good = [record for record in records if not record.problem]
    assert [record.problem for record in records if record.problem] == ["invalid UTF-8"]
    assert len(good) > 3
    assert all(len(record.body) <= 500 and "\r" not in str(record.body) for record in good)
    assert "".join(str(record.body) for record in good).split() == content.decode().split()
    assert len({record.locator for record in good}) == len(good)


def test_real_books_and_their_pieces(shared_data: Path) -> None:
    path = shared_data / "text-books-en" / "alices-adventures-in-wonderland.txt.gz"
    records, _ = read(path, max_chars=20_000)
    text = gzip.decompress(path.read_bytes()).decode()
    assert "".join(str(record.body) for record in records).split() == text.split()
    assert max(len(record.body) for record in records) <= 20_000

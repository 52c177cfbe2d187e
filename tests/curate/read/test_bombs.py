"""The law of memory: whatever a file unpacks to, reading holds a few records of the size that is allowed."""

import io
import json
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.curate.pages import html_page, http, sentences, warc_record
from tests.curate.read.packs import CONTAINER, gzip_bomb, zstd

MiB = 1 << 20
SIZE, LIMIT, BOUND = 64 * MiB, MiB, 32 * MiB
GOOD = json.dumps({"text": "good"}).encode() + b"\n"

READ = """
import json, resource, sys
from collections import Counter
from pathlib import Path
import pyarrow, pyarrow.parquet
from puna.curate.read.limits import Reading
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
(file,), _ = list_inputs([Path(sys.argv[1])])
before = peak()
reading = Reading(max_record_bytes=int(sys.argv[2]))
found = [r.problem or str(r.body)[:20] for r in read_file(file, Counter(), 1000, reading)]
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
print(json.dumps([found, peak() - before, children]))
"""


def zip_bomb() -> bytes:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        '<item id="a" href="a.html" media-type="text/html"/><item id="b" href="b.html" media-type="text/html"/>'
        '</manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("OEBPS/book.opf", package)
        book.writestr("OEBPS/a.html", b"<p>good</p>")
        with book.open("OEBPS/b.html", "w") as chapter:
            for _ in range(SIZE // MiB):
                chapter.write(bytes(MiB))
    return sink.getvalue()


def table_bomb() -> bytes:
    sink = io.BytesIO()
    table = pa.table({"text": ["good", "x" * (40 * MiB)]})
    pq.write_table(table, sink, compression="zstd", row_group_size=1)
    return sink.getvalue()


HTTP_BOMB = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
BOMBS = {
    "line.jsonl.gz": (lambda: gzip_bomb(SIZE, GOOD, b"\n" + GOOD), ["good", "larger than 1048576 bytes", "good"]),
    "line.txt.gz": (lambda: gzip_bomb(SIZE, b"good\n", b"\ngood\n"), ["larger than 1048576 bytes", "good\ngood\n"]),
    "line.jsonl.zst": (lambda: zstd(GOOD + bytes(SIZE) + b"\n" + GOOD), ["good", "larger than 1048576 bytes", "good"]),
    "line.jsonl.xz": (
        lambda: lzma.compress(GOOD + bytes(SIZE) + b"\n" + GOOD, preset=0),
        ["good", "larger than 1048576 bytes", "good"],
    ),
    "page.html.gz": (lambda: gzip_bomb(SIZE), ["larger than 1048576 bytes"]),
    "http.warc": (lambda: warc_record("http://b/", HTTP_BOMB + gzip_bomb(SIZE)), ["larger than 1048576 bytes"]),
    "book.epub": (zip_bomb, ["larger than 1048576 bytes", "good"]),
    "cell.parquet": (table_bomb, ["good", "page larger than 33554432 bytes"]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_memory(tmp_path: Path, name: str) -> None:
    make, expected = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(make())
    command = [sys.executable, "-c", READ, str(path), str(LIMIT)]
    found, grown, children = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found == expected
    assert grown < BOUND
    assert children < 5 * BOUND  # the process of a book, its libraries included


def test_a_record_of_ten_gigabytes_of_which_nothing_came(tmp_path: Path) -> None:
    record = warc_record("http://a/", http(html_page(sentences(1, 9))))
    path = tmp_path / "a.warc"
    path.write_bytes(record.replace(b"Content-Length: ", b"Content-Length: 9999999", 1))
    command = [sys.executable, "-c", READ, str(path), str(LIMIT)]
    found, grown, _ = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found == ["larger than 1048576 bytes"]
    assert grown < BOUND

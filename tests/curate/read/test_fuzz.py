"""Laws of all readers, on files that are damaged at random: nothing raises or hangs, and damage costs what it hits."""

import io
import json
import random
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from puna.curate.read.limits import Reading
from puna.curate.read.record import Record
from puna.curate.read.records import read_file
from puna.curate.read.sources import InputFile, file_kind
from tests.curate.pages import html_page, http, sentences, warc_record
from tests.curate.read.packs import PACKS, epub

WARC = [warc_record(f"http://a/{i}", http(html_page(sentences(i, 3)))) for i in range(6)]
LINES = [json.dumps({"text": sentences(i, 2), "url": f"u{i}"}).encode() + b"\n" for i in range(8)]
NOTEBOOK = {
    "nbformat": 4,
    "cells": [{"cell_type": "markdown", "source": ["# A", "b"]}, {"cell_type": "code", "source": "x"}],
}


def archive() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for number in range(4):
            body = html_page(sentences(number, 2))
            info = tarfile.TarInfo(("long" * 40 if number == 2 else "page") + f"{number}.html")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return sink.getvalue()


def table(compression: str, version: str) -> bytes:
    sink, texts = io.BytesIO(), [sentences(number, 2) for number in range(20)]
    dates = pa.array(range(20), pa.timestamp("s"))
    columns = pa.table({"text": texts, "url": texts, "date": dates})
    pq.write_table(columns, sink, compression=compression, row_group_size=7, data_page_version=version)
    return sink.getvalue()


def arc() -> bytes:
    pages = [http(html_page(sentences(number, 2))) for number in range(4)]
    head = b"filedesc://a 0.0.0.0 20140101000000 text/plain 5\nabcd\n\n"
    return head + b"".join(b"http://a/ 1.1.1.1 20140101000000 text/html %d\n%s\n" % (len(page), page) for page in pages)


WHOLE = {
    "a.warc": b"".join(WARC),
    "one.warc.gz": PACKS["gz"](b"".join(WARC)),
    **{f"many.warc.{packing}": b"".join(map(pack, WARC)) for packing, pack in PACKS.items()},
    "a.arc": arc(),
    "a.jsonl": b"".join(LINES),
    **{f"a.jsonl.{packing}": pack(b"".join(LINES)) for packing, pack in PACKS.items()},
    "a.txt": sentences(1, 20).encode(),
    "a.txt.gz": PACKS["gz"](sentences(1, 20).encode()),
    "a.tar": archive(),
    "a.tar.gz": PACKS["gz"](archive()),
    "a.html": html_page(sentences(3, 5)),
    "a.py": b"import os\n\ndef f(x):\n    return x + 1\n" * 5,
    "a.ipynb": json.dumps(NOTEBOOK).encode(),
    "plain.parquet": table("none", "1.0"),
    "snappy.parquet": table("snappy", "1.0"),
    "zstd.parquet": table("zstd", "2.0"),
}


def read(folder: Path, name: str, content: bytes, max_chars: int = 0) -> list[Record]:
    path = folder / name
    path.write_bytes(content)
    file = InputFile("s", name, path, file_kind(path, True) or "", len(content))
    return list(read_file(file, Counter(), max_chars, Reading(max_record_bytes=1 << 20, book_s=20)))


def check(records: list[Record]) -> None:
    """Each record can be used, or says in a line why not; and each can be written as UTF-8."""
    for record in records:
        assert record.problem or record.body.strip()
        assert len(record.problem) < 200 and "\n" not in record.problem
        texts = [record.url, record.date, record.title, record.problem, record.locator, *record.notes.values()]
        for text in [*texts, record.body] if isinstance(record.body, str) else texts:
            text.encode()


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut off, flipped, overwritten, shortened, lengthened, joined to another file, or noise."""
    data = bytearray(content if draw.random() < 0.97 else draw.randbytes(draw.randrange(3000)))
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        at, other = draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)
        kind = draw.randrange(7)
        if kind == 0:
            del data[at:]
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            data[at : at + draw.randrange(60)] = draw.randbytes(draw.randrange(60))
        elif kind == 3:
            del data[at : at + draw.randrange(60)]
        elif kind == 4:
            data += draw.choice(list(WHOLE.values()))
        elif kind == 5:
            data[at:at] = data[other : other + draw.randrange(200)]
        else:
            data[at:at] = bytes(draw.randrange(2000))
    return bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def test_all_kinds_are_read_whole(folder: Path) -> None:
    counts = {name: len(read(folder, name, content)) for name, content in WHOLE.items()}
    assert not [name for name, content in WHOLE.items() for record in read(folder, name, content) if record.problem]
    assert [counts[name] for name in ("a.warc", "many.warc.xz", "a.arc", "a.jsonl.zst", "a.tar", "zstd.parquet")] == [
        6,
        6,
        4,
        8,
        4,
        20,
    ]


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(WHOLE)), seed=st.integers(0, 1 << 32), max_chars=st.sampled_from([0, 300]))
def test_damage_never_raises(folder: Path, name: str, seed: int, max_chars: int) -> None:
    check(read(folder, name, damaged(WHOLE[name], random.Random(seed)), max_chars))


@given(
    name=st.sampled_from(["many.warc.gz", "many.warc.xz", "many.warc.zst", "a.warc", "a.jsonl", "a.tar"]),
    data=st.data(),
)
def test_what_comes_before_a_cut_is_unchanged(folder: Path, name: str, data: st.DataObject) -> None:
    whole = read(folder, name, WHOLE[name])
    end = data.draw(st.integers(0, len(WHOLE[name])))
    good = [record for record in read(folder, name, WHOLE[name][:end]) if not record.problem]
    if name == "a.jsonl":  # the last line may be cut before its line end
        complete = WHOLE[name][: end + 1].count(b"\n")
    elif name.startswith("many"):
        sizes = [len(PACKS[name.rpartition(".")[2]](record)) for record in WARC]
        complete = sum(sum(sizes[: number + 1]) <= end for number in range(len(sizes)))
    else:
        complete = 0
    assert good == whole[: len(good)]
    assert len(good) >= complete


@given(names=st.lists(st.sampled_from(["many.warc.gz", "one.warc.gz"]), min_size=1, max_size=4))
def test_archives_one_behind_the_other_are_one_archive(folder: Path, names: list[str]) -> None:
    records = read(folder, "a.warc.gz", b"".join(WHOLE[name] for name in names))
    assert [(record.url, record.body) for record in records] == [
        (record.url, record.body) for name in names for record in read(folder, name, WHOLE[name])
    ]
    assert len({record.locator for record in records}) == len(records)


@given(at=st.integers(0, 5), seed=st.integers(0, 1 << 32), packing=st.sampled_from(["gz", "xz"]))
@example(at=1, seed=157268, packing="gz")  # unpacks to something longer, and only the checksum tells
def test_damage_in_one_record_costs_no_other(folder: Path, at: int, seed: int, packing: str) -> None:
    """gzip and xz have checksums; the frames of zstd that Arrow writes have none."""
    members, draw = [PACKS[packing](record) for record in WARC], random.Random(seed)
    hurt = bytearray(members[at])
    place = draw.randrange(12, len(hurt) - 12)
    hurt[place : place + 8] = draw.randbytes(8)
    if bytes(hurt) == members[at]:
        return
    members[at] = bytes(hurt)
    records = read(folder, f"a.warc.{packing}", b"".join(members))
    good = [record for record in records if not record.problem]
    assert [record.url for record in good] == [f"http://a/{number}" for number in range(6) if number != at]
    assert len(records) == len(good) + 1


@pytest.mark.long
@settings(max_examples=20_000)
@given(name=st.sampled_from(sorted(WHOLE)), seed=st.integers(0, 1 << 64), max_chars=st.sampled_from([0, 300]))
def test_damage_never_raises_in_many_files(folder: Path, name: str, seed: int, max_chars: int) -> None:
    check(read(folder, name, damaged(WHOLE[name], random.Random(seed)), max_chars))


@pytest.mark.long
@settings(max_examples=150)
@given(name=st.sampled_from(["a.epub", "a.pdf"]), seed=st.integers(0, 1 << 64))
def test_damaged_books_never_raise(folder: Path, name: str, seed: int) -> None:
    pytest.importorskip("pypdfium2")
    canvas = pytest.importorskip("reportlab.pdfgen.canvas")
    if name == "a.epub":
        content = epub({f"c{number}.xhtml": html_page(sentences(number, 5)) for number in range(2)})
    else:
        sink = io.BytesIO()
        page = canvas.Canvas(sink, invariant=True)
        for number in range(12):
            page.drawString(50, 700 - 20 * (number % 6), sentences(number, 1))
            if number % 6 == 5:
                page.showPage()
        page.save()
        content = sink.getvalue()
    check(read(folder, name, damaged(content, random.Random(seed))))

import io
import tarfile
from collections import Counter
from pathlib import Path

from puna.curate.read.limits import Reading
from puna.curate.read.record import Record
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs
from tests.curate.read.packs import gzip_bomb


def read(path: Path) -> list[Record]:
    (file,), _ = list_inputs([path])
    return list(read_file(file, Counter(), 0, Reading(max_record_bytes=10_000)))


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, body: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(body), kind) + body + bytes(-len(body) % 512)


def test_a_member_that_is_too_large_costs_this_member(tmp_path: Path) -> None:
    size = 3 << 20
    first, last = member("a.html", b"<p>first"), member("c.html", b"<p>last") + bytes(1024)
    (tmp_path / "a.tar.gz").write_bytes(gzip_bomb(size, first + header("b.html", size), last))
    assert [(record.locator, record.body, record.problem) for record in read(tmp_path / "a.tar.gz")] == [
        ("a.tar.gz:a.html", b"<p>first", ""),
        ("a.tar.gz:b.html", "", "larger than 10000 bytes"),
        ("a.tar.gz:c.html", b"<p>last", ""),
    ]


def test_a_name_of_megabytes_is_not_read(tmp_path: Path) -> None:
    content = member("a.html", b"<p>first") + member("././@LongLink", b"x" * (2 << 20), tarfile.GNUTYPE_LONGNAME)
    (tmp_path / "a.tar").write_bytes(content + member("b.html", b"<p>last") + bytes(1024))
    assert [(record.locator, record.problem) for record in read(tmp_path / "a.tar")] == [
        ("a.tar:a.html", ""),
        ("a.tar", "damaged tar (ReadError)"),
    ]


def test_what_comes_before_damage_is_read(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name in ("one.html", "long" * 60 + ".html", "three.html"):
            info = tarfile.TarInfo(name)
            info.size = 600
            archive.addfile(info, io.BytesIO(b"x" * 600))
    content = sink.getvalue()
    at = content.index(b"three.html")
    (tmp_path / "cut.tar").write_bytes(content[: at + 700])
    (tmp_path / "bad.tar").write_bytes(content[:at] + b"\xff" * 512 + content[at + 512 :])
    for name in ("cut.tar", "bad.tar"):
        records = read(tmp_path / name)
        assert [record.problem for record in records] == ["", "", "damaged tar (ReadError)"]
        assert records[1].locator == f"{name}:{'long' * 60}.html"

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.curate.read import stream
from puna.curate.read.limits import Reading
from puna.curate.read.stream import Stream
from puna.curate.read.warc import Page, read_warc
from tests.curate.pages import html_page, http, sentences, warc_record, write_warc
from tests.curate.read.packs import PACKS, gzip_bomb


def read(path: Path) -> tuple[list[Page], list[str], Counter[str]]:
    skipped: Counter[str] = Counter()
    with open(path, "rb") as file:
        pages = list(read_warc(Stream(file, path.name, Reading()), skipped, 32 << 20))
    return [page for page in pages if not page.problem], [page.problem for page in pages if page.problem], skipped


def html_responses(path: Path) -> list[str]:
    """Independent reader: addresses of 2xx HTML responses with a body, by hand from the uncompressed bytes."""
    content = gzip.decompress(path.read_bytes())
    urls, begin = [], 0
    while begin < len(content):
        end = content.index(b"\r\n\r\n", begin)
        head = content[begin:end]
        fields = dict(re.findall(rb"(?im)^([\w-]+): ?(.*?)\r?$", head))
        fields = {key.lower(): value for key, value in fields.items()}
        length = int(fields[b"content-length"])
        http_head, _, body = content[end + 4 : end + 4 + length].partition(b"\r\n\r\n")
        is_html = re.search(rb"(?i)^content-type: *(text/html|application/xhtml\+xml)", http_head, re.MULTILINE)
        if fields[b"warc-type"] == b"response" and re.match(rb"HTTP/\S+ 2\d\d", http_head) and is_html and body.strip():
            urls.append(fields[b"warc-target-uri"].decode().strip("<>"))
        begin = end + 4 + length + 4
    return urls


@pytest.mark.parametrize("name", ["aut-example", "resiliparse-warcfile", "whirlwind"])
def test_same_pages_as_an_independent_reader(shared_data: Path, name: str) -> None:
    path = shared_data / "web-warc" / f"{name}.warc.gz"
    pages, _, _ = read(path)
    expected = html_responses(path)
    assert [page.url for page in pages if page.form == "html"] == expected
    assert len(expected) >= 1


@pytest.mark.parametrize(
    ("name", "num_pages", "problem"),
    [
        ("resiliparse-clipped.warc.gz", 0, "truncated gzip member"),
        ("warcio/example-trunc.warc", 1, "damaged record"),
        ("warcio/bad.arc", 0, "damaged record (length -1"),
        ("warcio/example-wrong-chunks.warc.gz", 1, ""),
        ("warcio/example.warc", 1, ""),
        ("warcio/example.warc.gz", 1, ""),
        ("warcio/example.arc", 1, ""),
        ("warcio/example.arc.gz", 1, ""),
        ("whirlwind.warc.wet.gz", 1, ""),
    ],
)
def test_tricky_and_damaged_archives(shared_data: Path, name: str, num_pages: int, problem: str) -> None:
    pages, problems, _ = read(shared_data / "web-warc" / name)
    assert len(pages) == num_pages
    assert all(page.body.strip() for page in pages)
    assert problems[0].startswith(problem) if problem else not problems


def test_arc_and_warc_of_one_page_agree(shared_data: Path) -> None:
    folder = shared_data / "web-warc" / "warcio"
    (arc,), (warc,) = read(folder / "example.arc")[0], read(folder / "example.warc")[0]
    assert arc.url == warc.url == "http://example.com/"
    assert (arc.date, arc.charset) == ("2014-02-16T05:02:21Z", "")
    assert b"Example Domain" in arc.body
    assert len(arc.body) == len(warc.body) == 1270  # the Content-Length in both HTTP heads


@pytest.mark.parametrize("packed", [True, False])
def test_damage_costs_only_the_damaged_record(tmp_path: Path, packed: bool) -> None:
    records = [warc_record(f"http://a/{i}", http(html_page(sentences(i, 30)))) for i in range(9)]
    members = [gzip.compress(record, mtime=0) for record in records] if packed else records
    broken = bytearray(members[4])
    if packed:
        broken[len(broken) // 2 : len(broken) // 2 + 40] = bytes(40)
    else:
        broken[0:40] = b"x" * 40  # the record no longer begins as one
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    path.write_bytes(b"".join([*members[:4], bytes(broken), *members[5:]]))
    pages, problems, _ = read(path)
    assert [page.url for page in pages] == [f"http://a/{i}" for i in (0, 1, 2, 3, 5, 6, 7, 8)]
    assert len(problems) == 1
    assert problems[0] == (
        "damaged gzip member (incorrect data check)" if packed else "damaged record (no WARC header)"
    )


@pytest.mark.parametrize("share", [0.3, 0.55, 0.97])
def test_a_cut_off_archive_keeps_its_whole_records(tmp_path: Path, share: float) -> None:
    pages = [(f"http://a/{i}", html_page(sentences(i, 40))) for i in range(20)]
    path = tmp_path / "a.warc.gz"
    write_warc(path, pages)
    content = path.read_bytes()[: int(path.stat().st_size * share)]
    whole = html_count_of_whole_members(content)
    path.write_bytes(content)
    good, problems, _ = read(path)
    assert [page.url for page in good] == [url for url, _ in pages[:whole]]
    assert len(problems) == 1


def html_count_of_whole_members(content: bytes) -> int:
    count = 0
    while content:
        member = zlib.decompressobj(wbits=31)
        member.decompress(content)
        if not member.eof:
            break
        count, content = count + 1, member.unused_data
    return count


def test_what_is_no_page_is_counted(tmp_path: Path) -> None:
    records = [
        warc_record("http://a/1", http(b"GIF89a", "image/gif")),
        warc_record("http://a/2", http(b"<html>gone</html>", status="404 Not Found")),
        warc_record("http://a/3", b"GET / HTTP/1.1\r\n\r\n", kind="request"),
        warc_record("http://a/4", http(b"")),
        warc_record("http://a/5", http(b"plain words", "text/plain")),
        warc_record("http://a/6", http(b"<!DOCTYPE html><p>x", "application/octet-stream")),
    ]
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(records))
    pages, problems, skipped = read(path)
    assert [(page.url, page.form) for page in pages] == [("http://a/5", "web"), ("http://a/6", "html")]
    assert problems == ["empty body"]
    assert dict(skipped) == {"media type image/gif": 1, "HTTP status 404": 1, "record request": 1}


def test_an_empty_file_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(b"")
    assert read(tmp_path / "a.warc.gz")[1] == ["empty file"]


def test_a_length_that_is_a_lie_costs_its_record_only(tmp_path: Path) -> None:
    good = [warc_record(f"http://a/{i}", http(html_page(sentences(i, 30)))) for i in range(4)]
    lengths = [b"Content-Length: %d\r\n" % size for size in (10 << 30, 4000)]
    for packed in (False, True):
        for length in lengths:
            liar = re.sub(rb"(?m)^Content-Length: \d+\r\n(?=\r\nHTTP)", length, good[1])
            assert liar != good[1]
            records = [good[0], liar, good[2], good[3]]
            path = tmp_path / f"a{len(length)}.warc{'.gz' if packed else ''}"
            path.write_bytes(b"".join(gzip.compress(one) if packed else one for one in records))
            pages, problems, _ = read(path)
            assert [page.url for page in pages] == ["http://a/0", "http://a/2", "http://a/3"]
            assert len(problems) == 1
            assert problems[0].startswith(
                "larger than" if length is lengths[0] else "damaged record (length 4000 leads"
            )


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_that_is_too_large_costs_itself(tmp_path: Path, packed: bool) -> None:
    sizes = [100, 5000, 200]
    bodies = [html_page("x" * size) for size in sizes]
    records = [warc_record(f"http://a/{size}", http(body)) for size, body in zip(sizes, bodies)]
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    path.write_bytes(b"".join(gzip.compress(record) if packed else record for record in records))
    with open(path, "rb") as file:
        pages = list(read_warc(Stream(file, path.name, Reading()), Counter(), 2000))
    assert [(page.url, page.problem) for page in pages] == [
        ("http://a/100", ""),
        ("http://a/5000", "larger than 2000 bytes"),
        ("http://a/200", ""),
    ]
    assert [page.body for page in pages] == [bodies[0], b"", bodies[2]]


def test_a_record_that_unpacks_to_too_much_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_FREE_BYTES", 5 << 20)
    size = 40 << 20
    good = [gzip.compress(warc_record(f"http://a/{i}", http(html_page(sentences(i, 9))))) for i in range(4)]
    head = f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: http://b/\r\nContent-Length: {size}\r\n\r\n".encode()
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join([good[0], gzip_bomb(size, head), good[1], gzip_bomb(size), good[2], good[3]]))
    pages, problems, _ = read(path)
    assert [page.url for page in pages] == [f"http://a/{i}" for i in range(4)]
    assert problems == ["unpacks to more than 200 times its size"] * 2


def test_an_http_body_that_unpacks_to_too_much(tmp_path: Path) -> None:
    bomb = gzip_bomb(40 << 20)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    path = tmp_path / "a.warc"
    path.write_bytes(warc_record("http://b/", head + bomb) + warc_record("http://a/", http(html_page("text"))))
    pages, problems, _ = read(path)
    assert [page.url for page in pages] == ["http://a/"]
    assert problems == ["larger than 33554432 bytes"]


def test_other_packings_and_places(tmp_path: Path) -> None:
    records = [warc_record(f"http://a/{i}", http(html_page(sentences(i, 9)))) for i in range(3)]
    whole = b"".join(records)
    for packing, pack in PACKS.items():
        for name, content in (("many", b"".join(map(pack, records))), ("one", pack(whole))):
            path = tmp_path / f"{name}.warc.{packing}"
            path.write_bytes(content)
            pages, problems, _ = read(path)
            assert [page.url for page in pages] == ["http://a/0", "http://a/1", "http://a/2"]
            assert not problems
            assert len({page.place for page in pages}) == 3
    (tmp_path / "a.warc").write_bytes(whole)
    places = [page.place for page in read(tmp_path / "a.warc")[0]]
    assert [whole[int(place) :][:8] for place in places] == [b"WARC/1.1"] * 3


@pytest.mark.parametrize(
    "content",
    [
        b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 900000\r\n\r\n\n" * 15_000,
        b"\nWARC/1.0\r\n" * 100_000,
        b"\nWARC/" * 200_000,
        b"\x1f\x8b\x08" * 60_000,
        b"filedesc://\n" + b"http://a/ 1.1.1.1 20140101000000 text/html 1900000\n" * 20_000,
    ],
)
def test_work_is_linear_in_a_file_of_lies(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in bytes that are copied or unpacked, not in seconds."""
    seen = 0
    monkeypatch.setattr(stream, "_FREE_BYTES", 1 << 20)
    for method in ("ahead", "peek"):
        real = getattr(Stream, method)

        def counted(self: Stream, num_bytes: int, real: Callable[..., Any] = real) -> Any:
            nonlocal seen
            got = real(self, num_bytes)
            seen += len(got[0] if isinstance(got, tuple) else got)
            return got

        monkeypatch.setattr(Stream, method, counted)
    path = tmp_path / "a.warc"
    path.write_bytes(content)
    good, _, _ = read(path)
    assert not good
    assert seen < 12 * len(content) + (4 << 20)

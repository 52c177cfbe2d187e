import gzip
import re
import zlib
from collections import Counter
from pathlib import Path

import pytest

from puna.curate.read.limits import Reading
from puna.curate.read.stream import Stream
from puna.curate.read.warc import Page, read_warc
from tests.curate.pages import html_page, http, sentences, warc_record, write_warc


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

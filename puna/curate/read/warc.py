"""Web archives -> pages: WARC and WET by fastwarc, the older ARC by a few lines here (fastwarc reads none).

A damaged record costs that record only: reading goes on at the next place where a record can begin.
"""

import gzip
import mmap
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

_READ_TYPES = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
_HTML_TYPES = ("text/html", "application/xhtml+xml")
# How a record can begin, by the first bytes of the file: where to look on after damage.
_RECORD_STARTS = (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"WARC/1.")
_ARC_HEADER = re.compile(rb"^([a-z]+:[^ \n]*) ([^ \n]+) (\d{8,20}) ([^ \n]+)(?: [^\n]*)? (-?\w+)\r?\n", re.MULTILINE)


@dataclass(slots=True)
class Page:
    """One archived page; `offset` is where its record begins in the file, `problem` why it cannot be used."""

    offset: int
    form: str = "html"
    body: bytes = b""
    url: str = ""
    date: str = ""
    charset: str = ""
    problem: str = ""


def read_warc(path: Path, skipped: Counter[str]) -> Iterator[Page]:
    """Pages of a WARC, WET or ARC file (plain, .gz, .zst); records that are no pages are counted in `skipped`."""
    if path.stat().st_size == 0:
        yield Page(0, problem="empty file")
    elif _is_arc(path):
        yield from _read_arc(path, skipped)
    else:
        yield from _read_warc(path, skipped)


def _read_warc(path: Path, skipped: Counter[str]) -> Iterator[Page]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = next((mark for mark in _RECORD_STARTS if content[: len(mark)] == mark), b"WARC/1.")
        begin, last, damaged_at = 0, -1, -1
        while begin >= 0:
            file.seek(begin)
            problem, page = "", None
            try:
                for record in ArchiveIterator(file, record_types=WarcRecordType.any_type, parse_http=False):
                    last = begin + record.stream_pos
                    # A member found by its mark after damage must be a record, or it was chance.
                    damaged_at = -1
                    page = _page(record, last, skipped)
                    if page is not None:
                        yield page
            except (OSError, KeyError, ValueError, EOFError) as error:
                problem = f"damaged record ({_one_line(error)})"
            is_known = page is not None and page.problem != ""
            if not problem and (is_known or start != _RECORD_STARTS[0] or not _is_cut_off(content[max(0, last) :])):
                break
            problem = problem or "truncated gzip member"
            if damaged_at < 0:
                damaged_at = max(last, begin) + 1
                yield Page(damaged_at, problem=problem)
            begin = content.find(start, max(last, begin) + 1)
            last = begin


def _is_cut_off(tail: bytes) -> bool:
    """Whether the last gzip member has no end: where it gives no byte of a record, fastwarc takes it for the end."""
    while tail.startswith(_RECORD_STARTS[0]):
        member = zlib.decompressobj(wbits=31)
        try:
            member.decompress(tail)
        except zlib.error:
            return False
        if not member.eof:
            return True
        tail = member.unused_data
    return False


def _page(record: WarcRecord, offset: int, skipped: Counter[str]) -> Page | None:
    """The page in a record, or None if it is of another type."""
    if not record.record_type & _READ_TYPES:
        skipped[f"record {record.record_type}"] += 1
        return None
    page = Page(offset, url=(record.headers.get("WARC-Target-URI") or "").strip("<> "))
    page.date = record.headers.get("WARC-Date") or ""
    expected = record.content_length
    record.freeze()
    if record.content_length < expected:
        page.problem = f"truncated record ({record.content_length} of {expected} bytes)"
        return page
    is_http = record.is_http
    if is_http:
        try:
            record.parse_http(auto_decode="all")
            page.body = record.reader.read()
        except (OSError, ValueError, EOFError) as error:
            page.problem = f"damaged HTTP body ({_one_line(error)})"
            return page
        status = record.http_headers.status_code if record.http_headers else None
        if status is not None and not 200 <= status < 300:
            skipped[f"HTTP status {status}"] += 1
            return None
        media, page.charset = record.http_content_type or "", record.http_charset or ""
    else:
        media, page.body = (record.headers.get("Content-Type") or "").split(";")[0], record.reader.read()
    form = "web" if record.record_type == WarcRecordType.conversion else ""
    return _typed(page, media.strip().lower(), form, skipped)


def _typed(page: Page, media: str, form: str, skipped: Counter[str]) -> Page | None:
    """`page` with its form by media type and first bytes; None, and counted, if it is neither HTML nor text."""
    looks_html = page.body[:1000].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if media in _HTML_TYPES or (looks_html and media in ("", "text/plain", "application/octet-stream", "no-type")):
        page.form = "html"
    elif form == "web" or media == "text/plain":
        page.form = "web"
    else:
        skipped[f"media type {media or 'unknown'}"] += 1
        return None
    if not page.body.strip():
        page.problem = "empty body"
    return page


def _is_arc(path: Path) -> bool:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
            return file.read(11) == b"filedesc://"
    except (OSError, EOFError, zlib.error):
        return False


def _read_arc(path: Path, skipped: Counter[str]) -> Iterator[Page]:
    """Records of an ARC file, version 1: a line `URL IP date type length`, then `length` bytes (Internet Archive)."""
    content = path.read_bytes()
    broken_end = ""
    if content[:2] == b"\x1f\x8b":
        content, broken_end = _gunzip(content)
    begin = 0
    while match := _ARC_HEADER.search(content, begin):
        url, _, date, media, length = (part.decode("utf-8", "replace") for part in match.groups())
        body = content[match.end() : match.end() + int(length)] if length.isdigit() else b""
        page = Page(match.start(), url=url, date=_iso_date(date))
        if not length.isdigit() or len(body) < int(length):
            begin = match.end()
            page.problem = f"damaged record (length {length}, {len(content) - match.end()} bytes left)"
            yield page
            continue
        begin = match.end() + len(body)
        if url.startswith("filedesc:"):
            skipped["record filedesc"] += 1
            continue
        typed = _arc_page(page, body, media, skipped)
        if typed is not None:
            yield typed
    if broken_end:
        yield Page(begin, problem=broken_end)


def _arc_page(page: Page, body: bytes, media: str, skipped: Counter[str]) -> Page | None:
    head, separator, page.body = body.partition(b"\r\n\r\n") if body.startswith(b"HTTP/") else (b"", b"", body)
    status = head[:30].split(b" ")[1:2]
    if separator and status and not status[0].startswith(b"2"):
        skipped[f"HTTP status {status[0].decode('ascii', 'replace')[:3]}"] += 1
        return None
    charset = re.search(rb"(?i)^content-type:.*charset=[\"']?([\w-]+)", head, re.MULTILINE)
    page.charset = charset.group(1).decode() if charset else ""
    return _typed(page, media.lower(), "", skipped)


def _gunzip(content: bytes) -> tuple[bytes, str]:
    """All gzip members of `content` that can be read, and what was wrong with the rest."""
    plain = []
    while content:
        member = zlib.decompressobj(wbits=31)
        try:
            plain.append(member.decompress(content))
        except zlib.error as error:
            return b"".join(plain), f"damaged gzip member ({_one_line(error)})"
        if not member.eof:
            return b"".join(plain), "truncated gzip member"
        content = member.unused_data
    return b"".join(plain), ""


def _iso_date(digits: str) -> str:
    digits = digits.ljust(14, "0")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}:{digits[12:14]}Z"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__

"""Web archives -> pages: WARC, WET (ISO 28500) and the older ARC. Records are cut here, their HTTP is read by fastwarc.

A damaged record costs that record only: reading goes on at the next place where a record can begin, a gzip member or
`WARC/` at the start of a line. fastwarc cuts records itself, too, but takes what a record says of its length for
true: one that claims 10 GB would swallow all behind it, and one that unpacks to as much, the memory.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from puna.curate.read.damage import Damaged, larger_than, one_line
from puna.curate.read.stream import Stream

_PAGE_TYPES = (b"response", b"resource", b"conversion")
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_MARK = b"WARC/"
_HEAD_BYTES, _ARC_HEAD_BYTES = 1 << 16, 1 << 13
_STEP_BYTES = 1 << 16
_DOUBT_BYTES = 1 << 16
_BEHIND_BYTES = 24  # enough to see the two line ends and the next record's first word
_FIELD = re.compile(rb"^([\w-]+)[ \t]*:[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
_ARC_HEADER = re.compile(rb"([a-z]+:[^ \n]*) ([^ \n]+) (\d{8,20}) ([^ \n]+)(?: [^\n]*)? (-?\w+)\r?\n")


@dataclass(slots=True)
class Page:
    """One archived page; `place` is where its record begins in the file, `problem` why it cannot be used."""

    place: str
    form: str = "html"
    body: bytes = b""
    url: str = ""
    date: str = ""
    charset: str = ""
    problem: str = ""


def read_warc(stream: Stream, skipped: Counter[str], max_bytes: int) -> Iterator[Page]:
    """Pages of a WARC, WET or ARC file; records that are no pages are counted in `skipped`."""
    read_record, is_damaged, place = None, False, "0"
    while True:
        try:
            if read_record is None:
                begin = stream.peek(11)
                read_record = _arc_record if begin == b"filedesc://" else _warc_record
                if not begin:
                    yield Page("0", problem="empty file")
                    return
            place = stream.place()
            while (begin := stream.peek(1)) in (b"\r", b"\n"):
                stream.advance(1)
                place = stream.place()
            if not begin:
                return
            page = read_record(stream, place, skipped, max_bytes)
            is_damaged = page is not None and page.problem.startswith("damaged record")
            if page is not None:
                yield page
        except Damaged as damage:
            if not is_damaged:  # what lies between a damaged record and the next whole one is one
                yield Page(place, problem=str(damage))
            is_damaged = True
            if stream.damage is not None and not stream.resume():
                return


def _warc_record(stream: Stream, place: str, skipped: Counter[str], max_bytes: int) -> Page | None:
    """The record that begins here; None if it is no page. Raises Damaged, standing where the next may begin."""
    if stream.peek(len(_MARK)) != _MARK:
        stream.skip_past(b"\n" + _MARK)
        raise Damaged("damaged record (no WARC header)")
    member = stream.member()
    head = stream.until(b"\r\n\r\n", _HEAD_BYTES)
    if head is None:
        stream.take(_HEAD_BYTES // 2)  # no header that ends could begin there
        stream.skip_past(b"\n" + _MARK)
        raise Damaged("damaged record (header without end)")
    fields = {name.lower(): value for name, value in _FIELD.findall(head)}
    length = fields.get(b"content-length", b"")
    if not (length.isdigit() and len(length) < 20 and b"warc-type" in fields):
        stream.skip_past(b"\n" + _MARK)
        raise Damaged("damaged record (no type or length)")
    num_bytes, kind = int(length), fields[b"warc-type"].lower()
    if num_bytes > max_bytes:
        if not stream.skip_past(b"\r\n\r\n" + _MARK, num_bytes):
            stream.skip_past(b"\n" + _MARK, _BEHIND_BYTES)
        if kind in _PAGE_TYPES:
            return _described(Page(place, problem=larger_than(max_bytes)), fields)
        skipped[f"record {_word(kind)}"] += 1
        return None
    block = _block(stream, member, num_bytes)
    if kind not in _PAGE_TYPES:
        skipped[f"record {_word(kind)}"] += 1
        return None
    return _page(head + block, _described(Page(place), fields), kind == b"conversion", skipped, max_bytes)


def _block(stream: Stream, member: int, num_bytes: int) -> bytes:
    """The block of a record, if its length leads to the end or to another record; else Damaged, at the next one."""
    ahead, damage = stream.ahead(num_bytes + _BEHIND_BYTES)
    block, behind = ahead[:num_bytes], ahead[num_bytes:]
    line_ends, behind = len(behind) - len(behind.lstrip(b"\r\n")), behind.lstrip(b"\r\n")
    is_followed = not behind or behind.startswith(_MARK)
    if not is_followed and damage is None:  # perhaps its member unpacks to something else, and its checksum tells
        _, damage = stream.ahead(num_bytes + _DOUBT_BYTES)
    if damage is not None and (len(block) < num_bytes or damage.at == member):
        raise damage
    if len(block) < num_bytes or (not is_followed and b"\n" + _MARK in block):
        if not stream.may_look_again(len(block)):
            stream.advance(len(block))
        stream.skip_past(b"\n" + _MARK)
        raise Damaged(
            f"truncated record ({len(block)} of {num_bytes} bytes)"
            if len(block) < num_bytes
            else f"damaged record (length {num_bytes} leads to no record)"
        )
    stream.advance(num_bytes + line_ends)
    return block


def _described(page: Page, fields: dict[bytes, bytes]) -> Page:
    page.url = fields.get(b"warc-target-uri", b"").decode("utf-8", "replace").strip("<> ")
    page.date = fields.get(b"warc-date", b"").decode("utf-8", "replace")
    return page


def _page(whole: bytes, page: Page, is_text: bool, skipped: Counter[str], max_bytes: int) -> Page | None:
    """`page` with the body of the record `whole`, unpacked as its HTTP headers say; None if it is of another type."""
    try:
        content = io.BytesIO(b"WARC/1.1" + whole[whole.index(b"\r") :])  # fastwarc reads no WARC/0.17
        archive = ArchiveIterator(content, record_types=WarcRecordType.any_type, parse_http=False)
        record: WarcRecord = next(archive)
        if record.is_http:
            record.parse_http(auto_decode="all")
        page.body = _read(record, max_bytes)
    except (OSError, ValueError, KeyError, EOFError, StopIteration) as error:
        page.problem = f"damaged HTTP body ({one_line(error)})"
        return page
    if len(page.body) > max_bytes:
        page.problem, page.body = larger_than(max_bytes), b""
        return page
    if record.is_http:
        status = record.http_headers.status_code if record.http_headers else None
        if status is not None and not 200 <= status < 300:
            skipped[f"HTTP status {status}"] += 1
            return None
        media, page.charset = record.http_content_type or "", record.http_charset or ""
    else:
        media = (record.headers.get("Content-Type") or "").split(";")[0]
    return _typed(page, media.strip().lower(), "web" if is_text else "", skipped)


def _read(record: WarcRecord, max_bytes: int) -> bytes:
    """The body of a record, one byte more than `max_bytes` at most; in steps, since fastwarc reserves what is asked."""
    parts, left = [], max_bytes + 1
    while left and (part := record.reader.read(min(left, _STEP_BYTES))):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _typed(page: Page, media: str, form: str, skipped: Counter[str]) -> Page | None:
    """`page` with its form by media type and first bytes; None, and counted, if it is neither HTML nor text."""
    looks_html = page.body[:1000].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if media in _HTML_TYPES or (looks_html and media in ("", "text/plain", "application/octet-stream", "no-type")):
        page.form = "html"
    elif form == "web" or media == "text/plain":
        page.form = "web"
    else:
        skipped[f"media type {media[:60] or 'unknown'}"] += 1
        return None
    if not page.body.strip():
        page.problem = "empty body"
    return page


def _arc_record(stream: Stream, place: str, skipped: Counter[str], max_bytes: int) -> Page | None:
    """A record of ARC, version 1: a line `URL IP date type length`, then `length` bytes (Internet Archive)."""
    member = stream.member()
    match = _ARC_HEADER.fullmatch(stream.line(_ARC_HEAD_BYTES))
    if match is None:
        raise Damaged("damaged record (no ARC header)")
    url, _, date, media, length = (part.decode("utf-8", "replace") for part in match.groups())
    page = Page(place, url=url, date=_iso_date(date))
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        page.problem = f"damaged record (length {length[:20]})"
        return page
    if int(length) > max_bytes:
        if not stream.skip_past(b"\nhttp", int(length)):
            stream.line(_BEHIND_BYTES)
        page.problem = larger_than(max_bytes)
        return page
    body, damage = stream.ahead(int(length))
    if damage is not None and (len(body) < int(length) or damage.at == member):
        raise damage
    if len(body) < int(length):
        if not stream.may_look_again(len(body)):
            stream.advance(len(body))
        page.problem = f"damaged record (length {length}, {len(body)} bytes left)"
        return page
    stream.advance(len(body))
    if url.startswith("filedesc:"):
        skipped["record filedesc"] += 1
        return None
    return _arc_page(page, body, media, skipped)


def _arc_page(page: Page, body: bytes, media: str, skipped: Counter[str]) -> Page | None:
    head, separator, page.body = body.partition(b"\r\n\r\n") if body.startswith(b"HTTP/") else (b"", b"", body)
    status = head[:30].split(b" ")[1:2]
    if separator and status and not status[0].startswith(b"2"):
        skipped[f"HTTP status {_word(status[0][:3])}"] += 1
        return None
    charset = re.search(rb"(?i)^content-type:.*charset=[\"']?([\w-]+)", head, re.MULTILINE)
    page.charset = charset.group(1).decode("ascii", "replace") if charset else ""
    return _typed(page, media.lower(), "", skipped)


def _word(word: bytes) -> str:
    """A word of a file, short enough to be a name in a report."""
    return "".join(letter if letter.isprintable() else "?" for letter in word[:20].decode("utf-8", "replace"))


def _iso_date(digits: str) -> str:
    digits = digits.ljust(14, "0")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}:{digits[12:14]}Z"

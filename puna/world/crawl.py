"""A WARC/1.1 file from pages: one gzip member a record, the same bytes for the same pages."""

import base64
import hashlib
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

from puna.world.chance import Chance
from puna.world.markup import to_html
from puna.world.page import Page

_GZIP_LEVEL = 4
_GZIP_WINDOW = 31


def write_warc(path: Path, pages: Sequence[Page], seed: int) -> None:
    """Write a warcinfo record and one response record a page (ISO 28500:2017, "WARC/1.1")."""
    with open(path, "wb") as file:
        info = b"software: puna.world\r\nformat: WARC File Format 1.1\r\ndescription: a synthetic village\r\n"
        fields = {"WARC-Type": "warcinfo", "Content-Type": "application/warc-fields"}
        file.write(_record(fields, "2026-01-01T00:00:00Z", f"info {seed}", info))
        for page in pages:
            file.write(_response(page, seed))


def write_wet(path: Path, texts: Sequence[tuple[str, str, str]], seed: int) -> None:
    """Write a WARC file of conversion records, as Common Crawl's WET, from (address, date, text)."""
    with open(path, "wb") as file:
        for url, date, text in texts:
            fields = {"WARC-Type": "conversion", "WARC-Target-URI": url, "Content-Type": "text/plain"}
            file.write(_record(fields, date, f"{seed} {url} {date}", text.encode()))


def _response(page: Page, seed: int) -> bytes:
    """The record of one page; its markup is drawn from a stream of its address and date."""
    if page.layout == "binary":
        kind, body = "application/octet-stream", hashlib.sha256(page.url.encode()).digest() * 8
    else:
        kind, body = "text/html; charset=utf-8", to_html(page, Chance(seed, "markup", page.url, page.date)).encode()
    header = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nServer: village\r\n\r\n"
    fields = {
        "WARC-Type": "response",
        "WARC-Target-URI": page.url,
        "WARC-Payload-Digest": "sha1:" + base64.b32encode(hashlib.sha1(body).digest()).decode(),
        "Content-Type": "application/http; msgtype=response",
    }
    return _record(fields, page.date, f"{seed} {page.url} {page.date}", header.encode() + body)


def _record(fields: dict[str, str], date: str, name: str, block: bytes) -> bytes:
    identity = uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4)
    head = {"WARC-Record-ID": f"<urn:uuid:{identity}>", "WARC-Date": date, **fields, "Content-Length": str(len(block))}
    text = "WARC/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in head.items()) + "\r\n"
    # zlib's own gzip header carries no time, so equal records are equal bytes.
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(text.encode() + block + b"\r\n\r\n") + packer.flush()

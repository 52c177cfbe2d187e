"""Hand-made web archives and pages for the tests of curation, written without the library that reads them."""

import gzip
import random
from pathlib import Path

from puna.base.output import Inputs, StageOutput
from puna.curate.clean import CurateConfig
from puna.curate.pipeline import run

NOUNS = ("mill", "river", "market", "school", "garden", "bridge", "baker", "farmer", "sheep", "llama", "apple", "bread")
VERBS = ("sees", "finds", "carries", "paints", "mends", "sells", "brings", "follows", "watches", "remembers")


def sentences(seed: int, count: int) -> str:
    """Plain English sentences, other ones for each seed."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        a, b, c = draw.sample(NOUNS, 3)
        lines.append(f"The {a} {draw.choice(VERBS)} the {b} of the {c} and that is {draw.randint(2, 9999)} steps away.")
    return " ".join(lines)


def html_page(text: str, title: str = "A page") -> bytes:
    """A page with a menu, the text in paragraphs, and a footer."""
    body = "".join(f"<p>{paragraph}</p>\n" for paragraph in text.split("\n\n"))
    return (
        f"<!DOCTYPE html><html><head><title>{title}</title></head><body><nav><a href='/'>Home</a></nav>"
        f"<main><h1>{title}</h1>{body}</main><footer>All rights reserved</footer></body></html>"
    ).encode()


def http(body: bytes, media: str = "text/html; charset=utf-8", status: str = "200 OK") -> bytes:
    """An HTTP response."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def warc_record(url: str, block: bytes, date: str = "2026-01-01T00:00:00Z", kind: str = "response") -> bytes:
    """A WARC/1.1 record (ISO 28500:2017)."""
    head = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def write_warc(path: Path, pages: list[tuple[str, bytes]], date: str = "2026-01-01T00:00:00Z") -> None:
    """Pages (url, html) as a .warc.gz with a gzip member for each record."""
    path.write_bytes(b"".join(gzip.compress(warc_record(url, http(body), date), mtime=0) for url, body in pages))


def curate(
    paths: list[Path],
    folder: Path,
    workers: int = 1,
    truth: Path | None = None,
    exams: Path | None = None,
    languages_model: Path | None = None,
    corpus: Path | None = None,
    thresholds: Path | None = None,
    **config: object,
) -> StageOutput:
    """Run the stage in `folder`, small shards, and return its output."""
    out = StageOutput(folder, seed=3, workers=workers)
    inputs: dict[str, Path | list[Path]] = {"crawl": paths}
    if truth is not None:
        inputs["truth"] = truth
    if exams is not None:
        inputs["exams"] = exams
    if thresholds is not None:
        inputs["thresholds"] = thresholds
    if corpus is not None:
        inputs["corpus"] = corpus
    if languages_model is not None:
        inputs["languages"] = languages_model
    run(CurateConfig.model_validate({"shards": 2, "record_seconds": 0, **config}), Inputs(inputs), out)
    return out


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of the artifact."""
    root = folder / "files"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

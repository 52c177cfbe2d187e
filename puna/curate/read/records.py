"""Input files -> records: one page or text each, before anything is known about its quality.

Nothing here is fatal for a whole run: what cannot be read becomes a record with a `problem`, and is kept aside; and
nothing is read without a limit (limits.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, cast

from puna.curate.read.books import read_book
from puna.curate.read.code import read_code, read_notebook
from puna.curate.read.damage import Damaged, larger_than
from puna.curate.read.limits import Reading
from puna.curate.read.lines import read_jsonl, read_text
from puna.curate.read.record import Record, broken
from puna.curate.read.sources import InputFile
from puna.curate.read.split import split_text
from puna.curate.read.stream import Stream
from puna.curate.read.table import read_parquet
from puna.curate.read.tar import html_record, read_tar
from puna.curate.read.warc import read_warc

__all__ = ["Record", "read_file"]


def read_file(
    file: InputFile, skipped: Counter[str], max_chars: int = 0, reading: Reading = Reading()
) -> Iterator[Record]:
    """The records of one file in their order; what is no document at all (images, redirects) is counted in `skipped`.

    Plain texts longer than `max_chars` are split. Raises RunError if a remote file does not come, however often asked.
    """
    stream: Stream | None = None
    try:
        if file.kind in _WHOLE:
            with file.open_seekable() as content:
                yield from _split(_WHOLE[file.kind](file, content, skipped, reading), max_chars)
            return
        with file.open() as content:
            stream = Stream(content, file.name, reading)
            if file.kind == "text":
                yield from read_text(file, stream, skipped, reading, max_chars)
            else:
                yield from _split(_STREAMED[file.kind](file, stream, skipped, reading), max_chars)
    except Damaged as damage:
        yield broken(file, file.name, f"damaged file ({damage})")
    except OSError as error:
        yield broken(file, file.name, f"damaged file ({type(error).__name__})", str(error).encode())


def _read_warc(file: InputFile, stream: Stream, skipped: Counter[str], reading: Reading) -> Iterator[Record]:
    for page in read_warc(stream, skipped, reading.max_record_bytes):
        place = f"{file.name}@{page.place}"
        yield Record(file.source, place, page.form, page.body, page.url, page.date, page.charset, page.problem)


def _read_html(file: InputFile, stream: Stream, skipped: Counter[str], reading: Reading) -> Iterator[Record]:
    body = stream.take(reading.max_record_bytes + 1)
    if len(body) > reading.max_record_bytes:
        yield broken(file, file.name, larger_than(reading.max_record_bytes), body)
    else:
        yield html_record(file, file.name, body)


def _split(records: Iterator[Record], max_chars: int) -> Iterator[Record]:
    for record in records:
        if record.form == "text" and not record.problem and 0 < max_chars < len(record.body):
            yield from _pieces(record, max_chars)
        else:
            yield record


def _pieces(record: Record, max_chars: int) -> Iterator[Record]:
    for number, piece in enumerate(split_text(cast(str, record.body), max_chars), 1):
        if piece.strip():
            url, place = record.url and f"{record.url}#piece-{number}", f"{record.locator}#{number}"
            notes = record.notes
            yield Record(record.source, place, "text", piece, url, record.date, title=record.title, notes=notes)


_STREAMED: dict[str, Callable[[InputFile, Stream, Counter[str], Reading], Iterator[Record]]] = {
    "warc": _read_warc,
    "html": _read_html,
    "tar": read_tar,
    "jsonl": read_jsonl,
    "code": read_code,
    "notebook": read_notebook,
}
_WHOLE: dict[str, Callable[[InputFile, IO[bytes], Counter[str], Reading], Iterator[Record]]] = {
    "parquet": read_parquet,
    "epub": read_book,
    "pdf": read_book,
}
"""Kinds that are read back and forth: from the disk, remote ones from a temporary copy on it."""

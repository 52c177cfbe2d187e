"""Input files -> records: one page or text each, before anything is known about its quality.

Nothing here is fatal for a whole file: what cannot be read becomes a record with a `problem`, and is kept aside.
"""

import gzip
import io
import json
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from puna.curate.read.sources import InputFile
from puna.curate.read.split import split_text
from puna.curate.read.warc import read_warc

_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException, tarfile.TarError)
_SAMPLE_BYTES = 300


@dataclass(slots=True)
class Record:
    """One page or text as found. `locator` says where in its source; `problem` is empty when it can be used.

    form: "html" (bytes to extract from), "web" (text that an extractor made: WET) or "text" (a user's plain text).
    """

    source: str
    locator: str
    form: str
    body: bytes | str
    url: str = ""
    date: str = ""
    charset: str = ""
    problem: str = ""


def read_file(file: InputFile, skipped: Counter[str], max_chars: int = 0) -> Iterator[Record]:
    """The records of one file in their order; what is no document at all (images, redirects) is counted in `skipped`.

    Plain texts longer than `max_chars` are split.
    """
    try:
        for record in _READERS[file.kind](file, skipped):
            if record.form == "text" and not record.problem and 0 < max_chars < len(record.body):
                yield from _pieces(record, max_chars)
            else:
                yield record
    except _DAMAGE as error:
        yield _broken(file, file.name, f"damaged file ({type(error).__name__})", str(error).encode())


def _read_warc(file: InputFile, skipped: Counter[str]) -> Iterator[Record]:
    for page in read_warc(file.path, skipped):
        place = f"{file.name}@{page.offset}"
        yield Record(file.source, place, page.form, page.body, page.url, page.date, page.charset, page.problem)


def _read_html(file: InputFile, skipped: Counter[str]) -> Iterator[Record]:
    with _open(file) as stream:
        yield _html_record(file, file.name, stream.read())


def _read_tar(file: InputFile, skipped: Counter[str]) -> Iterator[Record]:
    with _open(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not member.isfile():
                continue
            if not member.name.lower().endswith((".html", ".htm", ".xhtml")):
                skipped["file in tar that is no HTML"] += 1
                continue
            content = archive.extractfile(member)
            assert content is not None, "isfile() was true"
            yield _html_record(file, f"{file.name}:{member.name}", content.read())


def _html_record(file: InputFile, locator: str, body: bytes) -> Record:
    problem = "" if body.strip() else "empty body"
    return Record(file.source, locator, "html", body, problem=problem)


def _read_jsonl(file: InputFile, skipped: Counter[str]) -> Iterator[Record]:
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            locator = f"{file.name}:{number}"
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                yield _broken(file, locator, "invalid UTF-8", line)
            except (json.JSONDecodeError, RecursionError):
                yield _broken(file, locator, "invalid JSON", line)
            else:
                yield _row_record(file, locator, row, line)


def _read_parquet(file: InputFile, skipped: Counter[str]) -> Iterator[Record]:
    try:
        table = pq.ParquetFile(file.path)
    except pa.ArrowException as error:
        yield _broken(file, file.name, "damaged Parquet", str(error).encode())
        return
    columns = [name for name in ("text", "url", "date") if name in table.schema_arrow.names]
    number = 0
    for group in range(table.num_row_groups):
        try:
            rows = table.read_row_group(group, columns=columns).to_pylist() if columns else []
        except (pa.ArrowException, OSError) as error:
            yield _broken(file, f"{file.name}:group {group}", "damaged Parquet", str(error).encode())
            continue
        rows = rows or [{}] * table.metadata.row_group(group).num_rows
        for row in rows:
            number += 1
            yield _row_record(file, f"{file.name}:{number}", row, repr(row).encode())


def _row_record(file: InputFile, locator: str, row: Any, raw: bytes) -> Record:
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        return _broken(file, locator, 'no string in field "text"', raw)
    if not text.strip():
        return _broken(file, locator, "empty text", raw)
    url, date = (str(row.get(key) or "") for key in ("url", "date"))
    return Record(file.source, locator, "text", _sound(text), url, date)


def _read_text(file: InputFile, skipped: Counter[str]) -> Iterator[Record]:
    """A plain text; lines that are not UTF-8 are left out and counted as one broken record each."""
    with _open(file) as stream:
        lines: list[str] = []
        for number, line in enumerate(stream, 1):
            try:
                lines.append(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                yield _broken(file, f"{file.name}:{number}", "invalid UTF-8", line)
    text = "".join(lines).replace("\r\n", "\n")
    if text.strip():
        yield Record(file.source, file.name, "text", text)
    elif not lines:
        yield _broken(file, file.name, "empty text", b"")


def _pieces(record: Record, max_chars: int) -> Iterator[Record]:
    for number, piece in enumerate(split_text(cast(str, record.body), max_chars), 1):
        if piece.strip():
            url = record.url and f"{record.url}#piece-{number}"
            yield Record(record.source, f"{record.locator}#{number}", "text", piece, url, record.date)


def _broken(file: InputFile, locator: str, problem: str, sample: bytes) -> Record:
    return Record(file.source, locator, "text", sample[:_SAMPLE_BYTES].decode("utf-8", "replace"), problem=problem)


def _sound(text: str) -> str:
    """`text` without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _open(file: InputFile) -> IO[bytes]:
    suffix = file.path.suffix.lower()
    if suffix in (".gz", ".tgz"):
        return cast(IO[bytes], gzip.open(file.path))
    if suffix in (".xz", ".txz"):
        return cast(IO[bytes], lzma.open(file.path))
    if suffix == ".zst":
        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(file.path)), "zstd"))
    return open(file.path, "rb")


_READERS: dict[str, Callable[[InputFile, Counter[str]], Iterator[Record]]] = {
    "warc": _read_warc,
    "html": _read_html,
    "tar": _read_tar,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
    "text": _read_text,
}

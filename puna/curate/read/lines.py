"""Files of lines -> records: JSONL, a record a line, and plain text, a record a file or piece of it."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from puna.curate.read.damage import Damaged, larger_than
from puna.curate.read.limits import Reading
from puna.curate.read.record import Record, broken, sound
from puna.curate.read.sources import InputFile
from puna.curate.read.split import split_text
from puna.curate.read.stream import Stream


def read_jsonl(file: InputFile, stream: Stream, skipped: Counter[str], reading: Reading) -> Iterator[Record]:
    """A record for each line that holds an object with a string `text`; empty lines are none.

    Behind a damaged gzip member reading goes on with the next; its first line may lack its beginning.
    """
    number, is_damaged = 0, False
    while True:
        try:
            for at, line in _lines(stream, reading.max_record_bytes, number):
                number = at
                for record in _json_line(file, number, line):
                    is_damaged = is_damaged and bool(record.problem)
                    yield record
            return
        except Damaged as damage:
            if not is_damaged:
                yield broken(file, f"{file.name}:{number + 1}", f"damaged file ({damage})")
            is_damaged = True
            if not stream.resume():
                return


def _json_line(file: InputFile, number: int, line: bytes | str) -> Iterator[Record]:
    locator = f"{file.name}:{number}"
    if isinstance(line, str):
        yield broken(file, locator, line)
    elif line.strip():
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            yield broken(file, locator, "invalid UTF-8", line)
        except (ValueError, RecursionError):  # ValueError also for a number of more than 4,300 digits
            yield broken(file, locator, "invalid JSON", line)
        else:
            yield row_record(file, locator, row, line)


def row_record(file: InputFile, locator: str, row: Any, raw: bytes) -> Record:
    """The record of a row of JSONL or Parquet: `text`, and `url`, `date` if there are any."""
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        return broken(file, locator, 'no string in field "text"', raw)
    if not text.strip():
        return broken(file, locator, "empty text", raw)
    url, date = (sound(str(row.get(key) or "")) for key in ("url", "date"))
    return Record(file.source, locator, "text", sound(text), url, date)


def read_text(
    file: InputFile, stream: Stream, skipped: Counter[str], reading: Reading, max_chars: int = 0
) -> Iterator[Record]:
    """A plain text, if it is longer than `max_chars` its pieces, made while it is read.

    Lines that are not UTF-8 are left out and counted as one broken record each.
    """
    text, num_bytes, num_pieces, has_problem, is_blank = "", 0, 0, False, True
    fresh: list[str] = []
    try:
        for number, line in _lines(stream, reading.max_record_bytes):
            try:
                if isinstance(line, str):
                    raise Damaged(line)
                fresh.append(line.decode("utf-8-sig" if number == 1 else "utf-8").replace("\r\n", "\n"))
            except (UnicodeDecodeError, Damaged) as error:
                problem = str(error) if isinstance(error, Damaged) else "invalid UTF-8"
                has_problem = True
                yield broken(file, f"{file.name}:{number}", problem, line if isinstance(line, bytes) else b"")
                continue
            num_bytes += len(line)
            if num_bytes > reading.max_record_bytes and not max_chars:
                raise Damaged(larger_than(reading.max_record_bytes))
            if max_chars and num_bytes > 8 * max_chars:
                *pieces, text = _cut(text + "".join(fresh), max_chars)
                for piece in pieces:
                    num_pieces += 1
                    is_blank = is_blank and not piece.strip()
                    yield from _piece(file, piece, num_pieces)
                fresh, num_bytes = [], len(text)
    except Damaged as damage:
        has_problem = True
        yield broken(file, file.name, f"damaged file ({damage})" if stream.damage else str(damage))
        if not stream.damage:
            return
    text += "".join(fresh)
    if is_blank and not text.strip():
        if not has_problem:
            yield broken(file, file.name, "empty text")
    elif max_chars and (num_pieces or len(text) > max_chars):
        for piece in split_text(text, max_chars):
            num_pieces += 1
            yield from _piece(file, piece, num_pieces)
    else:
        yield Record(file.source, file.name, "text", text)


def _cut(text: str, max_chars: int) -> list[str]:
    """Pieces of `text`, the last of which is not finished; cuts look no further than a piece, so they stay."""
    pieces = list(split_text(text, max_chars))
    return pieces if len(pieces) > 1 else ["", *pieces]


def _piece(file: InputFile, piece: str, number: int) -> Iterator[Record]:
    if piece.strip():
        yield Record(file.source, f"{file.name}#{number}", "text", piece)


def _lines(stream: Stream, max_bytes: int, number: int = 0) -> Iterator[tuple[int, bytes | str]]:
    """Lines with their numbers, from `number` + 1; for one that is too long what is wrong with it, as a string."""
    while line := stream.line(max_bytes + 1):
        number += 1
        if len(line) <= max_bytes:
            yield number, line
            continue
        if not line.endswith(b"\n") and stream.skip_past(b"\n"):
            stream.take(1)
        yield number, larger_than(max_bytes)

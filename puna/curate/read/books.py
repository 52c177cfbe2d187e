"""Books (EPUB, PDF) -> records. Each is read by a process of its own, with limits of time and memory.

Both formats are programs rather than texts: a PDF of some kilobytes can ask for hours or gigabytes, and what reads it
is a large library in C++. A book that asks for too much, or kills its reader, is one broken record.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import IO, Any

from puna.base.errors import InputError
from puna.curate.read.limits import Reading
from puna.curate.read.record import Record, broken, sound
from puna.curate.read.sources import InputFile


def require_libraries(files: Iterable[InputFile]) -> None:
    """Raises InputError if there are PDFs and no library that reads them: else they would all be rejects, silently."""
    pdf = next((file for file in files if file.kind == "pdf"), None)
    if pdf is not None and importlib.util.find_spec("pypdfium2") is None:
        raise InputError(f"{pdf.name}: reading PDF needs a library that is missing: pip install 'puna[books]'")


def read_book(file: InputFile, content: IO[bytes], skipped: Counter[str], reading: Reading) -> Iterator[Record]:
    """The text of a book as one record, with title, author, language and date; chapters that are broken beside it."""
    found = _ask(file.kind, content, reading)
    for place, problem in found.get("problems", []):
        yield broken(file, f"{file.name}:{place}" if place else file.name, problem)
    if "text" in found:
        notes = {key: found[key] for key in ("author", "language") if found.get(key)}
        date, title = found.get("date", ""), found.get("title", "")
        yield Record(file.source, file.name, "text", found["text"], date=date, title=title, notes=notes)


def _ask(kind: str, content: IO[bytes], reading: Reading) -> dict[str, Any]:
    """What the reading process found, or the problem it had."""
    command = [sys.executable, "-m", "puna.curate.read.book_process", kind, str(reading.max_record_bytes)]
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    content.seek(0)
    with tempfile.TemporaryFile() as answer:
        process = subprocess.Popen(
            command, stdin=content, stdout=answer, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}
        )
        try:
            status = process.wait(reading.book_s)
        except subprocess.TimeoutExpired:
            return _problem(f"takes more than {reading.book_s:g} s")
        finally:
            process.kill()
            process.wait()
        if status:
            return _problem("kills its reader" if status < 0 else f"damaged {kind.upper()} (its reader failed)")
        answer.seek(0)
        found: dict[str, Any] = json.load(answer)
    return {key: sound(value) if isinstance(value, str) else value for key, value in found.items()}


def _problem(problem: str) -> dict[str, Any]:
    return {"problems": [["", problem]]}

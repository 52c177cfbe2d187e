"""Texts with their language and domain, from whatever files people keep them in.

    .parquet            documents of the curate stage: their own language and source
    .jsonl              rows with `text`, and `lang` and `source` if they have them
    .json               SQuAD's form (XQuAD): the paragraphs
    .tsv                a header with `text`, and `lang` if it is there
    .txt .md            one text

All but Parquet may be compressed. A language not given by a row is the one written before the path (`de=FILE`), else
the one in the file's name (`xquad.de.json`), else "?". A domain is the row's source, else the name of the folder or
file.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from puna.base.errors import DataError
from puna.base.files import files_below
from puna.base.records import open_text, read_documents, read_jsonl

_COMPRESSED = {".gz", ".xz", ".bz2", ".zst"}
_LANGUAGE_GIVEN = re.compile(r"([a-z]{2,3})=(.+)", re.S)


class Sample(NamedTuple):
    """A text; `language` is a code, or "?" if nobody says."""

    language: str
    domain: str
    text: str


def read_samples(sources: Iterable[str]) -> Iterator[Sample]:
    """Samples of files and folders, in the order given, a folder's files by name.

    Raises DataError if a path has no text that can be read, naming what can.
    """
    for source in sources:
        given = _LANGUAGE_GIVEN.fullmatch(source)
        language, path = (given[1], Path(given[2])) if given and not Path(source).exists() else ("", Path(source))
        files = files_below(path) if path.is_dir() else [path]
        readable = [file for file in files if _kind(file) in _READERS]
        if not readable or not readable[0].is_file():
            raise DataError(f"expected a text at {path} ({', '.join(_READERS)}), found none")
        for file in readable:
            domain = path.name if path.is_dir() else file.name.split(".")[0]
            for row in _READERS[_kind(file)](file):
                lang = row.language or language or _language_in_name(file) or "?"
                yield Sample(lang, row.domain or domain, row.text)


def _parquet(path: Path) -> Iterator[Sample]:
    return (Sample(document.lang, document.source, document.text) for document in read_documents(path))


def _jsonl(path: Path) -> Iterator[Sample]:
    for number, row in enumerate(read_jsonl(path), 1):
        yield _sample(row, f"{path}: row {number}")


def _squad(path: Path) -> Iterator[Sample]:
    with open_text(path) as file:
        try:
            articles = json.load(file)["data"]
            texts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{path}: expected JSON in SQuAD's form (data, paragraphs, context), came another"
            ) from None
    return (Sample("", "", text) for text in texts)


def _tsv(path: Path) -> Iterator[Sample]:
    with open_text(path) as file:
        for number, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            yield _sample(row, f"{path}: row {number}")


def _plain(path: Path) -> Iterator[Sample]:
    with open_text(path) as file:
        try:
            yield Sample("", "", file.read())
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected UTF-8, came {error}") from None


_READERS = {
    ".parquet": _parquet,
    ".jsonl": _jsonl,
    ".json": _squad,
    ".tsv": _tsv,
    ".txt": _plain,
    ".md": _plain,
}


def _sample(row: dict[str, Any], where: str) -> Sample:
    text = row.get("text")
    if not isinstance(text, str):
        raise DataError(f"{where}: expected a text under the key text, came {type(text).__name__}")
    return Sample(str(row.get("lang") or ""), str(row.get("source") or ""), text)


def _kind(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix in _COMPRESSED else path.suffix


def _language_in_name(path: Path) -> str:
    found = re.search(r"\.([a-z]{2,3})\.(?:jsonl?|txt|tsv|md)\b", path.name)
    return found[1] if found else ""

"""What to read: the paths a user gave -> input files, each with its kind and the name of its source."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from puna.base.errors import DataError, InputError
from puna.base.files import files_below

_ENDINGS = {
    "warc": (".warc", ".arc", ".wet"),
    "html": (".html", ".htm", ".xhtml"),
    "jsonl": (".jsonl", ".ndjson"),
    "text": (".txt", ".md"),
    "tar": (".tar",),
    "parquet": (".parquet",),
}
_PACKED = ("", ".gz", ".xz", ".zst")
KINDS = {ending + packed: kind for kind, endings in _ENDINGS.items() for ending in endings for packed in _PACKED}
KINDS |= {".tgz": "tar", ".txz": "tar"}
NO_DATA = ("LICENSE", "LICENCE", "README", "SHA256SUMS", "NOTICE", "COPYING")
"""How files begin that are about the data and no data."""
READABLE = "WARC, ARC, WET, HTML, .tar of HTML, JSONL, Parquet, .txt or .md, each also as .gz, .xz or .zst"


@dataclass(frozen=True)
class InputFile:
    """One file to read. `name` is its path below the path that was given: unique within `source`."""

    source: str
    name: str
    path: Path
    kind: str


def list_inputs(paths: Iterable[Path]) -> tuple[list[InputFile], Counter[str]]:
    """All readable files below `paths`, sorted by (source, name) so that the order given does not matter.

    Returns the files and, by reason, how many files of a folder were skipped. Raises DataError for a path that does
    not exist or holds nothing readable, InputError for a named file of unknown kind.
    """
    given = sorted({Path(path).resolve() for path in paths})
    if not given:
        raise DataError(f"expected at least one file or folder to curate ({READABLE}), came none")
    files: list[InputFile] = []
    skipped: Counter[str] = Counter()
    for path, source in source_names(given).items():
        if not path.exists():
            raise DataError(f"expected a file or folder at {path}, found none")
        if path.is_file():
            kind = file_kind(path)
            if kind is None:
                raise InputError(f"{path}: expected {READABLE}; came a file of an unknown kind")
            files.append(InputFile(source, path.name, path, kind))
            continue
        for below in files_below(path):
            about = next((word for word in NO_DATA if below.name.upper().startswith(word)), "")
            kind = None if about else file_kind(below)
            if kind is None:
                skipped[f"file {about or below.suffix or below.name}"] += 1
            else:
                files.append(InputFile(source, below.relative_to(path).as_posix(), below, kind))
    if not files:
        raise DataError(f"expected {READABLE} in {', '.join(map(str, given))}; found no such file")
    return sorted(files, key=lambda file: (file.source, file.name)), skipped


def file_kind(path: Path) -> str | None:
    """Kind of a file by the end of its name, or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return KINDS.get("".join(suffixes[-2:])) or KINDS.get("".join(suffixes[-1:]))


def source_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for each path: its stem (its name for a folder), with as many parent folders as make it unique."""
    paths = list(paths)
    names: dict[Path, str] = {}
    depth = dict.fromkeys(paths, 1)
    while True:
        names = {path: "-".join((*path.parts[-depth[path] : -1], _stem(path))) for path in paths}
        counts = Counter(names.values())
        clashing = [path for path in paths if counts[names[path]] > 1 and depth[path] < len(path.parts)]
        if not clashing:
            return names
        for path in clashing:
            depth[path] += 1


def _stem(path: Path) -> str:
    if path.is_dir():
        return path.name
    suffixes = [suffix.lower() for suffix in path.suffixes]
    for count in (2, 1):
        if len(suffixes) >= count and "".join(suffixes[-count:]) in KINDS:
            return path.name[: -len("".join(suffixes[-count:]))]
    return path.stem

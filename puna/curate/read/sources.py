"""What to read: the paths and addresses a user gave -> input files, each with its kind and the name of its source."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from puna.base.errors import DataError, InputError
from puna.base.files import files_below
from puna.base.remote import is_url, list_remote, open_remote
from puna.curate.read.source_tree import licence_of, nobody_wrote, programming_language, tree_of, tree_roots

_ENDINGS = {
    "warc": (".warc", ".arc", ".wet"),
    "html": (".html", ".htm", ".xhtml"),
    "jsonl": (".jsonl", ".ndjson"),
    "text": (".txt", ".md"),
    "tar": (".tar",),
}
_PACKED = ("", ".gz", ".xz", ".zst")
KINDS = {ending + packed: kind for kind, endings in _ENDINGS.items() for ending in endings for packed in _PACKED}
KINDS |= {".tgz": "tar", ".txz": "tar", ".parquet": "parquet", ".epub": "epub", ".pdf": "pdf", ".ipynb": "notebook"}
NO_DATA = ("LICENSE", "LICENCE", "README", "SHA256SUMS", "NOTICE", "COPYING")
"""How files begin that are about the data and no data."""
READABLE = (
    "WARC, ARC, WET, HTML, .tar of HTML, JSONL, .txt or .md (each also as .gz, .xz or .zst), Parquet, EPUB, PDF, "
    "source code or .ipynb"
)


@dataclass(frozen=True)
class InputFile:
    """One file to read, at a path or an address. `name` is its path below what was given: unique within `source`.

    size: in bytes, None if a server does not tell. licence: of its source tree, the name of the file.
    """

    source: str
    name: str
    path: Path | str
    kind: str
    size: int | None = None
    licence: str = ""

    def open(self) -> IO[bytes]:
        """Its bytes, forward."""
        return open(self.path, "rb") if isinstance(self.path, Path) else open_remote(self.path, self.size)

    @contextmanager
    def open_seekable(self) -> Iterator[IO[bytes]]:
        """Its bytes, back and forth; what is remote from a copy in the folder for temporary files."""
        with self.open() as content:
            if isinstance(self.path, Path):
                yield content
                return
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(content, copy, 1 << 20)
                copy.seek(0)
                yield copy


def list_inputs(places: Iterable[Path | str], code: str = "trees") -> tuple[list[InputFile], Counter[str]]:
    """All readable files below `places` (paths; strings may be addresses), sorted by (source, name): no order matters.

    code: which files of source code of a folder are read (Reading.code). Returns the files and, by reason, how many
    files of a folder were skipped. Raises DataError for a place that does not exist or holds nothing readable,
    InputError for a named file of unknown kind.
    """
    given = sorted({_place(place) for place in places}, key=str)
    if not given:
        raise DataError(f"expected at least one file or folder to curate ({READABLE}), came none")
    files: list[InputFile] = []
    skipped: Counter[str] = Counter()
    for place, source in source_names(given).items():
        found = _remote_files(place, source) if isinstance(place, str) else _local_files(place, source)
        if [file.path for file in found] == [place]:
            kind = file_kind(PurePath(found[0].name), code != "none")
            if kind is None:
                raise InputError(f"{_shown(place)}: expected {READABLE}; came a file of an unknown kind")
            files.append(_with_kind(found[0], kind))
        else:
            files += _of_folder(found, code, skipped)
    if not files:
        raise DataError(f"expected {READABLE} in {', '.join(map(_shown, given))}; found no such file")
    return sorted(files, key=lambda file: (file.source, file.name)), skipped


def file_kind(path: PurePath, with_code: bool = False) -> str | None:
    """Kind of a file by the end of its name, or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = KINDS.get("".join(suffixes[-2:])) or KINDS.get("".join(suffixes[-1:]))
    return "code" if with_code and programming_language(path.name) else kind


def source_names(places: Sequence[Path | str]) -> dict[Path | str, str]:
    """A name for each place: its stem (its name for a folder), with as many parent folders as make it unique."""
    paths = {place: _path_of(place) for place in places}
    depth = dict.fromkeys(places, 1)
    while True:
        names = {place: "-".join((*path.parts[-depth[place] : -1], _stem(place))) for place, path in paths.items()}
        counts = Counter(names.values())
        clashing = [place for place in places if counts[names[place]] > 1 and depth[place] < len(paths[place].parts)]
        if not clashing:
            return names
        for place in clashing:
            depth[place] += 1


def _local_files(path: Path, source: str) -> list[InputFile]:
    if not path.exists():
        raise DataError(f"expected a file or folder at {path}, found none")
    below = files_below(path) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    return [InputFile(source, file.relative_to(root).as_posix(), file, "", file.stat().st_size) for file in below]


def _remote_files(url: str, source: str) -> list[InputFile]:
    return [InputFile(source, file.name, file.url, "", file.size) for file in list_remote(url)]


def _of_folder(found: list[InputFile], code: str, skipped: Counter[str]) -> list[InputFile]:
    """The files of a folder that are data, or code of a source tree; the others are counted by why not."""
    names = [PurePath(file.name) for file in found]
    roots = tree_roots(names) if code == "trees" else {PurePath(".")} if code == "all" else set()
    licences = {root: licence_of(root, names) for root in roots}
    files = []
    for file, name in zip(found, names, strict=True):
        root = tree_of(name, roots)
        about = next((word for word in NO_DATA if name.name.upper().startswith(word)), "")
        if root is not None and about == "README":
            about = ""
        reason = nobody_wrote(name.relative_to(root)) if root is not None else ""
        kind = None if about or reason else file_kind(name, root is not None)
        if kind is None:
            skipped[reason or f"file {about or name.suffix or name.name}"] += 1
        else:
            files.append(_with_kind(file, kind, licences.get(root, "") if root is not None else ""))
    return files


def _with_kind(file: InputFile, kind: str, licence: str = "") -> InputFile:
    return InputFile(file.source, file.name, file.path, kind, file.size, licence)


def _place(place: Path | str) -> Path | str:
    return place if isinstance(place, str) and is_url(place) else Path(place).resolve()


def _path_of(place: Path | str) -> PurePath:
    if isinstance(place, Path):
        return place
    parts = urlsplit(place)
    return PurePosixPath(parts.netloc.rpartition("@")[2] + unquote(parts.path))


def _shown(place: Path | str) -> str:
    return str(place).partition("?")[0]


def _stem(place: Path | str) -> str:
    path = _path_of(place)
    if isinstance(place, Path) and place.is_dir():
        return path.name
    suffixes = [suffix.lower() for suffix in path.suffixes]
    for count in (2, 1):
        if len(suffixes) >= count and "".join(suffixes[-count:]) in KINDS:
            return path.name[: -len("".join(suffixes[-count:]))]
    return path.stem

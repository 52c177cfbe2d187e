"""Archives of HTML pages (tar) -> records, one a page, without unpacking them to the disk."""

import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, cast

from puna.curate.read.damage import larger_than
from puna.curate.read.limits import Reading
from puna.curate.read.record import Record, broken
from puna.curate.read.sources import InputFile
from puna.curate.read.stream import Stream

_BAD_HEADER, _END, _NO_HEADER = tarfile.HeaderError, tarfile.EOFHeaderError, tarfile.EmptyHeaderError  # type: ignore
_ReadError = tarfile.ReadError
_ABOUT_BYTES = 1 << 20  # of a long name or a list of attributes


def read_tar(file: InputFile, stream: Stream, skipped: Counter[str], reading: Reading) -> Iterator[Record]:
    """A record for each HTML file of the archive; others are counted in `skipped`."""
    try:
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", tarinfo=_Member) as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile remembers them all, for random access
                locator = f"{file.name}:{member.name.encode('utf-8', 'replace').decode()}"
                if not member.isfile():
                    continue
                if not member.name.lower().endswith((".html", ".htm", ".xhtml")):
                    skipped["file in tar that is no HTML"] += 1
                elif member.size > reading.max_record_bytes:
                    yield broken(file, locator, larger_than(reading.max_record_bytes))
                else:
                    content = archive.extractfile(member)
                    assert content is not None, "isfile() was true"
                    yield html_record(file, locator, content.read())
    except (tarfile.TarError, EOFError, ValueError, OverflowError, IndexError) as error:
        yield broken(file, file.name, f"damaged tar ({type(error).__name__})")


def html_record(file: InputFile, locator: str, body: bytes) -> Record:
    """The record of a page."""
    return Record(file.source, locator, "html", body, problem="" if body.strip() else "empty body")


class _Member(tarfile.TarInfo):
    """A member whose description, if larger than 1 MiB, is not read into memory; tarfile lets subclasses do so here."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_Member":
        """As it is, but a header that makes no sense is an error: tarfile takes it for the end."""
        try:
            return super().fromtarfile(tarfile)
        except (_END, _NO_HEADER):
            raise
        except _BAD_HEADER as error:
            raise _ReadError(str(error)) from None

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        is_file = self.isreg() or self.type not in tarfile.SUPPORTED_TYPES
        if not is_file and self.type not in (tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE) and self.size > _ABOUT_BYTES:
            raise tarfile.ReadError("a description that is too large")
        return super()._proc_member(archive)  # type: ignore[misc]

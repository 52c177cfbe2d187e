"""Files at an address (http://, s3://, gs://, whatever fsspec knows): listed, read with patience, fingerprinted.

fsspec and what it needs for an address are the optional extra `remote`.
"""

import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from puna.base.errors import DataError, InputError, RunError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TRIES = 5
_FIRST_WAIT_S = 1.0
_BLOCK_BYTES = 8 << 20
# What a server may say of the version of a file, the surest first (fsspec passes on the words of each).
_VERSIONS = ("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "Last-Modified", "LastModified", "mtime", "created")


@dataclass(frozen=True)
class RemoteFile:
    """One file at an address; `name` is its path below the address that was given, size None if it is not told."""

    url: str
    name: str
    size: int | None
    version: str


def is_url(place: str) -> bool:
    """Whether a place is an address and no path."""
    return _URL.match(place) is not None


def list_remote(url: str) -> list[RemoteFile]:
    """The file at `url`, or all files below it where the store has folders, sorted by name.

    Raises DataError in one line if there is nothing or it cannot be reached, InputError if a library is missing.
    """
    with _told(url):
        system, path = _system(url)
        if _scheme(url) in ("http", "https"):
            return [
                _remote_file(url, urlsplit(url).path.rpartition("/")[2] or "index.html", _patiently(system.info, path))
            ]
        info = _patiently(system.info, path)
        if info["type"] != "directory":
            return [_remote_file(url, path.rstrip("/").rpartition("/")[2], info)]
        found = _patiently(lambda folder: system.find(folder, detail=True), path)
        root = path.strip("/") + "/"
        names = {place: place.strip("/").removeprefix(root) for place in found}
        return [_remote_file(system.unstrip_protocol(place), names[place], found[place]) for place in sorted(found)]


def open_remote(url: str, size: int | None = None) -> io.BufferedReader:
    """The bytes of the file at `url`, forward. A read that fails is tried again from where it stood, five times.

    Reads raise RunError if the file does not come: the run fails then, rather than to lack a part that was there.
    """
    with _told(url):
        system, path = _system(url)
    return io.BufferedReader(
        _Patient(lambda: system.open(path, "rb", block_size=_BLOCK_BYTES), _shown(url), size), 1 << 20
    )


def remote_fingerprint(url: str) -> str:
    """A fingerprint of what is at `url` without reading it: names, sizes and what the server says of the version.

    Raises DataError as `list_remote` does.
    """
    import hashlib

    rows = [f"{file.name}\0{file.size}\0{file.version}\n" for file in list_remote(url)]
    return hashlib.sha256("".join(rows).encode()).hexdigest()


class _Patient(io.RawIOBase):
    """A raw stream that opens its file again after a failure."""

    def __init__(self, open_file: Callable[[], Any], name: str, size: int | None):
        self._open_file, self._name, self._size, self._position = open_file, name, size, 0
        self._file: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = _patiently(self._read, len(buffer), before_retry=self._forget, name=self._name)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._forget()
        super().close()

    def _read(self, num_bytes: int) -> bytes:
        if self._file is None:
            self._file = self._open_file()
            if self._position:
                self._go_on()
        data = cast(bytes, self._file.read(num_bytes))
        if not data and self._size is not None and self._position < self._size:
            raise OSError(f"the file ended after {self._position} of {self._size} bytes")
        return data

    def _go_on(self) -> None:
        """To where the last reading stood: at once, or where the server knows no ranges by reading up to there."""
        try:
            self._file.seek(self._position)
        except (ValueError, OSError):
            left = self._position
            while left and (data := self._file.read(min(left, _BLOCK_BYTES))):
                left -= len(data)
            if left:
                raise OSError(f"the file ended after {self._position - left} bytes when it was read again") from None

    def _forget(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except Exception:  # it is broken already
                return


def _patiently(
    call: Callable[..., Any], *arguments: Any, before_retry: Callable[[], None] | None = None, name: str = ""
) -> Any:
    """`call`'s result, tried again after 1, 2, 4 and 8 s. Raises RunError with a `name`, else the last error."""
    for number in range(_TRIES):
        try:
            return call(*arguments)
        except Exception as error:  # each store has errors of its own; which of them are passing, none says
            if before_retry:
                before_retry()
            # fsspec says "not found" of a server that does not answer, too; a file that was listed may come back.
            is_lasting = isinstance(error, PermissionError | NotImplementedError | ImportError) or (
                isinstance(error, FileNotFoundError) and not name
            )
            if is_lasting or number + 1 == _TRIES:
                if name:
                    raise RunError(
                        f"{name} could not be read in {number + 1} tries ({_one_line(error)}): "
                        "run the same command again; finished work is kept"
                    ) from None
                raise
            _wait(_FIRST_WAIT_S * 2**number)
    raise AssertionError("the last try returns or raises")


def _wait(seconds: float) -> None:
    time.sleep(seconds)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Whatever a store raises, as one line."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(
            f"expected a file or folder at {_shown(url)}, found none, or no server; check the address"
        ) from None
    except ImportError as error:
        raise InputError(
            f"reading {_scheme(url)}:// needs a missing library ({_one_line(error)}): pip install 'puna[remote]'"
        ) from None
    except ValueError as error:
        raise DataError(f"expected an address that fsspec knows, came {_shown(url)} ({_one_line(error)})") from None
    except (DataError, InputError, RunError):
        raise
    except Exception as error:
        raise DataError(
            f"expected a file or folder at {_shown(url)}, which cannot be reached ({_one_line(error)})"
        ) from None


def _system(url: str) -> tuple[Any, str]:
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    return system, path


def _remote_file(url: str, name: str, info: dict[str, Any]) -> RemoteFile:
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    size = info.get("size")
    return RemoteFile(url, name, int(size) if size is not None else None, version)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _shown(url: str) -> str:
    """`url` without its query and user, which may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _one_line(error: BaseException) -> str:
    return re.sub(r"\?\S+", "", " ".join(str(error).split()))[:200] or type(error).__name__

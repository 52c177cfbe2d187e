"""Packed bytes, member by member: gzip (RFC 1952), xz and zstd (RFC 8878); after damage, where the next can begin.

A member is unpacked in steps of a bounded size, whatever it claims of itself.
"""

import contextlib
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Protocol

import pyarrow as pa

from puna.curate.read.damage import Damaged, one_line

MARKS = {"gzip": b"\x1f\x8b\x08", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd"}
"""How a member begins."""
_READ_BYTES = 1 << 16
_KEPT_BYTES = 2 << 20  # how far back one can go on after damage
_GZIP_BYTES, _XZ_BYTES = 1 << 14, 1 << 12  # packed bytes of a step
_XZ_MEMORY = 256 << 20  # `xz -9` takes 65 MiB; a file may ask for 4 GiB


class Raw:
    """The bytes of a file, forward; the last 2 MiB can be read again."""

    def __init__(self, file: IO[bytes]):
        self._file, self._kept, self._base, self._cursor = file, bytearray(), 0, 0

    @property
    def offset(self) -> int:
        """Where the next byte stands in the file."""
        return self._base + self._cursor

    def read(self, num_bytes: int = _READ_BYTES) -> bytes:
        """At most `num_bytes` bytes, none only at the end."""
        if self._cursor == len(self._kept) and not self._fetch():
            return b""
        data = bytes(self._kept[self._cursor : self._cursor + num_bytes])
        self._cursor += len(data)
        return data

    def peek(self, num_bytes: int) -> bytes:
        """The next `num_bytes` bytes, fewer only at the end."""
        while len(self._kept) - self._cursor < num_bytes and self._fetch():
            pass
        return bytes(self._kept[self._cursor : self._cursor + num_bytes])

    def back(self, offset: int) -> None:
        """Go back to `offset`, or as far as what is kept allows."""
        self._cursor = max(0, offset - self._base)

    def skip_zeros(self) -> None:
        """Go on to the next byte that is not 0."""
        while zeros := len(begin := self.peek(4096)) - len(begin.lstrip(b"\0")):
            self._cursor += zeros

    def find(self, mark: bytes) -> bool:
        """Go on to the next place of `mark`; False at the end."""
        while True:
            found = self._kept.find(mark, self._cursor)
            if found >= 0:
                self._cursor = found
                return True
            self._cursor = max(self._cursor, len(self._kept) - len(mark) + 1)
            if not self._fetch():
                return False

    def _fetch(self) -> bool:
        if self._cursor > 2 * _KEPT_BYTES:
            del self._kept[: self._cursor - _KEPT_BYTES]
            self._base, self._cursor = self._base + self._cursor - _KEPT_BYTES, _KEPT_BYTES
        data = self._file.read(_READ_BYTES)
        self._kept += data
        return bool(data)


class Member(Protocol):
    """One member: `read` gives at most so many bytes, none at its end; raises Damaged."""

    def read(self, num_bytes: int) -> bytes: ...


def open_member(packing: str, raw: Raw) -> Member:
    """The member that begins here; packing "": the rest of the file as it is."""
    return _MEMBERS[packing](raw) if packing else raw


class _Gzip:
    def __init__(self, raw: Raw):
        self._raw, self._begin, self._member = raw, raw.offset, zlib.decompressobj(wbits=31)
        self._problem = ""

    def read(self, num_bytes: int) -> bytes:
        while not self._member.eof:
            if self._problem:
                raise Damaged(self._problem, self._begin)
            packed = self._raw.read(_GZIP_BYTES)
            if not packed:
                raise Damaged("truncated gzip member", self._begin)
            before = self._member.copy()
            try:
                plain = self._member.decompress(packed, num_bytes)
            except zlib.error as error:
                self._problem = (
                    f"damaged gzip member ({one_line(error).removeprefix('Error -3 while decompressing data: ')})"
                )
                plain = _until_damage(before, packed)
            # Not kept by the member: behind a bomb the next one must be found.
            left = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._raw.back(self._raw.offset - len(left))
            if plain:
                return plain
        return b""


def _until_damage(member: "zlib._Decompress", packed: bytes) -> bytes:
    """What can be unpacked of `packed` before the damage in it, by halving: zlib gives nothing of a call that fails."""
    plain, begin, step = [], 0, len(packed)
    while step > 1:
        step = (step + 1) // 2
        trial = member.copy()
        with contextlib.suppress(zlib.error):
            plain.append(trial.decompress(packed[begin : begin + step]))
            member, begin = trial, begin + step
    return b"".join(plain)


class _Xz:
    def __init__(self, raw: Raw):
        self._raw, self._begin = raw, raw.offset
        self._member = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, num_bytes: int) -> bytes:
        while not self._member.eof:
            packed = self._raw.read(_XZ_BYTES) if self._member.needs_input else b""
            if not packed and self._member.needs_input:
                raise Damaged("truncated xz stream", self._begin)
            try:
                plain = self._member.decompress(packed, num_bytes)
            except (lzma.LZMAError, EOFError) as error:
                raise Damaged(f"damaged xz stream ({one_line(error)})", self._begin) from None
            if self._member.eof:
                self._raw.back(self._raw.offset - len(self._member.unused_data))
            if plain:
                return plain
        return b""


class _Zstd:
    def __init__(self, raw: Raw):
        self._frame = _ZstdFrame(raw)
        self._member = pa.CompressedInputStream(pa.PythonFile(self._frame, mode="r"), "zstd")

    def read(self, num_bytes: int) -> bytes:
        try:
            plain: bytes = self._member.read(num_bytes)
        except (OSError, pa.ArrowException) as error:
            problem = self._frame.problem or f"damaged zstd frame ({one_line(error)})"
            raise Damaged(problem, self._frame.begin) from None
        if not plain:
            self._frame.finish()
            if self._frame.problem:
                raise Damaged(self._frame.problem, self._frame.begin)
        return plain


class _ZstdFrame:
    """The bytes of one frame (RFC 8878, 3.1), cut by the sizes of its blocks: Arrow itself reads over the end."""

    closed = False

    def __init__(self, raw: Raw):
        self._raw, self.begin, self.problem = raw, raw.offset, ""
        self._left = 0  # bytes of the part at hand
        self._next: Callable[[], None] | None = self._head

    def read(self, num_bytes: int = -1) -> bytes:
        while not self._left and self._next is not None and not self.problem:
            self._next()
        data = self._raw.read(min(self._left, num_bytes if num_bytes >= 0 else _READ_BYTES)) if self._left else b""
        if self._left and not data:
            self.problem, self._left = "truncated zstd frame", 0
        self._left -= len(data)
        return data

    def finish(self) -> None:
        """Go on to the end of the frame: its checksum, or all of a skippable one."""
        while self.read():
            pass

    def close(self) -> None:
        """Nothing to close: the file is another's."""

    def _head(self) -> None:
        head = self._raw.peek(18)
        if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F and len(head) >= 8:  # skippable
            self._left, self._next = 8 + int.from_bytes(head[4:8], "little"), None
            return
        if head[:4] != MARKS["zstd"] or len(head) < 6:
            self.problem = "damaged zstd frame (no frame header)"
            return
        flags = head[4]
        is_single, self._checksum_bytes = bool(flags & 0x20), 4 if flags & 4 else 0
        content_bytes = (1 if is_single else 0, 2, 4, 8)[flags >> 6]
        self._left = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3] + content_bytes
        self._next = self._block

    def _block(self) -> None:
        head = int.from_bytes(self._raw.peek(3), "little")
        is_last, kind, size = head & 1, head >> 1 & 3, head >> 3
        if len(self._raw.peek(3)) < 3:
            self.problem = "truncated zstd frame"
        elif kind == 3 or size > 1 << 21:
            self.problem = "damaged zstd frame (no block header)"
        self._left = 3 + (1 if kind == 1 else size)
        if is_last:
            self._next = self._checksum

    def _checksum(self) -> None:
        self._left, self._next = self._checksum_bytes, None


_MEMBERS: dict[str, Callable[[Raw], Member]] = {"gzip": _Gzip, "xz": _Xz, "zstd": _Zstd}

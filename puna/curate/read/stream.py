"""The unpacked bytes of a file, forward, with bounded memory and bounded work.

What is read at once is the caller's to limit; what is thrown away unread is bounded by the ratio of unpacked to packed.
"""

from typing import IO

from puna.curate.read.damage import Damaged
from puna.curate.read.limits import Reading
from puna.curate.read.packed import MARKS, Member, Raw, open_member

_STEP_BYTES = 1 << 16
_FREE_BYTES = 256 << 20  # what any file may unpack to
_RESTART_BYTES = 1 << 20  # what a new begin after damage counts as: it costs time, too
_AFTER_BOMB_BYTES = 4 << 20  # what is free for each member behind a bomb
_FREE_RESTARTS, _RESTART_EVERY_BYTES = 1000, 1 << 16  # a file of nothing but marks would be hours of new begins
_LOOKS = 8  # how often, on the average, a byte may be looked at again for a length that is a lie
_SUFFIXES = {".gz": "gzip", ".tgz": "gzip", ".xz": "xz", ".txz": "xz", ".zst": "zstd"}
_PLAIN = (b"WARC/", b"filedesc://")


class Stream:
    """Unpacked bytes of `file`. Any method may raise Damaged; then `resume` goes on at the next member if there is one.

    damage: what stopped it, until then; after bytes that the caller finds damaged there is none, and reading goes on.
    How it is packed is told by its first bytes, or if these are no mark, by the suffix of `name`.
    """

    def __init__(self, file: IO[bytes], name: str, reading: Reading):
        self._raw = Raw(file)
        self._packing = _packing(self._raw.peek(11), name)
        self._ratio = reading.max_ratio
        self._member: Member | None = None
        self._starts: list[tuple[int, int]] = []  # of members: in the plain bytes, in the file
        self._plain, self._cursor, self._base = bytearray(), 0, 0
        self._unpacked = 0
        self.damage: Damaged | None = None
        self._is_bomb = False
        self._restarts = self._looked_again = 0

    @property
    def position(self) -> int:
        """How many plain bytes were taken."""
        return self._base + self._cursor

    def place(self) -> str:
        """Where the next byte stands in the file; in a packed one its member, +offset in what that unpacks to."""
        plain, packed = self._start()
        inside = self.position - plain
        return (f"{packed}+{inside}" if inside else f"{packed}") if self._packing else f"{self.position}"

    def member(self) -> int:
        """Offset in the file of the member that the next byte is of."""
        return self._start()[1]

    def peek(self, num_bytes: int) -> bytes:
        """The next `num_bytes` bytes, fewer only at the end."""
        self._need(num_bytes)
        return bytes(self._plain[self._cursor : self._cursor + num_bytes])

    def take(self, num_bytes: int) -> bytes:
        """The next `num_bytes` bytes, fewer only at the end."""
        data = self.peek(num_bytes)
        self._cursor += len(data)
        return data

    read = take

    def advance(self, num_bytes: int) -> None:
        """Go on over bytes that `peek` or `ahead` gave."""
        self._cursor += num_bytes

    def ahead(self, num_bytes: int) -> tuple[bytes, Damaged | None]:
        """The next bytes as `peek` gives them, and the damage that comes before there are enough of them."""
        damage = None
        try:
            self._need(num_bytes)
        except Damaged as found:
            damage = found
        return bytes(self._plain[self._cursor : self._cursor + num_bytes]), damage

    def until(self, mark: bytes, most: int) -> bytes | None:
        """Bytes up to and with the next `mark`, if it ends within `most` bytes; else None, and nothing is taken."""
        searched = 0
        while True:
            found = self._plain.find(mark, self._cursor + searched, self._cursor + most)
            if found >= 0:
                return self.take(found + len(mark) - self._cursor)
            have = len(self._plain) - self._cursor
            searched = max(0, have - len(mark) + 1)
            if have >= most or not self._fill():
                return None

    def line(self, most: int) -> bytes:
        """The next line with its end; of one longer than `most` bytes the first `most`; the last may have no end."""
        line = self.until(b"\n", most)
        return self.take(most) if line is None else line

    def skip_past(self, mark: bytes, most: int | None = None) -> bool:
        """Throw bytes away, at most `most`, until `mark` is next; False, there or at the end, if it never comes."""
        while True:
            have = len(self._plain) - self._cursor
            limit = have if most is None else min(have, most)
            found = self._plain.find(mark, self._cursor, self._cursor + limit)
            if found >= 0:
                self._cursor = found
                return True
            if most is not None and have >= most:
                self._cursor += most
                return False
            gone = max(0, have - len(mark) + 1)
            self._cursor += gone
            most = None if most is None else most - gone
            if not self._fill():
                self._cursor = len(self._plain)
                return False

    def may_look_again(self, num_bytes: int) -> bool:
        """Whether so many bytes may be searched that were seen before: so that the work stays linear in the file."""
        self._looked_again += num_bytes
        return self._looked_again <= _FREE_BYTES + _LOOKS * self.position

    def resume(self) -> bool:
        """After damage go on at the next place where a member can begin; False if there is none, or too many were."""
        self._restarts += 1
        too_many = self._restarts > _FREE_RESTARTS + self._raw.offset // _RESTART_EVERY_BYTES
        if not self._packing or not self._starts or too_many:
            return False
        if not self._is_bomb:  # else its packed bytes are not worth a look
            self._raw.back(self._starts[-1][1] + 1)
        self._is_bomb = False
        self._drop(len(self._plain))
        self._member = self.damage = None
        self._starts.clear()
        return self._raw.find(MARKS[self._packing])

    def _start(self) -> tuple[int, int]:
        while len(self._starts) > 1 and self._starts[1][0] <= self.position:
            del self._starts[0]
        return self._starts[0] if self._starts else (self.position, self._raw.offset)

    def _need(self, num_bytes: int) -> None:
        while len(self._plain) - self._cursor < num_bytes and self._fill():
            pass

    def _fill(self) -> bool:
        if self.damage:
            raise self.damage
        if self._cursor > _STEP_BYTES:
            self._drop(self._cursor)
        while True:
            if self._member is None:
                self._begin_member()
                if self._member is None:
                    return False
            try:
                data = self._member.read(_STEP_BYTES)
            except Damaged as damage:
                self._unpacked += _RESTART_BYTES
                self.damage = damage
                raise
            if self._packing and self._unpacked > self._most_bytes():
                self._is_bomb, self._unpacked = True, self._most_bytes() - _AFTER_BOMB_BYTES
                self.damage = Damaged(f"unpacks to more than {self._ratio} times its size", self._starts[-1][1])
                raise self.damage
            if data:
                self._plain += data
                self._unpacked += len(data)
                return True
            self._member = None

    def _begin_member(self) -> None:
        if self._packing:
            self._raw.skip_zeros()  # padding, as tapes and xz want it
        if self._raw.peek(1):
            self._starts.append((self._base + len(self._plain), self._raw.offset))
            self._member = open_member(self._packing, self._raw)

    def _most_bytes(self) -> int:
        return _FREE_BYTES + self._ratio * self._raw.offset

    def _drop(self, num_bytes: int) -> None:
        del self._plain[:num_bytes]
        self._base, self._cursor = self._base + num_bytes, max(0, self._cursor - num_bytes)


def _packing(begin: bytes, name: str) -> str:
    by_mark = next((packing for packing, mark in MARKS.items() if begin.startswith(mark)), "")
    if by_mark or begin.startswith(_PLAIN):
        return by_mark
    return _SUFFIXES.get("." + name.lower().rpartition(".")[2], "")

import io
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from puna.curate.read import stream as module
from puna.curate.read.damage import Damaged
from puna.curate.read.limits import Reading
from puna.curate.read.stream import Stream
from tests.curate.read.packs import PACKS, gzip_bomb

BLOCKS = st.lists(st.builds(lambda data, times: data * times, st.binary(max_size=300), st.integers(1, 900)), max_size=5)


def opened(data: bytes, name: str, **reading: int) -> Stream:
    return Stream(io.BytesIO(data), name, Reading(**reading))


def all_of(stream: Stream) -> bytes:
    parts = []
    while part := stream.take(1000):
        parts.append(part)
    return b"".join(parts)


def before_damage(stream: Stream) -> tuple[bytes, str]:
    """What is read before the damage, and what that is."""
    parts = []
    try:
        while part := stream.take(1 << 16 if not parts else 7 * len(parts)):
            parts.append(part)
    except Damaged as damage:
        parts.append(stream.ahead(1 << 30)[0])  # what came before it, and was not asked for
        return b"".join(parts), str(damage)
    raise AssertionError("expected damage, came none")


@example([b"some words " * 10_000, b"second"], "gz")  # ends within the last step, not at its end
@given(BLOCKS, st.sampled_from(["gz", "xz", "zst"]))
def test_members_unpack_to_their_blocks(blocks: list[bytes], packing: str) -> None:
    packed = b"".join(PACKS[packing](block) for block in blocks)
    assert all_of(opened(packed, f"a.{packing}")) == b"".join(blocks)


@given(st.binary(max_size=500), st.sampled_from(["a.txt", "a"]))
def test_what_is_not_packed_stays_as_it_is(data: bytes, name: str) -> None:
    if not data.startswith((b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")):
        assert all_of(opened(data, name)) == data


def test_how_it_is_packed_is_told_by_its_bytes_not_its_name() -> None:
    assert all_of(opened(PACKS["xz"](b"text"), "a.gz")) == b"text"
    assert all_of(opened(b"WARC/1.0 plain", "a.warc.gz")) == b"WARC/1.0 plain"
    with pytest.raises(Damaged, match="damaged gzip member"):
        all_of(opened(b"neither", "a.gz"))


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" ")), max_size=20), st.integers(1, 40))
def test_lines_are_cut_at_line_ends_and_at_the_limit(lines: list[bytes], most: int) -> None:
    data = b"\n".join([b"begin", *lines])
    stream, found = opened(data, "a.txt"), []
    while line := stream.line(most):
        found.append(line)
    expected = [whole[i : i + most] for whole in data.splitlines(True) for i in range(0, len(whole), most)]
    # bytes.splitlines also cuts at other ends than \n
    assert b"".join(found) == data
    assert all(len(line) <= most for line in found)
    if not any(mark in data for mark in (b"\r", b"\x0b", b"\x0c")):
        assert found == expected


def test_damage_gives_what_came_before_and_reading_goes_on_behind() -> None:
    draw = random.Random(1)
    blocks = [draw.randbytes(5000) for _ in range(5)]
    for packing, pack in PACKS.items():
        members = [pack(block) for block in blocks]
        middle = bytearray(members[2])
        middle[4:60] = b"\xff" * 56
        stream = opened(b"".join([*members[:2], bytes(middle), *members[3:]]), f"a.{packing}")
        assert stream.take(10_000) == blocks[0] + blocks[1]
        stream.ahead(1)
        assert stream.member() == len(members[0] + members[1])
        with pytest.raises(Damaged, match="damaged"):
            all_of(stream)
        assert stream.resume()
        assert all_of(stream) == blocks[3] + blocks[4]
        assert not stream.resume()


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_a_cut_member_gives_its_beginning(packing: str) -> None:
    data = b"".join(b"%d lines of a text\n" % (i * 7919) for i in range(20_000))
    packed = PACKS[packing](data)
    got, damage = before_damage(opened(packed[: len(packed) // 2], f"a.{packing}"))
    assert damage.startswith("truncated")
    assert len(got) > 100_000  # of 520,000 bytes
    assert data.startswith(got)


def test_place_is_the_offset_of_the_member_and_in_it() -> None:
    first = PACKS["gz"](b"abcdef")
    stream = opened(first + PACKS["gz"](b"ghi"), "a.gz")
    stream.take(2)
    assert stream.place() == "0+2"
    stream.take(4)
    assert stream.place() in ("0+6", f"{len(first)}")
    stream.take(1)
    assert stream.place() == f"{len(first)}+1"
    plain = opened(b"abcdef", "a")
    plain.take(4)
    assert plain.place() == "4"


def test_a_file_that_unpacks_to_too_much_ends_and_what_is_behind_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FREE_BYTES", 5 << 20)
    bomb, behind = gzip_bomb(40 << 20), PACKS["gz"](b"behind")
    stream = opened(bomb + behind, "a.gz")
    plain, damage = before_damage(stream)
    got = len(plain)
    assert damage == "unpacks to more than 200 times its size"
    assert 5 << 20 < got <= (5 << 20) + 200 * len(bomb + behind) + (1 << 16)
    assert stream.resume()
    assert all_of(stream) == b"behind"


def test_skipping_stops_at_the_mark_or_the_limit() -> None:
    stream = opened(b"a" * 200_000 + b"MARK" + b"b" * 10, "a")
    assert not stream.skip_past(b"MARK", 1000)
    assert stream.position == 1000
    assert stream.skip_past(b"MARK")
    assert stream.take(4) == b"MARK"
    assert not stream.skip_past(b"MARK")
    assert stream.take(1) == b""


def test_a_skippable_zstd_frame_is_skipped() -> None:
    note = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert all_of(opened(note + PACKS["zst"](b"text") + note, "a.zst")) == b"text"

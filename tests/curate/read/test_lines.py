import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from puna.curate.read.limits import Reading
from puna.curate.read.record import Record
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs
from puna.curate.read.split import split_text
from tests.curate.read.packs import PACKS


def read(path: Path, max_chars: int = 0, max_record_bytes: int = 2000) -> list[Record]:
    (file,), _ = list_inputs([path])
    return list(read_file(file, Counter(), max_chars, Reading(max_record_bytes=max_record_bytes)))


@pytest.mark.parametrize("packing", ["", "gz", "xz", "zst"])
def test_a_line_that_is_too_long_costs_this_line(tmp_path: Path, packing: str) -> None:
    rows = [json.dumps({"text": "a" * size}).encode() for size in (10, 3_000_000, 20)]
    path = tmp_path / ("a.jsonl" + (packing and f".{packing}"))
    content = b"\n".join(rows)
    path.write_bytes(PACKS[packing](content) if packing else content)
    records = read(path)
    assert [(len(r.body), r.problem, r.locator) for r in records if not r.problem] == [
        (10, "", f"{path.name}:1"),
        (20, "", f"{path.name}:3"),
    ]
    assert [(r.locator, r.problem) for r in records if r.problem] == [(f"{path.name}:2", "larger than 2000 bytes")]


def test_a_number_without_end_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": ' + "9" * 5000 + "}\n" + "[" * 5000 + '\n{"text": "b"}\n')
    records = read(tmp_path / "a.jsonl", max_record_bytes=10_000)
    assert [record.problem for record in records] == ["invalid JSON", "invalid JSON", ""]


def test_a_text_keeps_its_lines_beside_one_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n" + b"x" * 100_000 + b"\ntwo\n")
    long, text = read(tmp_path / "a.txt")
    assert (long.problem, long.locator) == ("larger than 2000 bytes", "a.txt:2")
    assert text.body == "one\ntwo\n"


def test_a_text_that_is_not_split_is_limited_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some words\n" * 1000)
    assert [record.problem for record in read(tmp_path / "a.txt")] == ["larger than 2000 bytes"]
    assert "".join(str(r.body) for r in read(tmp_path / "a.txt", max_chars=300)) == "some words\n" * 1000


@given(st.text(alphabet=st.sampled_from("ab .\n。\t"), max_size=3000), st.integers(1, 50))
@example("  ", 1)
@example(" \n" * 40, 1)
def test_pieces_made_on_the_way_are_those_of_the_whole_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, max_chars: int
) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text(text)
    expected = [piece for piece in split_text(text, max_chars) if piece.strip()]
    records = read(path, max_chars, 1 << 20)
    assert [record.body for record in records if not record.problem] == expected
    assert [record.problem for record in records if record.problem] == ([] if text.strip() else ["empty text"])


def test_a_text_whose_archive_breaks_off_keeps_what_came(tmp_path: Path) -> None:
    content = PACKS["gz"](b"".join(b"line %d of the text\n" % (i * 7919) for i in range(5000)))
    (tmp_path / "a.txt.gz").write_bytes(content[: len(content) // 2])
    problem, text = read(tmp_path / "a.txt.gz", max_record_bytes=1 << 20)
    assert problem.problem == "damaged file (truncated gzip member)"
    assert len(str(text.body)) > 10_000


def test_jsonl_goes_on_behind_a_damaged_member(tmp_path: Path) -> None:
    rows = [b"".join(b'{"text": "%d of %d"}\n' % (i * 7919, part) for i in range(200)) for part in range(3)]
    members = [PACKS["gz"](row) for row in rows]
    middle = bytearray(members[1])
    middle[400:420] = b"\xff" * 20
    (tmp_path / "a.jsonl.gz").write_bytes(members[0] + bytes(middle) + members[2])
    records = read(tmp_path / "a.jsonl.gz")
    bodies = [str(record.body) for record in records if not record.problem]
    assert bodies[:200] == [f"{i * 7919} of 0" for i in range(200)]
    assert bodies[-200:] == [f"{i * 7919} of 2" for i in range(200)]
    assert [r.problem.partition(" (")[0] for r in records if r.problem.startswith("damaged")] == ["damaged file"]

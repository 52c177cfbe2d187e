"""How much there is: estimates from the beginning of files against counts of all of them."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from puna.base.records import Document, write_documents, write_jsonl
from puna.scaling.recipe import volume
from puna.scaling.recipe.volume import Volume, measure, together
from tests.curate.pages import html_page, sentences, write_warc


def dialogs(count: int) -> list[dict[str, object]]:
    draw = random.Random(3)
    return [
        {
            "id": f"dialog-{number}",
            "messages": [
                {"role": "user", "content": "q" * draw.randint(10, 60)},
                {"role": "assistant", "content": "a" * draw.randint(20, 200)},
            ],
            "source": "test",
        }
        for number in range(count)
    ]


def pack(plain: Path, packed: Path) -> None:
    data = plain.read_bytes()
    if packed.suffix == ".zst":
        with pa.CompressedOutputStream(str(packed), "zstd") as out:
            out.write(data)
    elif packed.suffix != ".jsonl":
        # In two members, as archives are.
        pack_one = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}[packed.suffix]
        packed.write_bytes(pack_one(data[:1000]) + pack_one(data[1000:]))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.xz", "rows.jsonl.bz2", "rows.jsonl.zst"])
@pytest.mark.parametrize("count", [30, 3_000])
def test_dialogs_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    monkeypatch.setattr(volume, "_SAMPLE_BYTES", 60_000)
    rows = dialogs(count)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    pack(tmp_path / "rows.jsonl", tmp_path / name)
    found = measure(tmp_path / name)
    contents = [[message["content"] for message in row["messages"]] for row in rows]  # type: ignore[attr-defined]
    characters, answers = sum(len(a) + len(b) for a, b in contents), sum(len(b) for _, b in contents)
    tolerance = 1e-9 if count == 30 else 0.05
    assert found.rows == pytest.approx(count, rel=tolerance)
    assert found.characters == pytest.approx(characters, rel=tolerance)
    assert found.answer == pytest.approx(answers / count, rel=tolerance)


def test_preferences_say_how_long_an_answer_is(tmp_path: Path) -> None:
    row = {
        "id": "0",
        "prompt": [{"role": "user", "content": "12345"}],
        "chosen": "abc",
        "rejected": "abcdefg",
        "task": "x",
    }
    write_jsonl(tmp_path / "pairs.jsonl", [row, row])
    assert measure(tmp_path / "pairs.jsonl") == Volume(2, 30, answer=3)


def test_documents_of_parquet_are_counted_by_their_text(tmp_path: Path) -> None:
    texts = [sentences(number, 5) for number in range(200)]
    write_documents(tmp_path / "documents-00000.parquet", [Document(f"{i}", text) for i, text in enumerate(texts)])
    found = measure(tmp_path)
    assert found.rows == 200
    assert found.characters == pytest.approx(sum(map(len, texts)), rel=0.05)


def test_pages_of_archives_are_counted_as_markup(tmp_path: Path) -> None:
    pages = [(f"https://example.org/{i}", html_page(sentences(i, 4))) for i in range(40)]
    write_warc(tmp_path / "pages.warc.gz", pages)
    found = measure(tmp_path / "pages.warc.gz")
    assert (found.rows, found.characters) == (40, 0)
    assert found.markup == len(gzip.decompress((tmp_path / "pages.warc.gz").read_bytes()))


def test_of_many_files_some_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (tmp_path / f"{number:03d}.jsonl").write_text(json.dumps({"text": "x" * 50}) + "\n")
    looked: list[Path] = []
    original = volume._lines
    monkeypatch.setattr(volume, "_lines", lambda path: looked.append(path) or original(path))
    found = measure(tmp_path)
    assert len(looked) <= 32 and (found.rows, found.characters) == pytest.approx((100, 5_000))


def test_what_is_not_there_is_said_and_stays_said(tmp_path: Path) -> None:
    gone = measure(tmp_path / "gone.jsonl")
    assert gone.missing.endswith("gone.jsonl")
    assert together([Volume(5, 50), gone]).missing == gone.missing
    assert measure(tmp_path) == Volume()


def test_parts_and_sums() -> None:
    whole = Volume(10, 100, answer=4.0, tokens=30)
    assert whole.first(5) == Volume(5, 50, answer=4.0, tokens=15)
    assert whole.first(0) == whole.first(11) == whole
    assert together([whole, Volume(30, 60, answer=8.0)]) == Volume(40, 160, answer=7.0, tokens=30)


def test_archives_hold_pages_or_tables(tmp_path: Path) -> None:
    def archive(name: str, contents: list[bytes]) -> Path:
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            for number, content in enumerate(contents):
                entry = tarfile.TarInfo(f"member-{number}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return tmp_path / name

    pages = measure(archive("pages.tar.gz", [html_page(sentences(i, 20)) for i in range(12)]))
    assert pages.rows == 12 and pages.markup > 0 and pages.characters == 0
    items = measure(archive("items.tar.gz", [b"question,1,2,3,4,A\n" * 25] * 4))
    assert (items.rows, items.markup) == (100, 0)

"""The stage `pollute`: the stated shares, a truth that the texts bear out, and the same bytes in any order."""

import gzip
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_jsonl, write_documents
from puna.world.pollute import SHARES, PolluteConfig, run

_SYLLABLES = ("ba", "ko", "mi", "ru", "sel", "tan", "vo", "wen", "pri", "lu")
BAD = {"zibble", "grundo", "skorf", "plonko", "vrakka", "moozy", "flimper", "nookaru", "sluvvy"}


def _prose(number: int, words: int = 220) -> str:
    draw = random.Random(number)
    made = ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(words)]
    sentences = [" ".join(made[i : i + 11]).capitalize() for i in range(0, words, 11)]
    return "\n\n".join("It's so. " + ". ".join(sentences[i : i + 5]) + "." for i in range(0, len(sentences), 5))


CLEAN = [Document(f"{number:04x}", _prose(number), source="books", lang="en") for number in range(120)]
FOREIGN = [
    Document(f"f{number:03x}", f"第{number}篇文章讲的是一个村庄。" * 20, source="zh", lang="zh") for number in range(5)
]


def _polluted(folder: Path, config: PolluteConfig, clean: list[Document] = CLEAN, seed: int = 3) -> Path:
    for name, documents in (("clean", clean), ("foreign", FOREIGN)):
        (folder / name).mkdir(parents=True)
        write_documents(folder / name / "documents-00000.parquet", documents)
    out = StageOutput(folder / "out", seed=seed)
    run(config, Inputs({"documents": folder / "clean", "foreign": folder / "foreign"}), out)
    return out.path


def _texts(folder: Path) -> dict[str, str]:
    """Address -> text of every record, by fastwarc."""
    found = {}
    for path in sorted((folder / "crawl").glob("*.wet.gz")):
        with open(path, "rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.conversion):
                found[record.headers["WARC-Target-URI"]] = record.reader.read().decode()
    return found


@pytest.fixture(scope="module")
def polluted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _polluted(tmp_path_factory.mktemp("polluted"), PolluteConfig())


def test_each_kind_has_its_share_of_the_characters(polluted: Path) -> None:
    rows = list(read_jsonl(polluted / "truth.jsonl"))
    chars: Counter[str] = Counter()
    for row in rows:
        chars[row["dirt"][0] if row["dirt"] else "clean"] += len(row["text"])
    assert set(chars) == {"clean", *SHARES}
    largest = max(len(row["text"]) for row in rows)
    for kind, share in SHARES.items():
        # The last page made goes beyond the share: one text, of near-copies up to six.
        over = largest * (6 if kind == "near-copy" else 1)
        wanted = share * chars["clean"] / (1 - sum(SHARES.values()))
        assert wanted <= chars[kind] <= wanted + over, kind
    assert len({row["url"] for row in rows}) == len(rows) == len(_texts(polluted))


def test_clean_texts_are_kept_whole_and_nothing_else_is_to_be_kept(polluted: Path) -> None:
    texts = _texts(polluted)
    rows = list(read_jsonl(polluted / "truth.jsonl"))
    kept = [row for row in rows if row["keep"]]
    assert {row["text"] for row in kept} == {document.text for document in CLEAN}
    wrapped = [row for row in kept if texts[row["url"]] != row["text"]]
    assert 0.15 < len(wrapped) / len(kept) < 0.45  # 0.3 of 120
    for row in kept:
        before, after = texts[row["url"]].split(row["text"])
        assert bool(before) == bool(after) == (row in wrapped)
    assert all(bool(row["dirt"]) != row["keep"] for row in rows)
    assert all(texts[row["url"]] == row["text"] for row in rows if not row["keep"])


def test_the_dirt_is_what_its_truth_says(polluted: Path) -> None:
    """Each kind by a definition of its own, told from the texts alone."""
    originals = {row["url"]: row["text"] for row in read_jsonl(polluted / "truth.jsonl") if row["keep"]}
    words_of = {" ".join(sorted(_letters(text).split())) for text in originals.values()}
    seen: Counter[str] = Counter()
    for row in read_jsonl(polluted / "truth.jsonl"):
        kind, text = (row["dirt"] or ["clean"])[0], row["text"]
        twin = originals.get(row["duplicate_of"], "")
        seen[kind] += 1
        assert bool(twin) == (kind in ("exact-copy", "near-copy")), kind
        match kind:
            case "exact-copy":
                assert text == twin
            case "near-copy":
                mine, theirs = text.split(), twin.split()
                assert len(mine) == len(theirs)
                assert sum(a != b for a, b in zip(mine, theirs, strict=True)) <= 1 + len(mine) // 50
            case "mojibake":
                read = text.encode("latin-1").decode().encode("latin-1").decode()
                assert read != text
                assert read.replace("’", "'").replace("\u00a0", " ") in originals.values()
            case "truncated":
                assert any(whole.startswith(text) and len(text) < len(whole) for whole in originals.values())
                assert 10 <= len(text.split()) <= 80
            case "salad":
                assert " ".join(sorted(_letters(text).split())) in words_of and text not in originals.values()
            case "toxic":
                assert 0.05 < sum(word in BAD for word in re.findall(r"\w+", text)) / len(text.split()) < 0.3
            case "repeat":
                assert len(set(text.split("\n"))) == 1 and text.count("\n") >= 9
            case "foreign":
                assert row["lang"] == "zh" and text in {document.text for document in FOREIGN}
            case "machine":
                assert sum(letter.isspace() for letter in text) < 0.2 * len(text)
            case "clean" | "menu" | "keywords" | "advert":
                pass
            case _:
                pytest.fail(f"a kind without a test: {kind}")
    assert set(seen) == {"clean", *SHARES}


def _letters(text: str) -> str:
    return text.replace(".", "").lower()


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_order_of_the_documents_changes_nothing_and_the_seed_all(polluted: Path, tmp_path: Path) -> None:
    turned = _polluted(tmp_path / "turned", PolluteConfig(), CLEAN[::-1])
    assert _bytes(turned) == _bytes(polluted)
    other = _polluted(tmp_path / "other", PolluteConfig(), seed=4)
    assert all(_bytes(other)[name] != data for name, data in _bytes(polluted).items())


def test_every_record_is_a_gzip_member_without_a_time(polluted: Path) -> None:
    data = (polluted / "crawl/polluted-00.wet.gz").read_bytes()
    assert data[4:8] == b"\0\0\0\0"
    assert gzip.decompress(data).count(b"WARC-Type: conversion") == len(_texts(polluted)) / 2


def test_what_can_not_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kinds among"):
        PolluteConfig(shares={"slime": 0.1})
    with pytest.raises(ValueError, match="leave room"):
        PolluteConfig(shares={"menu": 1.0})
    (tmp_path / "clean").mkdir()
    write_documents(tmp_path / "clean/documents-00000.parquet", CLEAN[:3])
    inputs = Inputs({"documents": tmp_path / "clean"})
    with pytest.raises(DataError, match='input "foreign"'):
        run(PolluteConfig(), inputs, StageOutput(tmp_path / "none"))
    out = StageOutput(tmp_path / "without")
    run(PolluteConfig(shares={"menu": 0.1}), inputs, out)
    assert {tuple(row["dirt"]) for row in read_jsonl(out.path / "truth.jsonl")} == {(), ("menu",)}

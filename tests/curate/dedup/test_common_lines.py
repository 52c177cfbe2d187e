"""Lines that many documents hold go from all of them: against counting written out, and through the stage."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.curate.dedup.common_lines import (
    common_keys,
    common_words,
    line_keys,
    line_words,
    with_common,
    without_common,
)
from puna.curate.text.words import count_words
from tests.curate.pages import curate, html_page, sentences, write_warc


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Page 3 of 12", "PAGE 7 of 95!", True),
        ("Page 3 of 12", "Page 3 of 123", False),  # a digit more
        ("  We use cookies. ", "We use cookies", True),
        ("We use cookies", "We used cookies", False),
        ("分享", "分享。", True),
    ],
)
def test_what_counts_as_the_same_line(a: str, b: str, same: bool) -> None:
    assert (line_keys(a, "en") == line_keys(b, "en")).all() == same
    assert line_keys(a, "en") != line_keys(a, "de")


@given(st.lists(st.text(alphabet="aBc9ß_ .İ٣é的\t-", max_size=6), min_size=1, max_size=6))
def test_keys_are_equal_where_letters_and_digits_are(lines: list[str]) -> None:
    def bare(line: str) -> str:
        return "".join("0" if c.isdecimal() else c for c in line.lower() if (c.isalnum() or c == "\u0307") and c != "_")

    bare_lines = [bare(line).replace("\u0307", "") for line in lines]
    keys = line_keys("\n".join(lines), "en").tolist()
    assert len(keys) == len(lines)
    for a, key in zip(bare_lines, keys, strict=True):
        assert (key == 0) == (a == "")
        assert [key == other for other in keys] == [a == b for b in bare_lines]
    assert keys == [key for line in lines for key in line_keys(line, "en").tolist()]


def test_same_lines_as_counting_written_out(tmp_path: Path) -> None:
    draw = random.Random(3)
    for copies in (1, 2, 6):
        texts = ["\n".join(draw.choices(["aa", "bb", "cc 1", "dd", "", "--", "ee", "ff"], k=8)) for _ in range(5)]
        counts = Counter(line for text in texts for line in text.split("\n") if line not in ("", "--"))
        common = common_keys((line_keys(text, "en") for text in texts), copies, tmp_path)
        for text in texts:
            expected = [line for line in text.split("\n") if counts[line] <= copies]
            (is_touched,) = with_common(pa.array([line_keys(text, "en").tobytes()]), common)
            assert is_touched == (len(expected) < len(text.split("\n")))
            keys, words = (pa.array([of(text).tobytes()]) for of in (lambda one: line_keys(one, "en"), line_words))
            lost = sum(count_words(line) for line in text.split("\n") if counts[line] > copies)
            assert common_words(keys, words, common).tolist() == [lost]
            kept = without_common(text, line_keys(text, "en"), common)
            assert [line for line in kept.split("\n") if line] == [line for line in expected if line]
    assert without_common("a\n\n\nb", line_keys("a\n\n\nb", "en"), common_keys([], 1, tmp_path)) == "a\n\n\nb"
    assert not list(tmp_path.iterdir())


def test_texts_with_common_lines_are_found_in_a_column_of_them() -> None:
    texts = ["", "a\nb", "b", "", "c\n\nd", "a"]
    column = pa.array([line_keys(text, "en").tobytes() for text in texts])
    common = np.sort(line_keys("a\nd", "en"))
    assert with_common(column, common).tolist() == [False, True, False, False, True, True]
    assert with_common(pa.chunked_array([column[:2], column[2:]]), common).tolist()[1:] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert with_common(column[3:], common).tolist() == [False, True, True]
    assert with_common(column[:0], common).tolist() == []
    assert not with_common(column, common[:0]).any()


@pytest.mark.parametrize("workers", [1, 2])
def test_through_the_stage(tmp_path: Path, workers: int) -> None:
    notice = "By reading on you agree that the baker of the village may look at what you do here."
    pages = {f"p{i}": f"{sentences(i, 6)}\n\n{notice}" for i in range(4)} | {"own": sentences(9, 6)}
    pages["only"] = f"{notice}\n\n{notice}"
    write_warc(tmp_path / "crawl.warc.gz", [(f"https://x.org/{name}", html_page(text)) for name, text in pages.items()])
    settings = {"languages": [], "rules": [], "heldout_fraction": 0, "heldout_min": 0, "near_duplicates": False}

    def run(name: str, **more: object) -> tuple[dict[str, str], dict[str, str], dict[str, object]]:
        out = curate([tmp_path / "crawl.warc.gz"], tmp_path / name, workers, **settings, **more)
        kept = [row for path in out.path.glob("documents-*.parquet") for row in pq.read_table(path).to_pylist()]
        gone = [row for path in out.path.glob("rejects/*.parquet") for row in pq.read_table(path).to_pylist()]
        names = ({row["url"][14:]: row["text"] for row in kept}, {row["url"][14:]: row["rule"] for row in gone})
        return *names, json.loads((out.path / "report.json").read_text())

    kept, gone, report = run("six", max_line_copies=6)
    assert gone == {} and report["common_lines"] == 0 and all(notice in kept[f"p{i}"] for i in range(4))
    kept, gone, report = run("five", max_line_copies=5)
    title = "A page"
    assert gone == {"only": "lines:nothing left"}
    assert {name: text.replace(title, "").strip() for name, text in kept.items()} == {
        name: text.replace(notice, "").strip() for name, text in pages.items() if name != "only"
    }
    assert report["common_lines"] >= 1 and report["rejects"] == {"lines:nothing left": 1}
    words = sum(len(text.split()) for text in kept.values())
    assert report["words_out"] == words == report["funnel"][-1]["tokens"]
    assert report["funnel"][-1] == {"name": "no common lines", "documents": 5, "tokens": words}

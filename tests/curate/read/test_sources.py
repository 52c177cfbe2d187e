from pathlib import Path

import pytest

from puna.base.errors import DataError, InputError
from puna.curate.read.sources import file_kind, list_inputs, source_names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.warc.gz", "warc"),
        ("a.warc.wet.gz", "warc"),
        ("a.arc", "warc"),
        ("page.HTML", "html"),
        ("pages.tar.xz", "tar"),
        ("pages.tgz", "tar"),
        ("b.jsonl.zst", "jsonl"),
        ("c.parquet", "parquet"),
        ("v1.2.book.txt.gz", "text"),
        ("d.json", None),
        ("d.csv.gz", None),
        ("c.parquet.gz", None),
        ("b.EPUB", "epub"),
        ("b.pdf", "pdf"),
        ("a.ipynb", "notebook"),
        ("a.py", None),
        ("e.warc.wat.gz", None),
        ("README", None),
    ],
)
def test_kind_by_name(name: str, kind: str | None) -> None:
    assert file_kind(Path(name)) == kind


def test_a_folder_gives_known_files_and_counts_the_rest(tmp_path: Path) -> None:
    for name in ("b.txt", "sub/a.html", "LICENSE.txt", "table.csv", "data.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    files, skipped = list_inputs([tmp_path])
    assert [(file.source, file.name, file.kind) for file in files] == [
        (tmp_path.name, "b.txt", "text"),
        (tmp_path.name, "sub/a.html", "html"),
    ]
    assert dict(skipped) == {"file LICENSE": 1, "file .csv": 1, "file .json": 1}


def test_order_and_repetition_of_paths_do_not_matter(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("x")
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    assert list_inputs([b, a, b])[0] == list_inputs([a, b])[0]


def test_names_of_sources_are_stems_made_unique_by_folders(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("x/docs.jsonl.gz", "y/docs.jsonl", "y/crawl.warc.gz")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert list(source_names(paths).values()) == ["x-docs", "y-docs", "crawl"]


def test_bad_paths_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none"):
        list_inputs([tmp_path / "missing.warc"])
    with pytest.raises(InputError, match=r"expected WARC, .*came a file of an unknown kind"):
        list_inputs([tmp_path / "table.csv"])
    with pytest.raises(DataError, match="found no such file"):
        list_inputs([tmp_path / "empty"])
    with pytest.raises(DataError, match="came none"):
        list_inputs([])

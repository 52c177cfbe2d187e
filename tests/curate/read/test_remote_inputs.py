"""Every kind of input at an address gives what it gives from the disk."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.base.errors import DataError, InputError
from puna.base.output import Inputs
from puna.curate.read.record import Record
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs
from puna.lineage.recipe import Recipe
from puna.lineage.runner import plan, run
from puna.stages import STAGES
from tests.curate.pages import html_page, sentences, write_warc
from tests.curate.read.packs import PACKS, epub

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    root = tmp_path / "crawl"
    (root / "sub").mkdir(parents=True)
    write_warc(root / "a.warc.gz", [(f"http://a/{i}", html_page(sentences(i, 9))) for i in range(20)])
    rows = "".join(json.dumps({"text": sentences(i, 9)}) + "\n" for i in range(30, 50))
    (root / "b.jsonl.zst").write_bytes(PACKS["zst"](rows.encode()))
    pq.write_table(pa.table({"text": [sentences(i, 9) for i in range(60, 80)]}), root / "sub" / "c.parquet")
    (root / "d.txt.gz").write_bytes(PACKS["gz"](sentences(90, 400).encode()))
    (root / "e.html").write_bytes(html_page(sentences(95, 9)))
    (root / "f.epub").write_bytes(epub({"a.xhtml": html_page(sentences(96, 9))}))
    (root / "table.csv").write_text("no data")
    return root


@pytest.fixture
def address(crawl: Path) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    for path in crawl.rglob("*.*"):
        system.pipe(f"/bucket/crawl/{path.relative_to(crawl).as_posix()}", path.read_bytes())
    yield "memory://bucket/crawl"
    system.rm("/bucket", recursive=True)


def read(place: Path | str) -> tuple[list[Record], Counter[str]]:
    files, skipped = list_inputs([place])
    return [record for file in files for record in read_file(file, Counter(), 5000)], skipped


def test_a_folder_at_an_address_gives_the_same_records(crawl: Path, address: str) -> None:
    near, far = read(crawl), read(address)
    assert near == far
    assert len(near[0]) > 60
    assert not any(record.problem for record in near[0])


def test_names_of_sources_at_addresses() -> None:
    system = fsspec.filesystem("memory")
    for name in ("/one/docs.jsonl.gz", "/two/docs.jsonl"):
        system.pipe(name, b"")
    files, _ = list_inputs(["memory://one/docs.jsonl.gz", "memory://two/docs.jsonl"])
    assert [(file.source, file.name, file.kind) for file in files] == [
        ("one-docs", "docs.jsonl.gz", "jsonl"),
        ("two-docs", "docs.jsonl", "jsonl"),
    ]
    system.pipe("/one/table.csv", b"x")
    with pytest.raises(InputError, match="memory://one/table.csv: expected WARC.*unknown kind"):
        list_inputs(["memory://one/table.csv"])


def test_a_recipe_reads_an_address_and_knows_when_it_changed(tmp_path: Path, crawl: Path, address: str) -> None:
    config = {"shards": 1, "workers": 1, "gopher_repetition": {"top_ngrams": {}, "duplicate_ngrams": {}}}

    def recipe(place: str) -> Recipe:
        stage = {"kind": "curate", "inputs": {"crawl": place}, "config": config}
        return Recipe.from_values({"name": "far", "stages": {"curate": stage}})

    far = run(recipe(address), STAGES, tmp_path / "far")
    near = run(recipe(str(crawl)), STAGES, tmp_path / "near")
    documents = [(result.folder / "curate" / "documents-00000.parquet").read_bytes() for result in (far, near)]
    assert documents[0] == documents[1]
    assert [one.reused for one in plan(recipe(address), STAGES, tmp_path / "far")] == [True]
    fsspec.filesystem("memory").pipe("/bucket/crawl/e.html", html_page(sentences(97, 9)))
    (one,) = plan(recipe(address), STAGES, tmp_path / "far")
    assert (one.reused, one.reasons) == (False, ["input crawl changed"])
    with pytest.raises(DataError, match="at memory://bucket/none, found none"):
        plan(recipe("memory://bucket/none"), STAGES, tmp_path / "far")


def test_stages_that_read_files_refuse_addresses() -> None:
    inputs = Inputs({"crawl": "s3://bucket/a", "exams": [Path("a"), "s3://bucket/b"]})
    assert inputs.places("crawl") == ["s3://bucket/a"]
    with pytest.raises(DataError, match='for the input "exams", came an address; get s3://bucket/b first'):
        inputs.many("exams")

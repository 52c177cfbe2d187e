"""A corpus that grows dump by dump is the one that is curated at once; nothing old is read or cleaned again."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from puna.base.errors import DataError
from puna.base.records import read_documents
from puna.curate.clean import CurateConfig
from tests.curate.pages import curate, files_of, html_page, sentences, write_warc

NOTICE = "By reading on you agree that the baker of the village may look at what you do here."
SETTINGS = {"rules": [], "heldout_fraction": 0.1}


def artifact(folder: Path, **config: object) -> Path:
    """The folder of a finished stage: its files with the manifest that the runner writes."""
    values = CurateConfig.model_validate({"shards": 2, **SETTINGS, **config}).model_dump(mode="json")
    (folder / "files" / "manifest.json").write_text(json.dumps({"config": values}))
    return folder / "files"


@pytest.fixture
def dumps(tmp_path: Path) -> list[Path]:
    """Three dumps with copies within and across, newer versions of older pages, and a line that many pages hold."""
    text = {i: f"{sentences(i, 8)}\n\n{NOTICE}" for i in range(60)}
    near = {i: f"{text[i]} A word more." for i in range(60)}

    def page(host: str, i: int, body: str) -> tuple[str, bytes]:
        return f"https://{host}.example/{i}", html_page(body, f"Page {i}")

    first = [page("a", i, text[i]) for i in range(30)] + [page("b", i, near[i]) for i in range(5)]
    first.append(page("g", 1, " ".join(f"the zorp{i} of the blah{i} and that is" for i in range(80))))
    first += [page("d", 3, f"{near[3]} And one more."), page("a", 7, text[7])]
    second = [page("a", i, f"{text[i]} New version.") for i in range(3)] + [page("c", i, text[i]) for i in range(4, 9)]
    second += [page("c", i, text[i]) for i in range(30, 45)]
    third = [page("e", i, near[i]) for i in range(20, 50)] + [page("f", i, text[i]) for i in range(45, 60)]
    paths = [tmp_path / f"{name}.warc.gz" for name in ("1-first", "2-second", "3-third")]
    for path, pages, year in zip(paths, (first, second, third), (2024, 2025, 2026), strict=True):
        write_warc(path, pages, f"{year}-01-01T00:00:00Z")
    return paths


@pytest.mark.parametrize(("max_line_copies", "max_kl"), [(0, 0), (20, 1.0)])
def test_dump_by_dump_is_all_at_once(tmp_path: Path, dumps: list[Path], max_line_copies: int, max_kl: float) -> None:
    settings = {**SETTINGS, "max_line_copies": max_line_copies, "outliers": {"max_kl": max_kl, "min_corpus_words": 1}}
    curate(dumps, tmp_path / "whole", **settings)
    curate(dumps[:1], tmp_path / "one", **settings)
    corpus = artifact(tmp_path / "one", **settings)
    for path in dumps:
        path.rename(path.with_suffix(".away"))  # what is in the corpus is not read again
    for name, dump in (("two", dumps[1]), ("three", dumps[2])):
        dump.with_suffix(".away").rename(dump)
        curate([dump], tmp_path / name, corpus=corpus, **settings)
        dump.rename(dump.with_suffix(".away"))
        corpus = artifact(tmp_path / name, **settings)
    whole, grown = (files_of(tmp_path / name) for name in ("whole", "three"))
    tables = [name for name in whole if name.endswith(".parquet")]
    assert len(tables) == 8 + bool(max_kl)
    for name in tables:
        assert grown[name] == whole[name], name
    texts = [document.text for document in read_documents(corpus)]
    assert len(texts) > 40 and any(NOTICE in text.split("\n") for text in texts) is not bool(max_line_copies)
    rejected = [row for path in corpus.glob("rejects/*.parquet") for row in pq.read_table(path).to_pylist()]
    rules = {row["rule"].partition(" (")[0] for row in rejected}
    assert rules - {"outliers:unusual words"} == {"url:duplicate", "exact:duplicate", "near:duplicate"}
    assert ("outliers:unusual words" in rules) is bool(max_kl)


def test_what_is_no_corpus_is_refused_in_one_line(tmp_path: Path, dumps: list[Path]) -> None:
    with pytest.raises(DataError, match="expected a finished curate stage with an index"):
        curate(dumps[1:2], tmp_path / "x", corpus=tmp_path, **SETTINGS)
    curate(dumps[:1], tmp_path / "bare", keep_index=False, **SETTINGS)
    assert not (tmp_path / "bare" / "files" / "index").exists()
    with pytest.raises(DataError, match="found none; curate it first"):
        curate(dumps[1:2], tmp_path / "x", corpus=artifact(tmp_path / "bare"), **SETTINGS)
    curate(dumps[:1], tmp_path / "one", **SETTINGS)
    corpus = artifact(tmp_path / "one")
    with pytest.raises(DataError, match="came other ones of minhash, max_line_copies: .*'bands': 14.*, 0 there"):
        curate(dumps[1:2], tmp_path / "x", corpus=corpus, minhash={"bands": 20}, max_line_copies=6, **SETTINGS)
    (corpus / "documents-00000.parquet").write_bytes((corpus / "documents-00001.parquet").read_bytes())
    with pytest.raises(DataError, match="expected the document [0-9a-f]{32} of the index in .*documents-00000"):
        curate(dumps[1:2], tmp_path / "x", corpus=corpus, **SETTINGS)

"""Fifty of each rule to read."""

from pathlib import Path

import pytest

from puna.base.errors import DataError, InputError
from puna.curate.audit import rejects
from puna.curate.audit.rejects import read_rejects, read_samples
from tests.curate.pages import curate, html_page, sentences, write_warc


def test_the_first_of_each_rule_by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "NUM_SAMPLES", 5)
    pages = [(f"https://a.example/{i}", html_page("Too short, this page is.")) for i in range(20)]
    pages += [(f"https://b.example/{i}", html_page("")) for i in range(3)]
    pages += [(f"https://c.example/{i}", html_page(sentences(i, 9))) for i in range(3)]
    write_warc(tmp_path / "crawl.warc.gz", pages)
    curate([tmp_path / "crawl.warc.gz"], tmp_path / "out", rules=["gopher_quality"], languages=[], shards=1)
    folder = tmp_path / "out" / "files"
    samples = read_samples(folder)
    assert {rule: len(rows) for rule, rows in samples.items()} == {"gopher_quality:too few words": 5}
    every = [row for row in read_rejects(folder) if row["rule"] == "gopher_quality:too few words"]
    assert len(every) == 23
    assert [row["id"] for row in samples["gopher_quality:too few words"]] == sorted(row["id"] for row in every)[:5]
    assert list(read_samples(folder, "gopher")) == list(samples)
    with pytest.raises(InputError, match=r"expected a rule that dropped something \(gopher_quality.*, came 'c4'"):
        read_samples(folder, "c4")
    with pytest.raises(DataError, match="expected a finished curate stage"):
        read_samples(tmp_path)

"""A poisoned file or page costs a counted reject, or nothing; never the run, and never a good page beside it."""

import gzip
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from puna.base.records import read_documents
from puna.curate import pii
from tests.curate.pages import curate, html_page, sentences, write_warc

LIMIT = 1 << 20
# Matches nothing, and tries every way to cut the letters before it knows.
CATASTROPHE = re.compile(r"(x+x+)+y")


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    folder = tmp_path / "poisoned"
    folder.mkdir()
    long = json.dumps({"text": "a word and then one more " * 400_000})  # ten megabytes, ten times the limit
    rows = [json.dumps({"text": sentences(seed, 9)}) for seed in range(2)]
    (folder / "line.jsonl").write_text(f"{rows[0]}\n{long}\n{rows[1]}\n")
    (folder / "bomb.txt.gz").write_bytes(gzip.compress(bytes(100_000_000), 9))
    nested = b"<html><body>" + b"<div><b>" * 50_000 + sentences(5, 9).encode() + b"</body></html>"
    pages = [("https://a.example/nested", nested)]
    pages += [("https://a.example/tags", b"<html><body>" + b"<" * 300_000 + b"</body></html>")]
    pages += [("https://a.example/blanks", html_page("word" + " " * 300_000 + "word"))]
    pages += [("https://a.example/regex", html_page(f"{sentences(6, 9)} {'x' * 200}"))]
    pages += [(f"https://a.example/good-{seed}", html_page(sentences(10 + seed, 9))) for seed in range(6)]
    write_warc(folder / "pages.warc.gz", pages)
    return folder


def test_one_reject_each_and_every_good_page_stays(
    tmp_path: Path, poisoned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A rule with a pattern of the worst kind, in the worker as well: it reads its patterns when it is started.
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import re, sys\n"
        "if any('puna.curate.engines.worker' in word for word in sys.orig_argv):\n"
        "    from puna.curate import clean\n"
        "    mask = clean.mask_personal_data\n"
        f"    pattern = re.compile({CATASTROPHE.pattern!r})\n"
        "    clean.mask_personal_data = lambda text, ids: pattern.search(text) and None or mask(text, ids)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    settings = {"rules": [], "languages": [], "heldout_min": 0, "heldout_fraction": 0, "record_seconds": 3}
    out = curate([poisoned], tmp_path / "out", workers=2, reading={"max_record_bytes": LIMIT}, **settings)
    rejects = [row for path in out.path.glob("rejects/*.parquet") for row in pq.read_table(path).to_pylist()]
    reasons = {row["url"].rpartition("/")[2] or row["rule"].partition(" (")[0]: row["rule"] for row in rejects}
    assert reasons["regex"] == "read:took over 3 s to clean"
    # The long line and the bomb.
    assert sum(row["rule"] == f"read:larger than {LIMIT} bytes" for row in rejects) == 2
    kept = list(read_documents(out.path))
    urls = {document.url.rpartition("/")[2] for document in kept}
    assert {f"good-{seed}" for seed in range(6)} <= urls
    assert {sentences(0, 9), sentences(1, 9)} <= {document.text for document in kept}
    for name in ("nested", "tags", "blanks"):
        assert (name in urls) != (name in reasons)
    report = json.loads((out.path / "report.json").read_text())
    assert report["records"] == len(kept) + len(rejects)
    assert pii.mask_personal_data("x" * 40, ()).text == "x" * 40  # this process is as it was

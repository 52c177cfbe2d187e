"""A finished curate stage asked why, and what relaxing a threshold would keep; against what running it so keeps."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from puna.base.errors import DataError, InputError
from puna.base.files import write_json
from puna.curate.audit.sweep import sweep
from puna.curate.audit.why import tell
from puna.curate.clean import CurateConfig
from tests.curate.pages import curate, html_page, sentences, write_warc

GOOD = sentences(1, 8)
PAGES = {
    "good": GOOD,
    "copy": GOOD,
    "short": sentences(2, 5)[:200] + ". A. B. C. D. E",
    "numbers": " ".join(f"{sentences(10 + i, 1)} {i} 12 34 56 78 90 11 22 33 44." for i in range(8)),
    "fewer-numbers": " ".join(f"{sentences(30 + i, 1)} {i} 12 34 56." for i in range(8)),
    "both": " ".join("12 34 56." for _ in range(20)),
    "lines": "\n\n".join([sentences(4, 2)] * 3 + [sentences(5, 8)]),
}
NO_NGRAMS = {"top_ngrams": {}, "duplicate_ngrams": {}}  # the sentences are made by one pattern


def artifact(folder: Path, pages: dict[str, str], **config: object) -> Path:
    """A finished stage; every page at https://x.org/NAME."""
    folder.mkdir()
    write_warc(folder / "crawl.warc.gz", [(f"https://x.org/{name}", html_page(text)) for name, text in pages.items()])
    settings = {
        "near_duplicates": False,
        "heldout_min": 0,
        "heldout_fraction": 0.0,
        "languages": [],
        "gopher_repetition": NO_NGRAMS,
        **config,
    }
    out = curate([folder / "crawl.warc.gz"], folder / "work", **settings)
    values = CurateConfig.model_validate({"shards": 2, **settings}).model_dump(mode="json")
    write_json(out.path / "manifest.json", {"config": values})
    return out.path


def fates(folder: Path) -> dict[str, str]:
    rows = [row for path in folder.glob("rejects/*.parquet") for row in pq.read_table(path).to_pylist()]
    kept = [row for path in folder.glob("documents-*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["url"].rpartition("/")[2]: row.get("rule", "kept") for row in rows + kept}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("curate") / "run", PAGES)


def test_the_story_of_a_dropped_document(done: Path) -> None:
    story = tell(done, "https://x.org/numbers")
    assert (story.fate, story.rule) == ("dropped", "gopher_quality:words without letters")
    failed = [(rule, check.setting) for rule, check in story.checks if check.failed]
    assert failed[0] == ("gopher_quality", "min_letter_words")
    assert {rule for rule, _ in story.checks} == {"gopher_quality", "gopher_repetition"}  # those before it passed
    assert tell(done, story.row["id"]) == story


def test_the_story_of_a_copy_and_of_its_twin(done: Path) -> None:
    fate = fates(done)
    (kept, dropped) = ("good", "copy") if fate["good"] == "kept" else ("copy", "good")
    copy, twin = tell(done, f"https://x.org/{dropped}"), tell(done, f"https://x.org/{kept}")
    assert copy.rule == "exact:duplicate" and copy.twin is not None and copy.twin["id"] == twin.row["id"]
    assert twin.fate == "kept" and [one["id"] for one in twin.copies] == [copy.row["id"]]
    assert not any(check.failed for _, check in twin.checks)


def test_plain_text_is_not_asked_by_the_rules_of_web_pages(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("\n".join(["a poem", *sentences(1, 8).split(". ")]))
    out = curate([tmp_path / "one.txt"], tmp_path / "work", gopher_repetition=NO_NGRAMS, heldout_min=0, languages=[])
    write_json(
        out.path / "manifest.json", {"config": CurateConfig(gopher_repetition=NO_NGRAMS).model_dump(mode="json")}
    )
    (row,) = [row for path in out.path.glob("documents-*.parquet") for row in pq.read_table(path).to_pylist()]
    story = tell(out.path, row["id"])
    assert story.fate == "kept" and "c4" not in {rule for rule, _ in story.checks}
    assert not any(check.failed for _, check in story.checks)


def test_who_is_not_there_is_told(done: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the id or address of a document in .*, came 'nobody'"):
        tell(done, "nobody")
    for ask in (lambda: tell(tmp_path, "x"), lambda: sweep(tmp_path)):
        with pytest.raises(DataError, match="expected a finished curate stage"):
            ask()


def test_a_sweep_keeps_what_a_run_with_the_threshold_would(done: Path, tmp_path: Path) -> None:
    before = fates(done)
    found = {(one.rule, one.setting): one for one in sweep(done)}
    letters = found["gopher_quality", "min_letter_words"]
    assert letters.documents == sum(rule == "gopher_quality:words without letters" for rule in before.values()) >= 2
    for step in (0.1, 0.25, 0.5):
        relaxed = artifact(tmp_path / str(step), PAGES, gopher_quality={"min_letter_words": 0.8 * (1 - step)})
        after = fates(relaxed)
        more = {name for name, fate in after.items() if fate == "kept" and before[name] != "kept"}
        assert letters.kept_at(step)[0] == len(more), (step, more)
    assert letters.kept_at(0.1)[0] < letters.kept_at(0.5)[0]
    blocks = found["gopher_repetition", "duplicate_paragraphs"]
    assert not blocks.is_least and blocks.documents == 1 and blocks.limit == 0.3


def test_what_two_checks_stand_against_comes_back_by_neither(done: Path) -> None:
    assert fates(done)["both"] == "gopher_quality:word length"
    found = {(one.rule, one.setting): one for one in sweep(done)}
    assert found["gopher_quality", "min_word_length"].documents == 1
    assert found["gopher_quality", "min_word_length"].kept_at(None) == (0, 0)

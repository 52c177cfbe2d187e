"""The stage: same seed, same bytes; killed and called again, the same bytes and nothing done twice."""

import hashlib
import re
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

import puna.world.village as village
from puna.base.errors import ConfigError
from puna.base.output import Inputs, StageOutput
from puna.world.settings import WorldConfig
from tests.world.conftest import SEED, SMALL, World, write_world


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_gives_the_same_bytes_and_another_seed_gives_others(world: World, tmp_path: Path) -> None:
    first, again = digests(world.folder), digests(write_world(tmp_path / "again").folder)
    assert first == again
    other = digests(write_world(tmp_path / "other", seed=SEED + 1).folder)
    assert set(other) == set(first)
    assert not [name for name in first if first[name] == other[name]]


def test_the_files_are_those_of_the_contract(world: World) -> None:
    names = set(digests(world.folder))
    tasks = ("village-choice", "village-word", "village-hard")
    assert names == {
        *(f"crawl/village-{i:02d}.warc.gz" for i in range(SMALL.num_files)),
        *(f"exams/{prefix}{task}.jsonl" for task in tasks for prefix in ("", "dev-")),
        *("truth.jsonl", "exam-truth.jsonl", "training-items.jsonl", "dialogs/train.jsonl"),
        *("dialogs/preferences.jsonl", "dialogs/prompts.jsonl", "dialogs/prompts-heldout.jsonl"),
    }


def test_pages_beside_the_crawl_change_nothing_in_it_and_are_copied_nowhere(world: World, tmp_path: Path) -> None:
    beside = World(write_world(tmp_path, config=SMALL.model_copy(update={"heldout_chars": 40_000})).folder)
    assert {**digests(beside.folder), **digests(world.folder)} == digests(beside.folder)
    kinds = ("arithmetic", "article", "story", "question", "spanish", "chinese", "code")
    assert set(digests(beside.folder)) - set(digests(world.folder)) == {f"heldout/{kind}.warc.gz" for kind in kinds}
    pages = [page for kind in kinds for page in pages_of(beside.folder / f"heldout/{kind}.warc.gz")]
    assert 40_000 < sum(map(len, pages)) < 400_000  # markup included
    crawl = [grams(body) for _, _, _, body in beside.records()]
    for page in pages:
        mine = grams(page)
        assert mine and max(len(mine & other) / len(mine | other) for other in crawl) < 0.5


def pages_of(path: Path) -> list[bytes]:
    with open(path, "rb") as file:
        return [record.reader.read() for record in ArchiveIterator(file, record_types=WarcRecordType.response)]


def grams(body: bytes) -> set[tuple[str, ...]]:
    """5-grams of the words of the paragraphs, Chinese characters as words."""
    text = " ".join(re.findall(r"<(?:p|pre)[^>]*>(.*?)</(?:p|pre)>", body.decode("utf-8", "replace"), re.DOTALL))
    words = re.findall(r"[\u3400-\u9fff]|[a-z0-9áéíóúñ]+", re.sub(r"<[^>]*>", " ", text).lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def test_a_killed_run_keeps_what_is_done(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    real = village.write_warc

    def dying(path: Path, pages: list, seed: int) -> None:
        written.append(path.name)
        if len(written) == 2:
            raise KeyboardInterrupt
        real(path, pages, seed)

    monkeypatch.setattr(village, "write_warc", dying)
    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path)
    done = {path: path.stat().st_ino for path in (tmp_path / "files").rglob("*") if path.is_file()}
    assert 5 < len(done) < len(digests(world.folder))
    resumed = write_world(tmp_path)
    assert {path: path.stat().st_ino for path in done} == done
    assert digests(resumed.folder) == digests(world.folder)
    assert len(written) == SMALL.num_files + 1  # only the file that was being written is written again


def test_metrics_count_what_is_in_the_files(tmp_path: Path) -> None:
    out = StageOutput(tmp_path, seed=SEED)
    village.run(SMALL, Inputs({}), out)
    truth = World(out.path).rows("truth.jsonl")
    assert out.metrics["pages"] == len(truth)
    assert out.metrics["clean_chars"] == sum(len(row["text"]) for row in truth if row["keep"])


def test_settings_that_ask_for_too_much_are_refused() -> None:
    with pytest.raises(ConfigError, match="ask for fewer"):
        village.Village(SMALL.model_copy(update={"num_exam_items": 10_000}), 0).exams  # noqa: B018
    with pytest.raises(ValueError, match="kinds among"):
        WorldConfig(page_shares={"poem": 1.0})
    with pytest.raises(ValueError, match="1, 2, 3 and 4 steps"):
        WorldConfig(step_shares={5: 1.0})
    with pytest.raises(ValueError, match="1, 2, 3 and 4 steps"):
        WorldConfig(dialog_step_shares={})
    with pytest.raises(ValueError, match="kinds among"):
        WorldConfig(prompt_shares={"word": 1.0})
    with pytest.raises(ConfigError, match="no new choice question"):
        village.Village(SMALL.model_copy(update={"num_prompts": 9_000, "prompt_shares": {"choice": 1.0}}), 0).prompts  # noqa: B018
    for few in ((), ("gain", "gain")):
        with pytest.raises(ValueError, match="each named once"):
            WorldConfig(operations=few)
    with pytest.raises(ValueError, match='"price" beside "change"'):
        WorldConfig(operations=("gain", "change"))
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        WorldConfig(operand_split=1)
    with pytest.raises(ConfigError, match="allow more operations"):
        village.Village(SMALL.model_copy(update={"operations": ("double",)}), 0).corpus  # noqa: B018

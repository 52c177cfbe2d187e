"""Unusual words: the divergence by scipy, what is expected of a length by drawing; the stage, why and sweep."""

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom, entropy

from puna.base.files import write_json
from puna.curate.clean import CurateConfig
from puna.curate.outliers import COUNTS_FILE, Corpus, Outliers, count, expected_divergence, pack, score
from puna.curate.sweep import sweep
from puna.curate.why import tell
from puna.curate.words import Words
from tests.curate.pages import curate, files_of, html_page, sentences, write_warc

BUCKETS = 1 << 18
LOW = Outliers(max_kl=2.0, min_corpus_words=1)


def corpus_of(texts: list[str], language: str = "en") -> Corpus:
    corpus = Corpus()
    for text in texts:
        corpus.add(language, pack(Words(text)))
    return corpus


def divergence(corpus: Corpus, text: str, is_counted: bool) -> float:
    """Without what is expected of the length."""
    parts = corpus.unusual("en", text, is_counted, most=BUCKETS)
    return sum(nats for _, _, nats in parts)


def test_divergence_is_that_of_scipy_over_the_words_of_the_others() -> None:
    texts = ["the mill sees the river", "the river follows the baker", "zebra zebra of the river"]
    corpus = corpus_of(texts)
    mine, others = Counter(texts[2].split()), Counter(" ".join(texts[:2]).split())
    names = sorted(mine | others)
    rest = [others[name] + 0.1 for name in names] + [0.1] * (BUCKETS - len(names))
    expected = entropy([mine[name] for name in names] + [0] * (BUCKETS - len(names)), rest)
    terms = {word: nats for word, _, nats in corpus.unusual("en", texts[2], is_counted=True, most=99)}
    share = {word: mine[word] / 5 for word in mine}
    total = sum(rest)
    for word in ("zebra", "of"):
        assert terms[word] == pytest.approx(share[word] * math.log(share[word] / ((others[word] + 0.1) / total)))
    length = np.interp(np.log(5), np.log(2.0 ** np.arange(24)), expected_divergence(corpus._counts["en"]))
    assert corpus.excess("en", pack(Words(texts[2]))) == pytest.approx(expected - length, rel=1e-9)
    assert next(iter(terms)) == "zebra"


@pytest.mark.parametrize("power", [4, 8, 11])
def test_what_is_expected_of_a_length_is_what_drawing_gives(power: int) -> None:
    """Shuffled words of the corpus cut into texts, each against the rest."""
    draw = np.random.default_rng(1)
    counts = np.zeros(5000, np.int64)
    counts[:2000] = (10_000 / np.arange(1, 2001)).astype(np.int64)  # Zipf
    words, found = np.repeat(np.arange(5000), counts), []
    for _ in range(8):
        places = draw.permutation(words)[: len(words) // 2**power * 2**power].reshape(-1, 2**power)
        for text in places[:120]:
            mine = np.bincount(text, minlength=5000)
            found.append(entropy(mine, counts - mine + 0.1))
    assert expected_divergence(counts)[power] == pytest.approx(np.mean(found), rel=0.02)


def test_frequent_words_add_what_the_binomial_says() -> None:
    """Means above and below the limit of the series."""
    counts = np.array([9000, 2500, 900, 100, 7, 1])
    total, length, smooth = counts.sum(), 1024, 0.1 * len(counts)
    expected = 0.0
    for number in counts.tolist():
        taken = np.arange(1, min(number, length) + 1)
        rest = (number - taken + 0.1) / (total - length + smooth)
        chance = binom.pmf(taken, number, length / total)
        expected += float((chance * taken / length * np.log(taken / length / rest)).sum())
    assert expected_divergence(counts)[10] == pytest.approx(expected, abs=2e-5)


def test_length_alone_is_no_outlier() -> None:
    """Of words drawn from one distribution, short texts have far larger divergences, but no excess."""
    draw = random.Random(3)
    words = [f"w{i}" for i in range(3000)]
    weights = [1 / (i + 1) for i in range(3000)]
    texts = [" ".join(draw.choices(words, weights, k=2 ** draw.randint(5, 11))) for _ in range(300)]
    corpus = corpus_of(texts)
    short = [text for text in texts if len(text.split()) <= 64]
    long = [text for text in texts if len(text.split()) >= 1024]
    raw = [np.mean([divergence(corpus, text, True) for text in group]) for group in (short, long)]
    excess = [np.mean([corpus.excess("en", pack(Words(text))) for text in group]) for group in (short, long)]
    assert raw[0] > raw[1] + 1.5
    assert abs(excess[0]) < 0.15 and abs(excess[1]) < 0.15


def test_own_words_are_no_witness() -> None:
    texts = [sentences(i, 20) for i in range(30)]
    junk = " ".join(f"qx{i}zz" for i in range(400))
    once, often = corpus_of([*texts, junk]), corpus_of(texts)
    assert once.excess("en", pack(Words(junk))) == pytest.approx(
        often.excess("en", pack(Words(junk)), is_counted=False), abs=0.3
    )
    assert once.excess("en", pack(Words(junk)), is_counted=False) < once.excess("en", pack(Words(junk))) - 0.3


def test_parts_in_any_order_and_number_count_the_same(tmp_path: Path) -> None:
    texts = [sentences(i, 1 + i % 5) for i in range(40)] + ["", "..."]
    alive = np.array([i % 3 > 0 for i in range(len(texts))])

    def part(name: str, rows: list[int]) -> Path:
        packed = [pack(Words(texts[i])) if alive[i] else b"" for i in rows]
        langs = ["es" if i % 4 == 0 else "en" for i in rows]
        pq.write_table(pa.table({"lang": langs, "word_counts": pa.array(packed, pa.binary())}), tmp_path / name)
        return tmp_path / name

    whole = part("whole", list(range(len(texts))))
    pieces = [list(range(30, len(texts))), list(range(0, 7)), list(range(7, 30))]
    together = count(whole, alive)
    merged = Corpus()
    for number, rows in enumerate(pieces):
        merged.merge(count(part(str(number), rows), alive[rows]))
    together.save(tmp_path / "a")
    merged.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    scores = score(whole, alive, together, LOW)
    again = np.zeros(len(texts))
    for number, rows in enumerate(pieces):
        again[rows] = score(tmp_path / str(number), alive[rows], Corpus.load(tmp_path / "b"), LOW)
    assert scores.tolist() == again.tolist() and (scores != 0).sum() >= 20 and not scores[~alive].any()


def test_a_language_of_few_words_is_not_judged() -> None:
    corpus = corpus_of(["the mill sees the river"] * 9)
    assert corpus.check("en", "zebra", Outliers(max_kl=0.1, min_corpus_words=46), is_counted=False) is None
    assert corpus.check("es", "zebra", Outliers(max_kl=0.1, min_corpus_words=1), is_counted=False) is None
    assert corpus.check("en", "zebra", Outliers(min_corpus_words=1), is_counted=False) is None  # off
    check = corpus.check("en", "zebra", Outliers(max_kl=0.1, min_corpus_words=45), is_counted=False)
    assert check is not None and check.failed and check.reason == "unusual words"


JUNK = " ".join(f"the zorp{i} of the blah{i} and that is" for i in random.Random(1).choices(range(900), k=80))
KEYWORDS = " ".join(f"the cheap replica of {i} watches and that is" for i in ["this", "those", "other"] * 20)
SETTINGS = {
    "rules": ["encoding"],
    "languages": [],
    "near_duplicates": False,
    "heldout_min": 0,
    "heldout_fraction": 0.0,
    "outliers": {"max_kl": 1.0, "min_corpus_words": 1000},
}


def stage(folder: Path, names: list[str], max_kl: float = 1.0, workers: int = 1) -> Path:
    """A curate stage over 60 good pages, junk, keyword spam and two copies of it, in the order of `names`."""
    pages = {f"good-{i}": sentences(i, 12) for i in range(60)} | {"junk": JUNK, "keywords": KEYWORDS}
    pages |= {f"copy-{i}": KEYWORDS for i in range(2)}
    folder.mkdir()
    write_warc(folder / "c.warc.gz", [(f"https://x.org/{name}", html_page(pages[name], "")) for name in names])
    settings = {**SETTINGS, "outliers": {"max_kl": max_kl, "min_corpus_words": 1000}}
    out = curate([folder / "c.warc.gz"], folder / "work", workers=workers, **settings)
    values = CurateConfig.model_validate({"shards": 2, **settings}).model_dump(mode="json")
    write_json(out.path / "manifest.json", {"config": values})
    return out.path


NAMES = [*(f"good-{i}" for i in range(60)), "junk", "keywords", "copy-0", "copy-1"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage(tmp_path_factory.mktemp("outliers") / "run", NAMES)


def rules(folder: Path) -> dict[str, str]:
    rows = [row for path in folder.glob("rejects/*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["url"].rpartition("/")[2]: row["rule"] for row in rows}


def test_the_stage_drops_what_is_unusual_and_says_so(done: Path) -> None:
    found = rules(done)
    unusual = {name: rule for name, rule in found.items() if rule.startswith("outliers:unusual words (")}
    copies = {"keywords", "copy-0", "copy-1"}
    assert {name for name in unusual if name not in copies} == {"junk"}
    assert len(unusual.keys() & copies) == 1  # copies go before, and have no vote
    assert {found[name] for name in copies - unusual.keys()} == {"exact:duplicate"}
    report = (done / "report.json").read_text()
    assert '"no unusual words"' in report and '"outliers:unusual words": 2' in report


def test_no_order_and_no_number_of_workers_changes_a_byte(done: Path, tmp_path: Path) -> None:
    shuffled = random.Random(5).sample(NAMES, len(NAMES))
    other = stage(tmp_path / "run", shuffled, workers=2)
    before, after = (
        {n: d for n, d in files_of(f.parent).items() if n.endswith(".parquet") and "rejects" not in n}
        for f in (done, other)
    )
    assert COUNTS_FILE in before and before.keys() == after.keys()
    assert before[COUNTS_FILE] == after[COUNTS_FILE]
    texts = [
        sorted((r["url"], r["text"]) for p in f.glob("documents-*.parquet") for r in pq.read_table(p).to_pylist())
        for f in (done, other)
    ]
    assert texts[0] == texts[1] and {u: r for u, r in rules(done).items() if "copy" not in u and u != "keywords"} == {
        u: r for u, r in rules(other).items() if "copy" not in u and u != "keywords"
    }


def test_why_shows_the_value_it_was_dropped_for_and_its_words(done: Path) -> None:
    story = tell(done, "https://x.org/junk")
    (check,) = [check for rule, check in story.checks if rule == "outliers"]
    assert check.failed and check.setting == "max_kl" and f"({check.value:.2f} nats a word)" in story.rule
    assert {"zorp", "blah"} & {word.rstrip("0123456789") for word, _, _ in story.unusual}
    assert story.unusual == sorted(story.unusual, key=lambda one: -one[2]) and story.unusual[-1][2] > 0
    good = tell(done, "https://x.org/good-3")
    (check,) = [check for rule, check in good.checks if rule == "outliers"]
    assert good.fate == "kept" and not check.failed


def test_a_sweep_keeps_what_a_run_with_the_threshold_would(done: Path, tmp_path: Path) -> None:
    (one,) = [one for one in sweep(done) if one.rule == "outliers"]
    assert (one.setting, one.limit, one.documents) == ("max_kl", 1.0, 2)
    values = sorted(value for value, _ in one.values)
    between = (values[0] + values[1]) / 2 - 1
    assert (one.kept_at(between)[0], one.kept_at(None)[0]) == (1, 2)
    relaxed = rules(stage(tmp_path / "run", NAMES, max_kl=1 + between))
    assert sum(rule.startswith("outliers:") for rule in relaxed.values()) == 1


def test_without_the_setting_nothing_is_counted(tmp_path: Path) -> None:
    folder = stage(tmp_path / "run", NAMES, max_kl=0.0)
    assert not (folder / COUNTS_FILE).exists()
    assert not any(rule.startswith("outliers:") for rule in rules(folder).values())
    assert "no unusual words" not in (folder / "report.json").read_text()
    assert tell(folder, "https://x.org/junk").unusual == []

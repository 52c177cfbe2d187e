"""Telling languages apart: against log probabilities written out, on real sentences, and in front of curate."""

import gzip
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from puna.base.errors import ArtifactError, DataError
from puna.base.output import Inputs, StageOutput
from puna.curate.language.iso639 import two_letters
from puna.curate.language.model import LanguageModel, LanguagesConfig, f1_scores, run
from tests.curate.pages import curate, html_page, write_warc

ENGLISH = ["The miller sleeps in the old house", "There are two sheep on the road", "Who has the bread of the baker"]
GERMAN = ["Der Müller schläft im alten Haus", "Es sind zwei Schafe auf der Straße", "Wer hat das Brot des Bäckers"]

DIALECTS = {"arz": "ar", "arq": "ar", "wuu": "zh", "yue": "zh"}


def sentences(path: Path) -> Path:
    rows = [("eng", text) for text in ENGLISH] + [("deu", text) for text in GERMAN]
    path.write_text("lang\ttext\n" + "".join(f"{code}\t{text}\n" for code, text in rows), encoding="utf-8")
    return path


def trained(folder: Path, path: Path, **config: object) -> StageOutput:
    out = StageOutput(folder, seed=1)
    run(LanguagesConfig.model_validate(config), Inputs({"sentences": path}), out)
    return out


def grams(text: str) -> list[str]:
    """All n-grams of up to three characters that begin or end at a space or hold none, but not the space alone."""
    spaced = f" {text.lower()} "
    found = []
    for first in range(len(spaced)):
        for last in range(first, min(len(spaced), first + 3)):
            if spaced[last] == " " and last == first:
                continue
            found.append(spaced[first : last + 1])
            if spaced[last] == " ":
                break
    return found


def test_weights_are_smoothed_log_shares() -> None:
    config = LanguagesConfig(ngram=3, buckets=20, smoothing=0.5)
    model = LanguageModel.train([("en", "a bad cab"), ("de", "da da")], config)
    assert model.codes == ("de", "en")
    counts = {"en": Counter(grams("a bad cab")), "de": Counter(grams("da da"))}
    for text in ("bad", "da", "cab a", "da bad"):
        by_hand = {
            name: sum(math.log(own[gram] / own.total() + 0.5e-5) for gram in grams(text))
            for name, own in counts.items()
        }
        assert model.identify(text) == max(by_hand, key=lambda name: by_hand[name]), text
    assert model.identify("") == model.identify("12 ...") == "unknown"


def test_real_sentences(tmp_path: Path, shared_data: Path) -> None:
    real = shared_data / "text-tatoeba/tatoeba.tsv.gz"
    out = trained(tmp_path / "run", real, columns={"english": "en"})
    assert out.metrics["languages"] == 113
    assert out.metrics["macro_f1"] > 0.9 > out.metrics["macro_f1_without"]
    again = trained(tmp_path / "again", real, columns={"english": "en"})
    assert again.records() == out.records()
    model = LanguageModel.load(out.path)
    right = []
    for path in sorted((shared_data / "text-xquad").glob("xquad.*.json.gz")):  # paragraphs, of other writers
        articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
        told = [model.identify(one["context"]) for article in articles for one in article["paragraphs"]]
        right += [DIALECTS.get(code, code) == path.name.split(".")[1] for code in told]
    assert np.mean(right) > 0.98, np.mean(right)


def test_the_stage_tells_curate_the_language(tmp_path: Path) -> None:
    model = trained(tmp_path / "languages", sentences(tmp_path / "a.tsv"), heldout=0.01).path
    assert {"heldout": 2, "sentences": 4}.items() <= trained(tmp_path / "x", tmp_path / "a.tsv").metrics.items()
    pages = {"english": ". ".join(ENGLISH), "german": ". ".join(GERMAN)}
    write_warc(tmp_path / "crawl.warc.gz", [(f"https://x.org/{name}", html_page(text)) for name, text in pages.items()])
    settings = {"languages": ["en"], "rules": [], "heldout_fraction": 0, "heldout_min": 0, "languages_model": model}
    for workers in (1, 2):
        out = curate([tmp_path / "crawl.warc.gz"], tmp_path / f"run{workers}", workers, **settings)
        (row,) = [one for path in out.path.glob("rejects/*.parquet") for one in pq.read_table(path).to_pylist()]
        assert (row["rule"], row["url"]) == ("language:de", "https://x.org/german")


def test_a_column_of_one_language_and_at_most_so_many_sentences(tmp_path: Path) -> None:
    rows = [f"deu\t{text}\t{other}\n" for text, other in zip(GERMAN, ENGLISH, strict=True)]
    (tmp_path / "a.tsv").write_text("lang\ttext\tenglish\n" + "".join(rows), encoding="utf-8")
    out = trained(tmp_path / "run", tmp_path / "a.tsv", columns={"english": "en"}, max_sentences=2)
    assert {"languages": 2, "sentences": 2, "heldout": 2}.items() <= out.metrics.items()


def test_sentences_as_json_lines(tmp_path: Path) -> None:
    rows = [{"lang": "en", "text": text} for text in ENGLISH] + [{"lang": "de", "text": text} for text in GERMAN]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_lines = LanguageModel.load(trained(tmp_path / "one", tmp_path / "a.jsonl").path)
    by_tabs = LanguageModel.load(trained(tmp_path / "two", sentences(tmp_path / "a.tsv")).path)
    assert by_lines.codes == by_tabs.codes == ("de", "en") and (by_lines.weights == by_tabs.weights).all()


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("lang\ttext\neng\ta\neng\tb\n")
    with pytest.raises(DataError, match="expected sentences of at least two languages, came 1"):
        trained(tmp_path / "a", tmp_path / "one.tsv")
    (tmp_path / "other.tsv").write_text("code\ttext\neng\ta\n")
    with pytest.raises(DataError, match="row 1: expected texts in lang, text, came"):
        trained(tmp_path / "b", tmp_path / "other.tsv")
    for content in (b"no archive", b"", b"PK\x03\x04 cut off"):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(ArtifactError, match="expected a model of languages at"):
            LanguageModel.load(tmp_path / "broken.npz")


def test_f1_of_each_language() -> None:
    assert f1_scores(["a", "a", "b", "b"], ["a", "b", "b", "b"]) == {"a": pytest.approx(2 / 3), "b": pytest.approx(0.8)}
    assert np.mean(list(f1_scores(["a"], ["c"]).values())) == 0


def test_codes() -> None:
    assert [two_letters(code) for code in ("deu", "ENG", "en", "cmn", "ang")] == ["de", "en", "en", "zh", "ang"]

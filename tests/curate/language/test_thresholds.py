"""Settings by language: what a document of the language is measured by, and thresholds carried over from English."""

import json
import statistics
from pathlib import Path

import pytest
import yaml

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_documents
from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.language.thresholds import ThresholdsConfig, fit, run
from puna.curate.read.records import Record
from tests.curate.pages import curate, sentences

# A made language: English with every word three times as long.
ENGLISH = [sentences(i, 8) for i in range(40)]
LONG = [" ".join(word * 3 for word in text.split()) for text in ENGLISH]
QUALITY = {"rules": ("gopher_quality",), "min_documents": 20}


def settings(**values: object) -> CurateConfig:
    return CurateConfig.model_validate({"rules": ["gopher_quality"], "languages": [], **values})


def test_a_document_is_measured_by_the_settings_of_its_language() -> None:
    strict = {"gopher_quality": {"min_words": 500}}
    cleaner = Cleaner(settings(by_language={"es": strict, "zh": {"rules": []}}))
    english = cleaner.clean(Record("s", "1", "text", ENGLISH[0]))
    spanish = "La panadera de la villa vende el pan a los niños y a las mujeres que no lo tienen en su casa. " * 9
    chinese = "这里的面包很好吃。"
    assert (english.lang, english.rule) == ("en", "")
    assert cleaner.clean(Record("s", "2", "text", spanish)).rule == "gopher_quality:too few words"
    assert Cleaner(settings()).clean(Record("s", "2", "text", spanish)).rule == ""
    assert cleaner.clean(Record("s", "3", "text", chinese)).rule == ""
    assert Cleaner(settings()).clean(Record("s", "3", "text", chinese)).rule == "gopher_quality:too few words"
    (check, *_) = [check for _, check in cleaner.checks(ENGLISH[0], "es")]
    assert check.failed and check.least == 500


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"es": {"gopher_quality": {"min_wordz": 3}}}, "min_wordz"),
        ({"es": {"shards": {"x": 3}}}, "by_language.es: expected settings of rules"),
        ({"es": {"rules": ["c4"]}}, "or some of `rules`"),
        ({"es": {"gopher_quality": 3}}, "came gopher_quality: 3"),
    ],
)
def test_what_no_rule_knows_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(CurateConfig, {"rules": ["gopher_quality"], "by_language": changed}, "curate")


def test_thresholds_are_carried_by_the_ratio_of_medians() -> None:
    fitted = fit({"en": ENGLISH, "long": LONG}, ThresholdsConfig.model_validate(QUALITY))
    quality = fitted["long"]["gopher_quality"]
    lengths = {
        name: [check.value for text in texts for _, check in Cleaner(settings()).checks(text, "xx")
               if check.setting == "max_word_length"]
        for name, texts in (("en", ENGLISH), ("long", LONG))
    }  # fmt: skip
    ratio = statistics.median(lengths["long"]) / statistics.median(lengths["en"])
    assert 2.5 < ratio < 3.5
    assert quality["max_word_length"] == pytest.approx(10 * ratio, rel=1e-3)
    assert quality["min_word_length"] == 3.0  # three times as strict would be stricter than English's own
    assert "min_words" not in quality
    assert {"thethethe", "isisis", "andandand"} <= set(quality["stop_words"])


def test_thresholds_are_carried_by_standard_deviations() -> None:
    fitted = fit({"en": ENGLISH, "long": LONG}, ThresholdsConfig.model_validate({**QUALITY, "method": "mean_std"}))
    values = {}
    for name, texts in (("en", ENGLISH), ("long", LONG)):
        checks = [check for text in texts for _, check in Cleaner(settings()).checks(text, "xx")]
        values[name] = [check.value for check in checks if check.setting == "max_word_length"]
    away = (10 - statistics.fmean(values["en"])) / statistics.pstdev(values["en"])
    expected = statistics.fmean(values["long"]) + away * statistics.pstdev(values["long"])
    assert fitted["long"]["gopher_quality"]["max_word_length"] == pytest.approx(expected, rel=1e-3)


def test_a_script_without_common_words_is_asked_for_none() -> None:
    unique = [" ".join(f"w{i}x{j}" for j in range(60)) for i in range(30)]
    fitted = fit({"en": ENGLISH, "xx": unique}, ThresholdsConfig.model_validate(QUALITY))
    assert fitted["xx"]["gopher_quality"]["min_stop_words"] == 0
    assert "stop_words" not in fitted["xx"]["gopher_quality"]


def test_the_stage_and_curation_by_it(tmp_path: Path) -> None:
    rows = [{"text": text, "lang": lang} for lang, texts in (("en", ENGLISH), ("de", LONG)) for text in texts]
    (tmp_path / "reference.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = StageOutput(tmp_path / "fitted")
    run(ThresholdsConfig.model_validate(QUALITY), Inputs({"reference": tmp_path / "reference.jsonl"}), out)
    written = yaml.safe_load((out.path / "thresholds.yaml").read_text())["by_language"]
    assert list(written) == ["de"] and out.metrics == {"languages": 1, "documents": 80}
    german = "Die Bäckerei der kleinen Stadt verkauft das Brot an alle Kinder und Frauen, die es nicht haben. " * 9
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "german.txt").write_text(german)
    (tmp_path / "pages" / "english.txt").write_text(ENGLISH[0])
    config = {"languages": [], "rules": ["gopher_quality"], "heldout_min": 0, "heldout_fraction": 0}

    def kept(name: str, **more: object) -> set[str]:
        made = curate([tmp_path / "pages"], tmp_path / name, **config, **more)
        return {document.lang for document in read_documents(made.path)}

    assert kept("plain") == {"de", "en"}
    assert kept("fitted-one", thresholds=out.path) == {"en"}  # German has none of the made language's stop words
    own = {"de": {"gopher_quality": {"min_words": 5}}}
    assert kept("own", thresholds=out.path, by_language=own) == {"de", "en"}


def test_too_little_reference_is_refused_in_one_line(tmp_path: Path) -> None:
    config = ThresholdsConfig.model_validate(QUALITY)
    with pytest.raises(DataError, match="expected at least 20 reference documents in en, came 3"):
        fit({"en": ENGLISH[:3], "xx": LONG}, config)
    with pytest.raises(DataError, match=r"expected a language with 20 reference documents, came en \(40\), xx \(3\)"):
        fit({"en": ENGLISH, "xx": LONG[:3]}, config)
    (tmp_path / "bad.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(DataError, match='bad.jsonl:1: expected strings "text" and "lang"'):
        run(config, Inputs({"reference": tmp_path / "bad.jsonl"}), StageOutput(tmp_path / "out"))

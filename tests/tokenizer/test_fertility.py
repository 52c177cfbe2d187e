import xml.etree.ElementTree

import pytest

from puna.base.errors import ArtifactError, DataError, InputError
from puna.tokenizer.fertility import Encoder, measure_fertility, open_encoder, open_encoders
from puna.tokenizer.plot import fertility_svg
from puna.tokenizer.samples import Sample, read_samples

SAMPLES = [
    Sample("zh", "b", "村里村里"),
    Sample("en", "a", "a mill"),
    Sample("en", "a", "one"),
    Sample("zh", "a", "村é"),
]
ENCODERS = [Encoder("bytes", lambda text: list(text.encode())), Encoder("halves", lambda text: list(text[::2]))]


def test_sums_and_ratios_by_language_and_domain():
    rows = [row.to_json() for row in measure_fertility(ENCODERS, SAMPLES)]
    assert [(row["language"], row["domain"], row["chars"], row["bytes"], row["tokens"]) for row in rows] == [
        ("en", "a", 9, 9, {"bytes": 9, "halves": 5}),
        ("zh", "a", 2, 5, {"bytes": 5, "halves": 1}),
        ("zh", "b", 4, 12, {"bytes": 12, "halves": 2}),
        ("all", "all", 15, 26, {"bytes": 26, "halves": 8}),
    ]
    assert rows[2]["chars_per_token"] == {"bytes": 4 / 12, "halves": 2.0}
    assert rows[2]["bytes_per_token"] == {"bytes": 1.0, "halves": 6.0}


def test_a_limit_of_bytes_cuts_no_character():
    rows = measure_fertility(ENCODERS, SAMPLES, max_bytes=7)
    assert [(row.chars, row.bytes) for row in rows] == [(7, 7), (2, 5), (2, 6), (11, 18)]
    with pytest.raises(DataError, match="expected text to measure on, came none"):
        measure_fertility(ENCODERS, [Sample("en", "a", "")])


def test_the_chart_has_a_bar_for_every_number():
    rows = measure_fertility([*ENCODERS, Encoder("<&>", list)], SAMPLES)
    chart = xml.etree.ElementTree.fromstring(fertility_svg(rows))
    space = "{http://www.w3.org/2000/svg}"
    texts = [one.text for one in chart.iter(f"{space}text")]
    assert texts[1:4] == ["bytes", "halves", "<&>"]
    assert texts[4:8] == ["en  a", "1.00", "1.80", "1.00"]
    widths = [float(one.get("width")) for one in chart.iter(f"{space}rect")][4:]  # after the paper and the legend
    assert len(widths) == 12
    assert widths[1] / widths[0] == pytest.approx(1.8, abs=0.01)


def test_tokenizers_of_all_kinds_are_opened(tokenizer, shared_data, tmp_path):
    tokenizer.save(tmp_path / "ours")
    llama = shared_data / "tokenizer-llama"
    ours, three, four = open_encoders([tmp_path / "ours", llama / "llama3", llama / "llama4" / "tokenizer.model"])
    assert [one.name for one in (ours, three, four)] == ["ours", "llama3", "llama4"]
    assert ours.encode("the mill") == tokenizer.encode("the mill")
    # Llama 4 keeps a word with its 's; Llama 3 cuts there.
    assert (len(three.encode("it's")), len(four.encode("it's"))) == (2, 1)
    same = open_encoders([tmp_path / "ours", tmp_path / "ours" / "tokenizer.model"])
    assert same[0].name != same[1].name


def test_llama_2_is_read_by_sentencepiece(shared_data, monkeypatch):
    path = shared_data / "tokenizer-llama" / "llama2"
    with monkeypatch.context() as context:
        context.setitem(__import__("sys").modules, "sentencepiece", None)
        with pytest.raises(
            InputError, match="expected the package sentencepiece to read .*; pip install sentencepiece"
        ):
            open_encoder(path)
    pytest.importorskip("sentencepiece", reason="the optional package sentencepiece is not installed")
    encode = open_encoder(path).encode
    inputs = (path.parent / "vectors" / "llama-spm.inp.txt").read_text().split("\n__ggml_vocab_test__\n")
    outputs = (path.parent / "vectors" / "llama-spm.out.txt").read_text().splitlines()
    equal = [encode(text) == [int(one) for one in row.split()] for text, row in zip(inputs, outputs)]
    assert sum(equal) >= len(outputs) - 1


def test_what_is_no_tokenizer_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="expected a tokenizer at .*, found none"):
        open_encoder(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x05nothing")
    pytest.importorskip("sentencepiece", reason="the optional package sentencepiece is not installed")
    with pytest.raises(ArtifactError, match="expected a rank file or a SentencePiece model, came neither"):
        open_encoder(tmp_path)


def test_llama_3_holds_more_text_a_token_than_llama_2s_paper_says(shared_data):
    """The paper's 3.94 characters a token in English, on other text: real English lies near it, Chinese far below."""
    data = [f"en={shared_data / 'text-c4-en'}", f"zh={shared_data / 'text-zh-wikipedia'}"]
    rows = measure_fertility([open_encoder(shared_data / "tokenizer-llama" / "llama3")], read_samples(data), 200_000)
    ratios = {row.language: row.chars_per_token("llama3") for row in rows}
    assert 3.9 < ratios["en"] < 5.0 and 0.9 < ratios["zh"] < 1.4

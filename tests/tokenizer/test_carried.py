import json

import pytest

from puna.base.errors import ArtifactError
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from puna.tokenizer.carried import CarriedTokenizer
from puna.tokenizer.template import chat_template


def make(pattern):
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b" ab": 257}
    return Tokenizer(ranks, special_ids(258, 12), pattern)


@pytest.mark.parametrize(("digits", "pre"), [(3, "llama-bpe"), (1, "qwen2")])
def test_a_gguf_file_keeps_the_tokenizer_whether_our_entry_is_there_or_not(tmp_path, digits, pre):
    one = make(split_pattern(digits))
    metadata = CarriedTokenizer(one, {}).to_metadata()
    assert metadata["tokenizer.ggml.pre"] == pre
    assert metadata["tokenizer.ggml.tokens"][255:259] == ["ÿ", "ab", "Ġab", "<|begin_of_text|>"]
    assert metadata["tokenizer.ggml.merges"] == ["a b", "Ġ ab"]
    for left_out in ("nothing", "puna.tokenizer.pattern"):
        kept = {key: value for key, value in metadata.items() if key != left_out}
        back = CarriedTokenizer.from_metadata(kept, tmp_path)
        assert back.tokenizer.fingerprint == one.fingerprint and back.vocab_size == 270


def test_a_pattern_that_llama_cpp_has_no_name_for_is_refused():
    with pytest.raises(ArtifactError, match="expected Llama 3's split pattern with pieces of 3 digits or 1"):
        CarriedTokenizer(make(r"\p{N}|\P{N}+"), {}).to_metadata()


def test_files_of_a_folder_are_carried_as_they_came(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    make(split_pattern(3)).save(tmp_path / "a")
    described = json.loads((tmp_path / "a/tokenizer_config.json").read_text())
    described |= {"eos_token": {"content": "<|eot_id|>"}, "chat_template": "theirs"}
    (tmp_path / "a/tokenizer_config.json").write_text(json.dumps(described))
    (tmp_path / "a/tokenizer.model").unlink()  # made anew, as Meta's layout needs it
    carried = CarriedTokenizer.from_folder(tmp_path / "a")
    carried.save(tmp_path / "b")
    assert json.loads((tmp_path / "b/tokenizer_config.json").read_text()) == described
    assert (tmp_path / "b/tokenizer.model").is_file()
    metadata = carried.to_metadata()
    assert (metadata["tokenizer.chat_template"], metadata["tokenizer.ggml.eos_token_id"]) == ("theirs", 267)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, chat_template()),
        ([{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}], "yes"),
    ],
)
def test_the_chat_template_is_ours_only_where_the_folder_has_none(tmp_path, found, expected):
    make(split_pattern(3)).save(tmp_path)
    described = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"chat_template": found}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(described))
    assert CarriedTokenizer.from_folder(tmp_path).to_metadata()["tokenizer.chat_template"] == expected
    (tmp_path / "chat_template.jinja").write_text("a file of its own")
    assert CarriedTokenizer.from_folder(tmp_path).to_metadata()["tokenizer.chat_template"] == "a file of its own"


def test_a_folder_without_a_tokenizer_has_none(tmp_path):
    assert CarriedTokenizer.from_folder(tmp_path) is None

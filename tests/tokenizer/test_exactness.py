"""Ids against tiktoken, put together here from Meta's file, and transformers, from the files that we write."""

import csv
import gzip
import json
import lzma

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe

SLICE = 20_000  # characters of each file
META_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def meta(shared_data):
    """tiktoken with Meta's ranks and pattern, as in their own code."""
    ranks = load_tiktoken_bpe(str(shared_data / "tokenizer-llama" / "llama3" / "tokenizer.model"))
    return tiktoken.Encoding("llama3", pat_str=META_PATTERN, mergeable_ranks=ranks, special_tokens={})


def of_transformers(reference, texts):
    return reference(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def _texts(folder):
    """Slices of all files of a folder of texts, by file and language."""
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".gz", ".xz"):
            continue
        with (gzip.open if path.suffix == ".gz" else lzma.open)(path, "rt") as file:
            kind = path.with_suffix("").suffix
            if kind == ".json":
                yield file.read(SLICE)  # JSON as such, with its escapes and quotes
            elif kind == ".jsonl":
                yield "\n".join(json.loads(line)["text"] for line, _ in zip(file, range(30)))[:SLICE]
            elif kind == ".tsv":
                by_language = {}
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                    by_language.setdefault(row["lang"], []).append(row["text"])
                yield from ("\n".join(rows[:20]) for rows in by_language.values())
            else:
                yield file.read(SLICE)


FOLDERS = ["books-en", "c4-en", "tatoeba", "tinyshakespeare", "tinystories", "wikipedia-en", "wikitext2", "xquad",
           "zh-classics", "zh-wikipedia"]  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_real_text_in_all_languages(llama3, llama3_reference, meta, shared_data, folder):
    texts = list(_texts(shared_data / f"text-{folder}"))
    expected = meta.encode_ordinary_batch(texts, num_threads=1)
    assert llama3.encode_batch(texts) == expected == of_transformers(llama3_reference, texts)
    assert [llama3.decode(ids) for ids in expected] == texts
    assert len(texts) >= (100 if folder == "tatoeba" else 1)


def test_the_published_vectors_in_transformers(llama3, llama3_reference, shared_data):
    vectors = shared_data / "tokenizer-llama" / "vectors"
    outputs = [[int(one) for one in row.split()] for row in (vectors / "llama-bpe.out.txt").read_text().splitlines()]
    inputs = (vectors / "llama-bpe.inp.txt").read_text().split("\n__ggml_vocab_test__\n")[: len(outputs)]
    assert [llama3.encode(text) for text in inputs] == outputs
    assert of_transformers(llama3_reference, inputs) == outputs


PARTS = [
    "🦙", "👩‍👩‍👧‍👦", "🇧🇴", "👍🏽", "é", "e\u0301", "a\u0300\u0316\u0323", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "שלום", "مرحبا", "\u202eabc\u202c", "नमस्ते", "ไทย", "한국어", "村里", "ǅ", "ß", "ſ", "\u212a", "İ",
    "\u200b", "\ufeff", "\u00a0", "\u3000", "\u2028", "\x00", "\x1c", "\x85", "\ufffd", "\U0010ffff",
    "'S", "'ll", "’s", "1234567", "٣٤٥٦", "Ⅷ", "½", " ", "  ", "\t", "\n", "\r\n", "...", "https://",
    "<|eot_id|>", "<|begin_of_text|>", "<|reserved_special_token_3|>", "<|eot_id", "|>",
    "<|python_tag|><|eom_id|>", "\n\n\n", "x", "The", "def f():\n    ",
]  # fmt: skip
repeated = st.tuples(st.sampled_from(PARTS), st.integers(1, 400)).map(lambda pair: pair[0] * pair[1])
adversarial = st.lists(st.sampled_from(PARTS) | repeated | st.text(max_size=12), max_size=8).map("".join)
adversarial = adversarial.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))


@settings(max_examples=300)
@given(text=adversarial)
def test_adversarial_strings(llama3, llama3_reference, meta, text):
    expected = meta.encode_ordinary(text)
    assert llama3.encode(text) == expected == of_transformers(llama3_reference, [text])[0]
    assert llama3.encode_bytes(text.encode()) == expected
    assert llama3.decode(expected) == text
    assert not set(expected) & set(llama3.special.values())


@given(
    data=st.binary(max_size=60)
    | st.lists(st.sampled_from([b"\xff", b"\xe6", b"\x9d", "村".encode(), b"a b"])).map(b"".join)
)
def test_any_bytes_come_back(llama3, data):
    ids = llama3.encode_bytes(data)
    assert llama3.decode_bytes(ids) == data
    valid = data.decode("utf-8", errors="ignore")
    if valid.encode() == data:
        assert ids == llama3.encode(valid)


def test_bytes_of_no_character_are_tokens_of_their_own(llama3):
    ids = llama3.encode_bytes(b"the mill\xff\xe6\x9d the mill")
    assert [llama3.decode_bytes([token]) for token in ids] == [
        b"the",
        b" mill",
        b"\xff",
        b"\xe6",
        b"\x9d",
        b" the",
        b" mill",
    ]

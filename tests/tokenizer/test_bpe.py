import itertools

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.errors import ArtifactError
from puna.tokenizer import Tokenizer, huggingface
from puna.tokenizer.bpe import special_ids, split_pattern

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.lists(
    st.sampled_from(
        [*"aeiou 019'\n\r\t.!-=é村面🦙", "it's", "  ", "the", "mill", "\n\n", "<|eot_id|>", "1234", "ſ", "\u0301"]
    ),
    max_size=40,
).map("".join)


def by_rank(tokenizer, text):
    """The definition, slowly: cut into pieces, then join the leftmost pair of the lowest rank until none is left."""
    ids = []
    for piece in regex.findall(tokenizer.pattern, text):
        parts = [bytes([byte]) for byte in piece.encode()]
        while True:
            ranked = [(tokenizer.ranks.get(a + b, 1 << 30), at) for at, (a, b) in enumerate(itertools.pairwise(parts))]
            rank, at = min(ranked, default=(1 << 30, 0))
            if rank == 1 << 30:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        # ignore_merges and tiktoken take a piece that is a token whole, whether or not joining would reach it.
        whole = tokenizer.ranks.get(piece.encode())
        ids += [tokenizer.ranks[part] for part in parts] if whole is None else [whole]
    return ids


@pytest.fixture(scope="module")
def fast(tokenizer):
    return _without_special(tokenizer)


def _without_special(tokenizer):
    """The Hugging Face pipeline without its special tokens, since those it would find in plain text."""
    pipeline = huggingface.fast_tokenizer(tokenizer.ranks, tokenizer.special, tokenizer.pattern)
    pipeline.encode_special_tokens = True
    return pipeline


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_tiktoken_tokenizers_and_the_definition_agree(tokenizer, fast, text):
    expected = by_rank(tokenizer, text)
    assert tokenizer.encode(text) == expected
    assert fast.encode(text, add_special_tokens=False).ids == expected
    assert tokenizer.decode(expected) == text


def test_runs_of_two_letters_are_encoded_alike_by_rank_and_by_merges():
    """Every word of up to 12 letters over an alphabet of two, where tokens overlap most."""
    tokens = [b"aa", b"ab", b"aab", b"aaaa", b"ba", b"aba", b"bab", b"aaa", b"abab", b"ababa", b"bb", b"abb", b"bbb"]
    ranks = {bytes([byte]): byte for byte in range(256)} | {token: 256 + at for at, token in enumerate(tokens)}
    tokenizer = Tokenizer(ranks, special_ids(len(ranks), 11), split_pattern())
    pipeline = _without_special(tokenizer)
    words = ["".join(word) for size in range(1, 13) for word in itertools.product("ab", repeat=size)]
    assert tokenizer.encode_batch(words) == [ids.ids for ids in pipeline.encode_batch(words, add_special_tokens=False)]


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_digits_are_grouped_as_asked(digits):
    assert (
        regex.findall(split_pattern(digits), "x12345")
        == {
            1: ["x", "1", "2", "3", "4", "5"],
            2: ["x", "12", "34", "5"],
            3: ["x", "123", "45"],
        }[digits]
    )


def test_batches_and_threads_change_nothing(tokenizer):
    texts = [f"the mill {n} vende pan\n" * (n % 7) for n in range(50)]
    expected = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts) == expected == tokenizer.encode_batch(texts, threads=2)


def test_endless_white_space_is_encoded(tokenizer):
    text = "a" + " " * 2_000_000 + "b\n" + "\n" * 250_000 + "the mill" * 20_000
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode_batch([text, "the"], threads=2) == [ids, tokenizer.encode("the")]


def test_text_becomes_a_special_token_only_by_permission(tokenizer):
    text = "a<|eot_id|>b<|begin_of_text|>"
    assert not set(tokenizer.encode(text)) & set(tokenizer.special.values())
    assert tokenizer.decode(tokenizer.encode(text)) == text
    allowed = tokenizer.encode(text, allowed_special={"<|eot_id|>"})
    assert allowed.count(tokenizer.eot_id) == 1
    assert tokenizer.bos_id not in allowed
    both = tokenizer.encode(text, allowed_special="all")
    assert both == [*tokenizer.encode("a"), tokenizer.eot_id, *tokenizer.encode("b"), tokenizer.bos_id]


def test_bos_and_eos_surround_the_text(tokenizer):
    assert tokenizer.encode("mill", bos=True, eos=True) == [
        tokenizer.bos_id,
        *tokenizer.encode("mill"),
        tokenizer.eos_id,
    ]


def test_decoding(tokenizer):
    ids = [*tokenizer.encode("the 面 mill", bos=True), tokenizer.eot_id]
    assert tokenizer.decode(ids) == "<|begin_of_text|>the 面 mill<|eot_id|>"
    assert tokenizer.decode(ids, skip_special=True) == "the 面 mill"
    assert tokenizer.decode([tokenizer.ranks[b"\xe9"]]) == "\ufffd"
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=f"below {tokenizer.vocab_size}, came {wrong}"):
            tokenizer.decode([wrong])


def test_saving_and_loading_gives_the_same_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.fingerprint, loaded.vocab_size) == (tokenizer.fingerprint, 600)
    assert loaded.files() == tokenizer.files()
    (tmp_path / "tokenizer.model").unlink()  # a Hugging Face folder need not have it
    assert Tokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint


def test_a_fingerprint_tells_tokenizers_apart(tokenizer):
    other = Tokenizer(tokenizer.ranks, tokenizer.special, split_pattern(3))
    assert other.fingerprint != tokenizer.fingerprint


def test_damaged_folders_are_refused(tokenizer, tmp_path):
    with pytest.raises(ArtifactError, match=r"expected tokenizer\.model or tokenizer\.json in"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    model = tmp_path / "tokenizer.model"
    lines = model.read_bytes().splitlines(keepends=True)
    model.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(ArtifactError, match="to hold the same tokens"):
        Tokenizer.load(tmp_path)
    model.write_bytes(b"".join([*lines[:5], b"what is this\n", *lines[6:]]))
    with pytest.raises(ArtifactError, match=r"tokenizer\.model:6: expected a base64 token"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    model.write_bytes(b"".join(lines[1:]))
    with pytest.raises(ArtifactError, match="all 256 bytes"):
        Tokenizer.load(tmp_path)


def test_the_published_llama_3_tokenizer_gives_the_published_ids(shared_data):
    folder = shared_data / "tokenizer-llama"
    llama3 = Tokenizer.load(folder / "llama3")
    inputs = (folder / "vectors" / "llama-bpe.inp.txt").read_text().split("\n__ggml_vocab_test__\n")
    outputs = (folder / "vectors" / "llama-bpe.out.txt").read_text().splitlines()
    assert len(outputs) == 46
    assert [llama3.encode(text) for text in inputs[: len(outputs)]] == [
        [int(i) for i in row.split()] for row in outputs
    ]
    assert llama3.vocab_size == 128_256
    # ids from Meta's Llama 3.1 folder
    assert (llama3.bos_id, llama3.eos_id, llama3.pad_id, llama3.eot_id) == (128_000, 128_001, 128_004, 128_009)
    assert llama3.special["<|python_tag|>"] == 128_010
    assert llama3.special["<|start_header_id|>"] == 128_006
    assert llama3.special["<|reserved_special_token_247|>"] == 128_255

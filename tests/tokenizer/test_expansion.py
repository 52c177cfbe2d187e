import functools
import gzip
import itertools
import json
import unicodedata
from collections import Counter

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ArtifactError, ConfigError, DataError
from puna.base.records import read_jsonl
from puna.tokenizer import Tokenizer, huggingface
from puna.tokenizer.expansion import expand

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def is_han(char):
    """By Unicode's names, not by the expression under test."""
    return (
        unicodedata.name(char, "").startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "CJK RADICAL", "KANGXI"))
        or char in "々〇〡〢〣〤〥〦〧〨〩〸〹〺〻"
    )


@pytest.fixture(scope="module")
def paragraphs(shared_data):
    return [row["text"] for row in read_jsonl(shared_data / "text-zh-wikipedia" / "paragraphs.jsonl.gz")]


@pytest.fixture(scope="module")
def small(tokenizer, paragraphs):
    """Our small tokenizer, which has hardly any Chinese, with 150 tokens of it."""
    return expand(tokenizer, paragraphs[:30], 150)


@pytest.fixture(scope="module")
def large(llama3, paragraphs):
    """Llama 3's with 300."""
    return expand(llama3, paragraphs[:150], 300)


def without_han(text):
    return "".join(char for char in text if not is_han(char))


@given(text=any_text)
def test_text_without_the_new_letters_keeps_its_ids(tokenizer, small, llama3, large, text):
    text = without_han(text)
    assert small.tokenizer.encode(text) == tokenizer.encode(text)
    assert large.tokenizer.encode(text) == llama3.encode(text)


# The first bytes of Chinese letters, of their neighbours, and of what looks like them.
near = st.text("、。〇〆ゝー・「」䷀䷿㈠㍻\ua000ꀀ가あアㄅ⺀⼀，！ａ\u3000 abé", max_size=30)


@given(text=near)
def test_neighbours_of_the_new_letters_keep_their_ids(tokenizer, small, llama3, large, text):
    text = without_han(text)
    assert small.tokenizer.encode(text) == tokenizer.encode(text)
    assert large.tokenizer.encode(text) == llama3.encode(text)


def test_real_text_of_other_languages_keeps_its_ids(llama3, large, shared_data):
    for path in sorted((shared_data / "text-xquad").glob("*.json.gz")):
        if ".zh." not in path.name:
            articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
            texts = [
                without_han(paragraph["context"]) for article in articles[:4] for paragraph in article["paragraphs"]
            ]
            assert large.tokenizer.encode_batch(texts) == llama3.encode_batch(texts)


def test_fertility_falls_on_chinese_not_seen(llama3, large, tokenizer, small, paragraphs):
    def tokens(one):
        return sum(map(len, one.encode_batch(paragraphs[200:300])))

    assert tokens(large.tokenizer) < 0.98 * tokens(llama3)
    assert tokens(small.tokenizer) < 0.75 * tokens(tokenizer)


@pytest.mark.parametrize("which", ["small", "large"])
def test_old_tokens_stay_special_tokens_move_and_new_ones_are_their_pieces(request, tokenizer, llama3, which):
    grown, old = request.getfixturevalue(which), {"small": tokenizer, "large": llama3}[which]
    new, num_new = grown.tokenizer, len(grown.rows) - old.vocab_size
    assert grown.scripts == ("Han",)
    assert new.vocab_size == len(grown.rows) == old.vocab_size + {"small": 150, "large": 300}[which]
    assert {token: new.ranks[token] for token in old.ranks} == old.ranks
    assert new.special == {name: number + num_new for name, number in old.special.items()}
    for name, number in new.special.items():
        assert grown.rows[number] == [old.special[name]]
    for token, rank in new.ranks.items():
        assert old.decode_bytes(grown.rows[rank]) == token
        assert len(grown.rows[rank]) == 1 if token in old.ranks else len(grown.rows[rank]) > 1


def test_each_new_token_is_among_the_commonest_pairs_of_the_encoding_so_far(tokenizer, paragraphs):
    """The definition, slowly: encode anew with the tokens so far, count the pairs that may be joined, take the most."""
    texts = paragraphs[:2]
    grown = expand(tokenizer, texts, 10).tokenizer
    new = sorted(set(grown.ranks) - set(tokenizer.ranks), key=grown.ranks.get)
    pieces = Counter(
        piece for text in texts for piece in regex.findall(tokenizer.pattern, text) if any(map(is_han, piece))
    )
    for number, token in enumerate(new):
        ranks = tokenizer.ranks | {one: len(tokenizer.ranks) + at for at, one in enumerate(new[:number])}
        special = {name: at + number for name, at in tokenizer.special.items()}
        so_far = Tokenizer(ranks, special, tokenizer.pattern)
        names = {rank: one for one, rank in ranks.items()}
        pairs = Counter()
        for piece, count in pieces.items():
            for pair in itertools.pairwise(so_far.encode(piece)):
                pairs[pair] += count
        unions = {}
        for (left, right), count in pairs.items():
            union = names[left] + names[right]
            if any(map(is_han, union.decode(errors="ignore"))) or _begins_han(union):
                unions[union] = max(unions.get(union, 0), count)
        assert unions[token] == max(unions.values())


def _begins_han(token):
    """Whether the token ends with the first bytes of three that can only be a Chinese letter."""
    heads = [token[-size:] for size in (1, 2) if size <= len(token) and token[-size] >= 0xE0]
    return any(map(_only_han, heads))


@functools.cache
def _only_han(head):
    ends = itertools.product(range(128, 192), repeat=3 - len(head))
    return all(map(is_han, filter(None, ((head + bytes(end)).decode(errors="ignore") for end in ends))))


def test_transformers_encodes_with_the_new_tokens_as_we_do(small, paragraphs):
    fast = huggingface.fast_tokenizer(small.tokenizer.ranks, small.tokenizer.special, small.tokenizer.pattern)
    texts = [*paragraphs[60:100], "the mill 村里 mill"]
    assert [one.ids for one in fast.encode_batch(texts, add_special_tokens=False)] == small.tokenizer.encode_batch(
        texts
    )


def test_scripts_are_those_of_the_text_or_those_asked_for(tokenizer):
    russian = "мельница стоит у реки, мельник поёт mill " * 20
    assert expand(tokenizer, [russian], 5).scripts == ("Cyrillic",)
    mixed = expand(tokenizer, ["日本語のテキスト、日本語のテスト。" * 9], 5)
    assert set(mixed.scripts) == {"Han", "Hiragana", "Katakana"}
    asked = expand(tokenizer, [russian + "村里村里村里村里"], 2, scripts=["Han"])
    assert asked.scripts == ("Han",)
    assert asked.tokenizer.encode(russian) == tokenizer.encode(russian)


def test_a_latin_language_leaves_ascii_alone(tokenizer, texts):
    grown = expand(tokenizer, ["el señor mañana también año niño " * 30, "perro gato " * 90], 5)
    assert grown.scripts == ("Latin",)
    for text in texts:
        text = text.encode("ascii", errors="ignore").decode()
        assert grown.tokenizer.encode(text) == tokenizer.encode(text)


def test_what_cannot_be_expanded_is_refused(tokenizer):
    with pytest.raises(DataError, match=r"text enough for 99 new tokens of Han, came enough for \d; give more"):
        expand(tokenizer, ["村里村里"], 99)
    with pytest.raises(DataError, match="letters of a script of Unicode, came none"):
        expand(tokenizer, ["1 2 3 !"], 9)
    with pytest.raises(ConfigError, match="scripts: expected names of Latin, .*came 'han'"):
        expand(tokenizer, ["村里村里"], 1, scripts=["han"])
    wrong = Tokenizer({**tokenizer.ranks, b"zqzq": 600}, tokenizer.special, tokenizer.pattern)
    with pytest.raises(ArtifactError, match="special tokens follow its ranks"):
        expand(wrong, ["村里村里"], 1)

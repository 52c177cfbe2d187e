"""The trainer against the `tokenizers` library's: the same tokens in the same order, ties included."""

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, trainers

from puna.tokenizer.bpe import split_pattern
from puna.tokenizer.count import count_pieces
from puna.tokenizer.huggingface import byte_spelling, pieces
from puna.tokenizer.merge import train_merges

SPELLING = byte_spelling()
FIRST_IDS = [sorted(SPELLING.values()).index(SPELLING[byte]) for byte in range(256)]


def ours(texts: Sequence[str], num_tokens: int, digits: int = 3, threads: int = 1) -> list[bytes]:
    return train_merges(count_pieces(texts, digits, threads), FIRST_IDS, num_tokens)


def theirs(texts: Sequence[str], num_tokens: int, digits: int = 3) -> list[bytes]:
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pieces(split_pattern(digits))
    alphabet = list(SPELLING.values())
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens, initial_alphabet=alphabet, special_tokens=[], show_progress=False
    )
    fast.train_from_iterator(texts, trainer)
    byte_of = {char: byte for byte, char in SPELLING.items()}
    vocabulary = fast.get_vocab()
    return [bytes(byte_of[char] for char in name) for name in sorted(vocabulary, key=vocabulary.__getitem__)]


@settings(max_examples=200)
@given(st.lists(st.text("aab b", max_size=40), max_size=8), st.integers(257, 300))
def test_repeats_and_ties_are_joined_as_by_the_library(texts: list[str], num_tokens: int) -> None:
    assert ours(texts, num_tokens) == theirs(texts, num_tokens)


@pytest.mark.parametrize("digits", [1, 3])
def test_english_gives_the_library_s_tokens(shakespeare: str, digits: int) -> None:
    texts = shakespeare.split("\n\n")
    assert ours(texts, 3000, digits, threads=2) == theirs(texts, 3000, digits)


def test_chinese_and_mixed_texts_give_the_library_s_tokens(shakespeare: str, shared_data: Path) -> None:
    with gzip.open(shared_data / "text-zh-wikipedia" / "paragraphs.jsonl.gz", "rt", encoding="utf-8") as file:
        chinese = [json.loads(line)["text"] for line in file][:300]
    texts = chinese + shakespeare.split("\n\n")[:2000]
    expected = theirs(texts, 6000)
    assert ours(texts, 6000, threads=2) == expected
    random.Random(0).shuffle(texts)
    assert ours(texts, 6000) == expected


def test_it_ends_where_no_pair_is_left() -> None:
    tokens = ours(["abab cd"], 999)
    assert tokens[256:] == theirs(["abab cd"], 999)[256:] and tokens[-1] in (b"abab", b" cd")


def test_progress_is_told(shakespeare: str) -> None:
    told: list[tuple[int, int]] = []
    train_merges(count_pieces([shakespeare[:200_000]]), FIRST_IDS, 2000, lambda *step: told.append(step))
    assert told == [(512, 2000), (1024, 2000), (1536, 2000)]

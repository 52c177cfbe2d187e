"""What text a loss is of: bytes a token counted by hand, and distances between texts."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.pretrain.loader import IGNORED, Batch
from puna.pretrain.text import Text
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"th": 256, b"the": 257, b" a": 258}
TOKENIZER = Tokenizer(RANKS, special_ids(len(RANKS), 16), split_pattern())


def batch_of(targets: list[int]) -> Batch:
    row = torch.tensor([targets])
    return Batch(row.clamp(min=0), row, torch.zeros_like(row), torch.zeros_like(row))


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_bytes_a_token_and_shares_are_those_of_the_text_that_is_told(texts: list[str]) -> None:
    batches = [batch_of([*TOKENIZER.encode(text), TOKENIZER.eos_id, IGNORED, IGNORED]) for text in texts]
    made = Text.of(batches, TOKENIZER)
    data = "".join(texts).encode()
    assert made.bytes_per_token == pytest.approx(
        len(data) / sum(len(TOKENIZER.encode(text)) + 1 for text in texts), abs=1e-12
    )
    for byte, count in Counter(data).items():
        assert made.byte_shares[byte] == pytest.approx(count / len(data), abs=1e-5)
    assert Text.from_dict(made.to_dict()) == made


def test_texts_are_as_far_apart_as_their_bytes() -> None:
    made = {text: Text.of([batch_of(TOKENIZER.encode(text))], TOKENIZER) for text in ("aabb", "abab", "aaab", "cc")}
    assert made["aabb"].distance(made["abab"]) == 0
    assert made["aabb"].distance(made["aaab"]) == pytest.approx(0.25)
    assert made["aabb"].distance(made["cc"]) == made["cc"].distance(made["aabb"]) == 1

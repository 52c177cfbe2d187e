"""Pages of plain sentences and a tokenizer of single bytes: a token is a character, so places count in text."""

import numpy as np
import pytest

from puna.needle.plant import Haystack
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern


class MadePages:
    """Pages of sentences of 20 characters, begin and end included."""

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        texts = ["".join(f"Page {i:03} says so {j:02}. " for j in range(i % 7 + 1)) for i in range(count)]
        self._ids = [np.array(tokenizer.encode(text, bos=True, eos=True), np.uint16) for text in texts]

    def __len__(self) -> int:
        return len(self._ids)

    def document(self, number: int) -> np.ndarray:
        return self._ids[number]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    ranks = {bytes([byte]): byte for byte in range(256)}
    return Tokenizer(ranks, special_ids(len(ranks), 16), split_pattern(1))


@pytest.fixture(scope="session")
def haystack(tokenizer: Tokenizer) -> Haystack:
    return Haystack([MadePages(tokenizer, 30), MadePages(tokenizer, 5)], tokenizer)

"""A byte tokenizer with a few joined words, and a small model whose next tokens are not all alike."""

import pytest
import torch

from puna.engine import Engine
from puna.model import Llama, LlamaConfig
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern

JOINED = (b"th", b"the", b" a", b"an", b"st", b"op", b"op!", b"\n\n")


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {word: 256 + i for i, word in enumerate(JOINED)}
    return Tokenizer(ranks, special_ids(len(ranks), 16), split_pattern())


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Llama:
    config = LlamaConfig(
        dim=48, layers=2, heads=4, kv_heads=2, ffn_dim=96, vocab_size=tokenizer.vocab_size, max_position=96
    )
    model = Llama(config, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= 6  # as drawn, the logits are nearly flat; larger weights make a model with opinions
    return model


@pytest.fixture
def engine(model: Llama, tokenizer: Tokenizer) -> Engine:
    return Engine(model, tokenizer, max_batch=5)

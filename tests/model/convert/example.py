"""A small model with its tokenizer, as a folder to convert."""

from pathlib import Path
from typing import Any

import torch

from puna.model import Llama, LlamaConfig, save_model
from puna.model.config import LLAMA31_ROPE_SCALING
from puna.model.convert.checkpoint import Checkpoint
from puna.model.convert.layout import Converted, Target, convert, open_checkpoint
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from puna.tokenizer.carried import CarriedTokenizer

SIZES = {"dim": 64, "layers": 2, "heads": 4, "kv_heads": 2, "ffn_dim": 96, "max_position": 256}
SCALING = dict(LLAMA31_ROPE_SCALING)


def tokenizer(digits: int = 1) -> Tokenizer:
    """All bytes, two merges and 14 special tokens: 272."""
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257}
    return Tokenizer(ranks, special_ids(258, 14), split_pattern(digits))


def model(dtype: torch.dtype = torch.float32, **sizes: Any) -> Llama:
    """Weights large enough that a wrong permutation shows in the logits; norms other than 1."""
    made = Llama(LlamaConfig(**{**SIZES, "vocab_size": 272, "tied": False, **sizes}))
    made.initialise(5, std=0.15)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return made.to(dtype)


def folder(path: Path, dtype: torch.dtype = torch.float32, digits: int = 1, **sizes: Any) -> Path:
    """The model as a Hugging Face folder."""
    save_model(model(dtype, **sizes), tokenizer(digits), path)
    return path


def tokenizer_of(checkpoint: Checkpoint) -> CarriedTokenizer | None:
    """As the command line finds it."""
    if checkpoint.metadata:
        return CarriedTokenizer.from_metadata(checkpoint.metadata, checkpoint.source)
    return CarriedTokenizer.from_folder(checkpoint.source)


def converted(source: Path, target: Path, to: str, **options: Any) -> Converted:
    """`puna convert SOURCE TARGET --to TO`."""
    checkpoint = open_checkpoint(source)
    return convert(checkpoint, tokenizer_of(checkpoint), target, Target(to, **options))


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(0, 272, shape, generator=torch.Generator().manual_seed(1))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def same_files(first: Path, second: Path) -> None:
    """Both folders hold the same names and bytes."""
    assert sorted(path.name for path in first.iterdir()) == sorted(path.name for path in second.iterdir())
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name

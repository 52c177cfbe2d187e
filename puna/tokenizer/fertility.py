"""How much text a token holds: characters and bytes a token by language and domain, tokenizers side by side.

Fertility is tokens a character (or a word); its inverse, characters a token, is what a context window and a budget of
training tokens are worth. Llama 3's larger vocabulary took English from 3.17 (Llama 2's) to 3.94 characters a token
(Llama 3 paper, section 3.2).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puna.base.errors import ArtifactError, DataError, InputError
from puna.tokenizer.bpe import MODEL_FILE, Tokenizer, read_ranks, special_ids
from puna.tokenizer.huggingface import JSON_FILE
from puna.tokenizer.samples import Sample
from puna.tokenizer.special import LLAMA3_NUM_SPECIAL

ALL = "all"
_LLAMA4_RANKS = 200_000
# Llama 4 cuts words where capitals begin; the same expression as GPT-4o's.
_LLAMA4_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass
class Encoder:
    """A tokenizer of any kind, as far as counting its tokens needs."""

    name: str
    encode: Callable[[str], Sequence[int]]


@dataclass
class Fertility:
    """Sums over the texts of one language and domain; tokens by the name of the encoder."""

    language: str
    domain: str
    chars: int = 0
    bytes: int = 0
    tokens: dict[str, int] = field(default_factory=dict)

    def add(self, text: str, tokens: dict[str, int]) -> None:
        """Count one more text."""
        self.chars += len(text)
        self.bytes += len(text.encode())
        for name, count in tokens.items():
            self.tokens[name] = self.tokens.get(name, 0) + count

    def chars_per_token(self, name: str) -> float:
        """Characters (code points) a token."""
        return self.chars / max(self.tokens[name], 1)

    def bytes_per_token(self, name: str) -> float:
        """UTF-8 bytes a token."""
        return self.bytes / max(self.tokens[name], 1)

    def to_json(self) -> dict[str, Any]:
        """Sums and ratios as plain values."""
        return {
            "language": self.language,
            "domain": self.domain,
            "chars": self.chars,
            "bytes": self.bytes,
            "tokens": self.tokens,
            "chars_per_token": {name: self.chars_per_token(name) for name in self.tokens},
            "bytes_per_token": {name: self.bytes_per_token(name) for name in self.tokens},
        }


def measure_fertility(
    encoders: Sequence[Encoder], samples: Iterable[Sample], max_bytes: int | None = None
) -> list[Fertility]:
    """One row a language and domain, sorted, and last the sum of all; at most `max_bytes` of text a row.

    Raises DataError if there is no text.
    """
    rows: dict[tuple[str, str], Fertility] = {}
    total = Fertility(ALL, ALL)
    for language, domain, text in samples:
        row = rows.setdefault((language, domain), Fertility(language, domain))
        if max_bytes is not None:
            text = text.encode()[: max(0, max_bytes - row.bytes)].decode(errors="ignore")
        if text:
            tokens = {encoder.name: len(encoder.encode(text)) for encoder in encoders}
            row.add(text, tokens)
            total.add(text, tokens)
    if not total.chars:
        raise DataError("expected text to measure on, came none")
    return [*(rows[key] for key in sorted(rows) if rows[key].chars), total]


def open_encoder(path: Path) -> Encoder:
    """A tokenizer folder or file: ours, Hugging Face's, the rank files of Llama 3 and 4, Llama 2's SentencePiece model.

    Raises ArtifactError if it is none, InputError if it needs the package sentencepiece and that is not installed.
    """
    model = path / MODEL_FILE if path.is_dir() else path
    name = path.name if path.is_dir() or path.name != MODEL_FILE else path.parent.name
    if (path / JSON_FILE).is_file():
        return Encoder(name, Tokenizer.load(path).encode)
    if not model.is_file():
        raise ArtifactError(f"expected a tokenizer at {path} ({MODEL_FILE} or {JSON_FILE}), found none")
    with open(model, "rb") as file:
        is_rank_file = re.match(rb"[A-Za-z0-9+/=]+ \d+\r?\n", file.readline(4096))
    if not is_rank_file:
        return Encoder(name, _sentencepiece(model))
    ranks = read_ranks(model)
    if len(ranks) == _LLAMA4_RANKS:
        return Encoder(name, Tokenizer(ranks, special_ids(len(ranks), LLAMA3_NUM_SPECIAL), _LLAMA4_PATTERN).encode)
    return Encoder(name, Tokenizer.load(model).encode)


def open_encoders(paths: Sequence[Path]) -> list[Encoder]:
    """The same for several, under names that differ."""
    encoders = [open_encoder(path) for path in paths]
    names = [encoder.name for encoder in encoders]
    for encoder, path in zip(encoders, paths):
        if names.count(encoder.name) > 1:
            encoder.name = str(path)
    return encoders


def _sentencepiece(path: Path) -> Callable[[str], Sequence[int]]:
    try:
        import sentencepiece
    except ImportError:
        raise InputError(
            f"expected the package sentencepiece to read {path}, found none; pip install sentencepiece"
        ) from None
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path)).encode  # type: ignore[no-any-return]
    except (RuntimeError, OSError):
        raise ArtifactError(f"{path}: expected a rank file or a SentencePiece model, came neither") from None

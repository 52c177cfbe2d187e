"""The gate of a length: short text is read as well as before, and needles are found at every depth (Llama 3, 3.4.2).

Short text: held-out rows of the length that the model was pretrained with, in bits a byte against the model before it
was extended. Needles: made tests in held-out pages, which no training text shares a fact with (`puna/needle`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from torch import nn

from puna.base.config import Config
from puna.base.errors import DataError
from puna.model import Llama
from puna.needle.find import Cell, cells, greedy_answers, is_found
from puna.needle.plant import Haystack, NeedleConfig, needle_items
from puna.pretrain.loader import Batch, Loader
from puna.pretrain.loop import mean_loss
from puna.pretrain.loss import LossConfig
from puna.pretrain.mix.corpus import Corpus
from puna.pretrain.mix.sequences import CorpusSequences
from puna.pretrain.objective import dense_loss
from puna.pretrain.run import drawn
from puna.pretrain.text import Text
from puna.tokenizer import Tokenizer

_SEED = 1  # of the gate's needles; evaluations take 0, so that no model is chosen by the tests that it is shown with
_SHORT_BATCH = 8


class GateConfig(Config):
    """short_tolerance: by how much bits a byte of short text may be above those of the model before, as a share.

    needle_accuracy: share of needles found at each depth of each length, `per_depth` of them at each of `depths`.
    needles: the facts of these tests; none: as those of the rows that are learned. short_rows: held-out rows of
    `short_tokens` (0: as many as the model has positions).
    """

    short_tolerance: float = Field(default=0.01, ge=0)
    needle_accuracy: float = Field(default=1.0, ge=0, le=1)
    depths: tuple[float, ...] = Field(default=(0.0, 0.25, 0.5, 0.75, 1.0), min_length=1)
    per_depth: int = Field(default=8, ge=1)
    needles: NeedleConfig | None = None
    short_rows: int = Field(default=64, ge=1)
    short_tokens: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Judgement:
    """short_change: of bits a byte of short text, as a share of those before. cells: needles by length and depth."""

    short_bits: float
    short_change: float
    cells: list[Cell]
    passed: bool
    why: str

    @classmethod
    def of(cls, config: GateConfig, bits_before: float, bits: float, cells: list[Cell]) -> "Judgement":
        """What the gate says of these measures; `why` it stays shut, "" if it opens."""
        change, reasons = bits / bits_before - 1, list[str]()
        if not change <= config.short_tolerance:  # so that no number at all does not pass
            reasons.append(f"short text takes {change:+.2%} bits a byte, {config.short_tolerance:+.2%} allowed")
        missed = [cell for cell in cells if cell.share < config.needle_accuracy]
        if missed:
            worst = min(missed, key=lambda cell: cell.share)
            reasons.append(
                f"{worst.found} of {worst.n} needles found at depth {worst.depth:.0%} of {worst.length} tokens, "
                f"{config.needle_accuracy:.0%} wanted"
            )
        return cls(bits, change, cells, not reasons, "; ".join(reasons))

    @property
    def lowest(self) -> float:
        """The share found in the worst cell."""
        return min(cell.share for cell in self.cells)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Judgement":
        """What `asdict` made of one."""
        return cls(**{**values, "cells": [Cell(**cell) for cell in values["cells"]]})


class Gate:
    """Measures of the model before, and of what becomes of it.

    Raises DataError without held-out documents.
    """

    def __init__(
        self, config: GateConfig, needles: NeedleConfig, heldout: Corpus, tokenizer: Tokenizer, before: Llama
    ) -> None:
        if not heldout.shards or not len(heldout.sizes):
            raise DataError("expected held-out tokens for the gate, came none; set curate.heldout_fraction")
        self.config, self.needles, self._tokenizer = config, config.needles or needles, tokenizer
        self.short_tokens = config.short_tokens or before.config.max_position
        self._haystack = Haystack(list(heldout.shards.values()), tokenizer)
        loader = Loader(CorpusSequences(heldout), self.short_tokens, _SHORT_BATCH, 0)
        self._rows: list[Batch] = drawn(loader, config.short_rows, _SHORT_BATCH)
        self._bytes_per_token = Text.of(self._rows, tokenizer).bytes_per_token
        self.bits_before = self._bits(before)

    def validation(self, model: nn.Module) -> float:
        """Nats a token of the short rows."""
        return mean_loss(model, self._rows, dense_loss(LossConfig()))

    def judge(self, model: Llama, lengths: Sequence[int]) -> Judgement:
        """Whether a model may go on to what comes after these lengths; the short one counts too."""
        items = [
            item
            for length in sorted({self.short_tokens, *lengths})
            for item in needle_items(
                self._haystack, self.needles, length, self.config.depths, self.config.per_depth, _SEED
            )
        ]
        answers = greedy_answers(model, items)
        found = [is_found(*pair, self._tokenizer) for pair in zip(items, answers, strict=True)]
        return Judgement.of(self.config, self.bits_before, self._bits(model), cells(items, found))

    def _bits(self, model: nn.Module) -> float:
        return self.validation(model) / math.log(2) / self._bytes_per_token

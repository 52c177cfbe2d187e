"""Rows of one length for long context: pages as they are, long documents, and made ones with needles.

Which row is which depends on the seed and the row's number alone, so that resuming is exact.

B rows, T tokens.
"""

from functools import reduce

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.rng import generator
from puna.needle.plant import Haystack, NeedleConfig, needle_document
from puna.pretrain.loader import Batch, Loader
from puna.pretrain.mix.corpus import Corpus
from puna.pretrain.mix.sequences import CorpusSequences

_PAGES, _LONG, _NEEDLES = range(3)


class RowsConfig(Config):
    """What long rows are. long_share: of the rows, those of documents that fill at least half a row; needles_share:
    those of made documents, with `needles`. The others hold all documents as they are, with the document mask."""

    long_share: float = Field(default=0.0, ge=0, le=1)
    needles_share: float = Field(default=0.0, ge=0, le=1)
    needles: NeedleConfig = Field(default_factory=NeedleConfig)

    @model_validator(mode="after")
    def _shares_fit(self) -> "RowsConfig":
        if self.long_share + self.needles_share > 1:
            raise ValueError("long_share and needles_share of at most 1 together")
        return self


class LongRows:
    """Any row of a length by its number.

    Raises DataError if no document fills half a row and `long_share` asks for such.
    """

    def __init__(
        self, corpus: Corpus, haystack: Haystack, shares: RowsConfig, row_tokens: int, num_rows: int, seed: int
    ) -> None:
        self._haystack, self._needles, self._seed, self.row_tokens = haystack, shares.needles, seed, row_tokens
        self._pages = Loader(CorpusSequences(corpus), row_tokens, 1, seed)
        self._long = _long_loader(corpus, row_tokens, seed) if shares.long_share else None
        self.kinds = _kinds(shares, row_tokens, num_rows, seed)
        # The number of a row among those of its kind.
        self._numbers = np.zeros(num_rows, np.int64)
        for kind in (_PAGES, _LONG, _NEEDLES):
            chosen = self.kinds == kind
            self._numbers[chosen] = np.arange(int(chosen.sum()))

    def learned(self, rows: range) -> Batch:
        """These rows [B, T]."""
        return reduce(Batch.beside, [self._row(int(self.kinds[row]), int(self._numbers[row])) for row in rows])

    def _row(self, kind: int, number: int) -> Batch:
        if kind == _NEEDLES:
            return self._needle_row(number)
        loader = self._long if kind == _LONG else self._pages
        assert loader is not None
        return loader.learned(range(number, number + 1))

    def _needle_row(self, number: int) -> Batch:
        ids = needle_document(self._haystack, self._needles, self.row_tokens + 1, self._seed, self.row_tokens, number)
        row = torch.from_numpy(ids)[None]
        positions = torch.arange(self.row_tokens)[None]
        return Batch(row[:, :-1], row[:, 1:], positions, torch.zeros_like(positions))


def _kinds(shares: RowsConfig, row_tokens: int, num_rows: int, seed: int) -> npt.NDArray[np.int64]:
    """The kind of each row; a longer run begins like a shorter one."""
    drawn = generator(seed, "kinds of rows", row_tokens).random(num_rows)
    return np.select([drawn < shares.needles_share, drawn < shares.needles_share + shares.long_share], [2, 1], 0)


def _long_loader(corpus: Corpus, row_tokens: int, seed: int) -> Loader:
    copies = (2 * corpus.sizes >= row_tokens).astype(np.int64)
    if not copies.any():
        raise DataError(
            f"extend.long_share: expected documents of at least {row_tokens // 2} tokens, the longest has "
            f"{int(corpus.sizes.max(initial=0)) + 1}; bring longer ones, or set long_share to 0 and needles_share"
        )
    sequences = CorpusSequences(corpus, copies)
    return Loader(sequences, row_tokens, 1, seed, parts=sequences.parts)

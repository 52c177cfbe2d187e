"""Batches by one global sample index: batch s is the same whatever was loaded before, so resuming is exact.

Shapes: B rows, T tokens.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from puna.base.errors import DataError
from puna.base.rng import generator
from puna.pretrain.pack import Packing, concatenate, pack, pack_parts

IGNORED = -100
"""Target of a token that is not learned: padding, and what the loss mask leaves out."""


@dataclass(frozen=True)
class Batch:
    """`tokens`, `targets` (IGNORED where nothing is learned), `positions`, `documents`: each [B, T] int64."""

    tokens: Tensor
    targets: Tensor
    positions: Tensor
    documents: Tensor

    @property
    def num_targets(self) -> int:
        """Tokens that are learned."""
        return int((self.targets != IGNORED).sum())

    def beside(self, other: "Batch") -> "Batch":
        """The rows of both; they are equally long."""
        pairs = ((self.tokens, other.tokens), (self.targets, other.targets))
        marks = ((self.positions, other.positions), (self.documents, other.documents))
        return Batch(*(torch.cat(pair) for pair in (*pairs, *marks)))

    def to(self, device: torch.device) -> "Batch":
        """The same on `device`."""
        return Batch(*(one.to(device) for one in (self.tokens, self.targets, self.positions, self.documents)))

    def split(self, rows: int) -> list["Batch"]:
        """Micro-batches of at most `rows` rows."""
        parts = [field.split(rows) for field in (self.tokens, self.targets, self.positions, self.documents)]
        return [Batch(*part) for part in zip(*parts)]


class Sequences(Protocol):
    """What is packed: sequences with, for each transition, the token, and the next token or IGNORED."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]: ...

    def piece(self, index: int, start: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]: ...


class Loader:
    """Packs sequences once, shuffles rows anew every epoch, and gives any batch by its number.

    parts: sizes of parts of the sequences, in their order, that share no row; without it everything may share one.
    is_concatenated: cut wherever a row is full, instead of best-fit. is_masked: documents of a row do not see each
    other; if not, a row is one document to the model.
    """

    def __init__(
        self,
        sequences: Sequences,
        row_tokens: int,
        rows: int,
        seed: int,
        piece_tokens: int = 0,
        parts: list[int] | None = None,
        is_concatenated: bool = False,
        is_masked: bool = True,
    ):
        self.sequences, self.rows, self.seed, self._is_masked = sequences, rows, seed, is_masked
        lengths = sequences.lengths

        def packed(lengths: npt.NDArray[np.int64]) -> Packing:
            return (
                concatenate(lengths, row_tokens, seed) if is_concatenated else pack(lengths, row_tokens, piece_tokens)
            )

        self.packing: Packing = pack_parts(lengths, parts or [len(lengths)], row_tokens, packed)
        if not self.packing.num_rows:
            raise DataError("expected at least one sequence of two tokens to train on, came none")
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    @property
    def epoch_batches(self) -> float:
        """Batches in one pass over the data."""
        return self.packing.num_rows / self.rows

    def batch(self, step: int) -> Batch:
        """Batch number `step` of the run: the samples [step * B, (step + 1) * B) of the endless shuffled stream."""
        return self.learned(range(step * self.rows, (step + 1) * self.rows))

    def learned(self, samples: range) -> Batch:
        """These samples of the run, counted from its beginning."""
        return self.gather([self._row(sample) for sample in samples])

    def gather(self, rows: list[int]) -> Batch:
        """The given rows of the packing as one batch."""
        shape = (len(rows), self.packing.row_tokens)
        tokens, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        # Padding is a document of its own, so that no real token sees it.
        documents, targets = np.full(shape, -1, np.int64), np.full(shape, IGNORED, np.int64)
        packing = self.packing
        for i, row in enumerate(rows):
            at = 0
            for j in range(packing.row_offsets[row], packing.row_offsets[row + 1]):
                size = int(packing.sizes[j])
                span = slice(at, at + size)
                piece = self.sequences.piece(int(packing.documents[j]), int(packing.starts[j]), size)
                tokens[i, span], targets[i, span] = piece
                positions[i, span] = np.arange(size) + (0 if self._is_masked else at)
                documents[i, span] = j - packing.row_offsets[row] if self._is_masked else 0
                at += size
        return Batch(*(torch.from_numpy(field) for field in (tokens, targets, positions, documents)))

    def _row(self, sample: int) -> int:
        epoch, place = divmod(sample, self.packing.num_rows)
        if self._order[0] != epoch:
            self._order = (epoch, generator(self.seed, "epoch", epoch).permutation(self.packing.num_rows))
        return int(self._order[1][place])

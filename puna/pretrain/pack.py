"""Packing: documents into rows of T tokens, best-fit, with as little cutting and padding as can be.

A document of n tokens has n - 1 transitions (token -> next token). Documents with more than T transitions are cut into
full rows and a rest; everything then goes, longest first, into the row with the least room that still holds it
(best-fit decreasing; Ding et al. 2024, arXiv 2404.10830). Attention never crosses documents, positions restart.

The other way, usual elsewhere, is for comparison: documents one after another, cut wherever a row is full.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.rng import generator

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Packing:
    """Rows of pieces. Piece j is transitions `starts[j] : starts[j] + sizes[j]` of document `documents[j]`.

    Row r holds the pieces `row_offsets[r] : row_offsets[r + 1]`.
    """

    row_tokens: int
    documents: Int64
    starts: Int64
    sizes: Int64
    row_offsets: Int64

    @property
    def num_rows(self) -> int:
        """Number of rows of `row_tokens` tokens."""
        return len(self.row_offsets) - 1

    @property
    def fill(self) -> float:
        """Share of the rows' tokens that are not padding."""
        return float(self.sizes.sum() / max(1, self.num_rows * self.row_tokens))

    @property
    def cut_documents(self) -> int:
        """Documents that were longer than the longest piece, and cut."""
        return int((np.bincount(self.documents) > 1).sum()) if len(self.documents) else 0

    @property
    def num_cuts(self) -> int:
        """Places at which a document was cut: there attention and what came before are lost."""
        return len(self.documents) - len(np.unique(self.documents))

    def table(self) -> list[list[str]]:
        """What went into the rows and what it cost, for the report: what, number, share of what it is a part of."""
        num_tokens, learned = self.num_rows * self.row_tokens, int(self.sizes.sum())
        num_documents = len(np.unique(self.documents))
        whole = num_documents - self.cut_documents
        rows = [
            ("rows", self.num_rows, None),
            ("tokens of documents", learned, learned / max(1, num_tokens)),
            ("tokens of padding", num_tokens - learned, 1 - learned / max(1, num_tokens)),
            ("documents", num_documents, None),
            ("documents left whole", whole, whole / max(1, num_documents)),
            ("documents cut", self.cut_documents, self.cut_documents / max(1, num_documents)),
            ("cuts", self.num_cuts, None),
            ("documents a row, mean", round(len(self.documents) / max(1, self.num_rows), 2), None),
        ]
        return [[name, f"{value:,}", "" if share is None else f"{share:.1%}"] for name, value, share in rows]


def pack(lengths: Int64, row_tokens: int, piece_tokens: int = 0) -> Packing:
    """Pack documents of `lengths` tokens (each with its begin and end token) into rows; deterministic.

    Documents of fewer than two tokens have no transition and are left out. piece_tokens: the longest piece of a
    document, if it is to be shorter than a row.
    """
    pieces = _cut(lengths, min(row_tokens, piece_tokens or row_tokens))
    order = sorted(range(len(pieces)), key=lambda j: (-pieces[j][2], j))
    rows = _best_fit([pieces[j][2] for j in order], row_tokens)
    flat = [pieces[order[k]] for row in rows for k in row]
    columns = np.array(flat, dtype=np.int64).reshape(-1, 3)
    offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
    return Packing(row_tokens, columns[:, 0], columns[:, 1], columns[:, 2], offsets)


def concatenate(lengths: Int64, row_tokens: int, seed: int = 0) -> Packing:
    """Documents one after another, in an order drawn from `seed`, cut wherever a row is full; only the last row has
    room left."""
    order = generator(seed, "concatenated").permutation(len(lengths))
    sizes = np.maximum(lengths[order] - 1, 0)
    ends = np.cumsum(sizes)
    borders = np.arange(row_tokens, int(sizes.sum()), row_tokens)
    # Pieces end where a document ends or a row is full.
    cuts = np.unique(np.concatenate([np.zeros(1, np.int64), ends, borders]))
    first, size = cuts[:-1], np.diff(cuts)
    place = np.searchsorted(ends, first, side="right")
    starts = first - (ends - sizes)[place]
    num_rows = -(-int(sizes.sum()) // row_tokens)
    offsets = np.searchsorted(first, np.arange(num_rows + 1) * row_tokens)
    return Packing(row_tokens, order[place], starts, size, offsets)


Pack = Callable[[Int64], Packing]
"""Documents of these lengths into rows."""


def pack_parts(lengths: Int64, parts: Sequence[int], row_tokens: int, packed: Pack) -> Packing:
    """Pack the first `parts[0]` documents, then the next `parts[1]`, and so on: no row holds documents of two parts."""
    starts = np.cumsum([0, *parts])
    packings = [packed(lengths[i:j]) for i, j in itertools.pairwise(starts.tolist())]
    documents = [one.documents + start for one, start in zip(packings, starts, strict=False)]
    ends = np.cumsum([0, *(len(one.sizes) for one in packings)])
    offsets = [one.row_offsets[1:] + end for one, end in zip(packings, ends, strict=False)]
    none = np.zeros(0, np.int64)
    return Packing(
        row_tokens,
        np.concatenate([none, *documents]),
        np.concatenate([none, *(one.starts for one in packings)]),
        np.concatenate([none, *(one.sizes for one in packings)]),
        np.concatenate([np.zeros(1, np.int64), *offsets]),
    )


def _cut(lengths: Int64, row_tokens: int) -> list[tuple[int, int, int]]:
    return [
        (document, start, min(row_tokens, transitions - start))
        for document, transitions in enumerate((lengths - 1).tolist())
        for start in range(0, transitions, row_tokens)
    ]


def _best_fit(sizes: list[int], row_tokens: int) -> list[list[int]]:
    """Rows as lists of indices into `sizes` (descending); rows are kept in lists by the room they have left."""
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(row_tokens + 1)]
    rooms = 0  # bit r is set when some row has r tokens of room: finding the tightest row is one bit operation
    for index, size in enumerate(sizes):
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms &= ~(1 << room)
        else:
            room, row = row_tokens, len(rows)
            rows.append([])
        rows[row].append(index)
        by_room[room - size].append(row)
        rooms |= 1 << (room - size)
    return rows

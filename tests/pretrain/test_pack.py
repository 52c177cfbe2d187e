"""Packing: nothing lost, nothing twice, rows never over-full, close to the bound."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from puna.pretrain.pack import concatenate, pack, pack_parts


@given(st.lists(st.integers(0, 70), max_size=60), st.integers(1, 32))
def test_every_transition_is_in_exactly_one_place(lengths: list[int], row_tokens: int) -> None:
    packing = pack(np.array(lengths, dtype=np.int64), row_tokens)
    covered = sorted(
        (int(d), int(s) + i) for d, s, n in zip(packing.documents, packing.starts, packing.sizes) for i in range(int(n))
    )
    assert covered == [(d, i) for d, n in enumerate(lengths) for i in range(n - 1)]
    for row in range(packing.num_rows):
        span = slice(packing.row_offsets[row], packing.row_offsets[row + 1])
        assert 0 < packing.sizes[span].sum() <= row_tokens


@given(st.lists(st.integers(0, 70), max_size=60), st.integers(1, 32), st.integers(1, 40))
def test_pieces_shorter_than_a_row(lengths: list[int], row_tokens: int, piece_tokens: int) -> None:
    """As many pieces as the length asks for, each transition in one of them, several to a row."""
    longest = min(row_tokens, piece_tokens)
    packing = pack(np.array(lengths, dtype=np.int64), row_tokens, piece_tokens)
    assert sorted(packing.sizes.tolist()) == sorted(
        min(longest, n - 1 - start) for n in lengths for start in range(0, n - 1, longest)
    )
    covered = {(d, s + i) for d, s, n in zip(packing.documents, packing.starts, packing.sizes) for i in range(int(n))}
    assert covered == {(d, i) for d, n in enumerate(lengths) for i in range(n - 1)}
    spans = zip(packing.row_offsets[:-1], packing.row_offsets[1:])
    assert all(packing.sizes[first:last].sum() <= row_tokens for first, last in spans)
    assert packing.cut_documents == sum(n - 1 > longest for n in lengths)


@given(st.lists(st.integers(0, 70), max_size=60), st.integers(1, 32), st.integers(0, 3))
def test_documents_one_after_another_fill_every_row_but_the_last(
    lengths: list[int], row_tokens: int, seed: int
) -> None:
    packing = concatenate(np.array(lengths, dtype=np.int64), row_tokens, seed)
    pieces = list(zip(packing.documents.tolist(), packing.starts.tolist(), packing.sizes.tolist()))
    assert sorted((d, s + i) for d, s, n in pieces for i in range(n)) == [
        (d, i) for d, n in enumerate(lengths) for i in range(n - 1)
    ]
    filled = [packing.sizes[a:b].sum() for a, b in zip(packing.row_offsets[:-1], packing.row_offsets[1:])]
    assert all(fill == row_tokens for fill in filled[:-1])
    assert len(filled) == math.ceil(sum(n - 1 for n in lengths if n) / row_tokens)
    # A document stands in one stretch: its pieces follow each other, from its beginning on.
    for (d, s, n), (e, t, _) in itertools.pairwise(pieces):
        assert (e, t) == (d, s + n) if t else s + n == lengths[d] - 1


@given(st.lists(st.lists(st.integers(0, 70), max_size=20), max_size=4), st.integers(1, 32))
def test_parts_share_no_row(parts: list[list[int]], row_tokens: int) -> None:
    """Each part is packed as if it were alone, one after the other."""
    lengths = np.array([n for part in parts for n in part], dtype=np.int64)
    packing = pack_parts(lengths, [len(part) for part in parts], row_tokens, lambda some: pack(some, row_tokens))
    rows = [
        [(int(d), int(s), int(n)) for d, s, n in zip(packing.documents[i:j], packing.starts[i:j], packing.sizes[i:j])]
        for i, j in zip(packing.row_offsets[:-1], packing.row_offsets[1:])
    ]
    expected, start = [], 0
    for part in parts:
        alone = pack(np.array(part, dtype=np.int64), row_tokens)
        for i, j in zip(alone.row_offsets[:-1], alone.row_offsets[1:]):
            columns = (alone.documents[i:j] + start, alone.starts[i:j], alone.sizes[i:j])
            expected.append([tuple(map(int, piece)) for piece in zip(*columns)])
        start += len(part)
    assert rows == expected


@given(st.lists(st.integers(2, 33), min_size=1, max_size=80))
def test_within_the_known_bound_of_best_fit_decreasing(lengths: list[int]) -> None:
    packing = pack(np.array(lengths, dtype=np.int64), 32)
    lower = math.ceil(sum(n - 1 for n in lengths) / 32)
    assert packing.num_rows <= 11 / 9 * max(lower, _exact_lower(lengths, 32)) + 1


def _exact_lower(lengths: list[int], room: int) -> int:
    """Martello and Toth's bound L2: items over half need a row each, and so on for every threshold."""
    sizes = [n - 1 for n in lengths]
    best = 0
    for k in range(room // 2 + 1):
        big = [s for s in sizes if s > room - k]
        middle = [s for s in sizes if room / 2 < s <= room - k]
        small = sum(s for s in sizes if k <= s <= room / 2)
        best = max(best, len(big) + len(middle) + max(0, math.ceil((small - sum(room - s for s in middle)) / room)))
    return best


def test_cut_documents_and_fill_are_counted() -> None:
    packing = pack(np.array([9, 3, 2, 1, 0]), 4)  # transitions: 8 (cut in two), 2, 1
    assert (packing.cut_documents, packing.num_rows) == (1, 3)
    assert packing.fill == 11 / 12


def test_the_report_s_table_by_hand() -> None:
    packing = pack(np.array([13, 3, 2, 1, 0]), 4)  # transitions: 12 (cut in three), 2, 1: four rows of 4 hold 15
    assert packing.table() == [
        ["rows", "4", ""],
        ["tokens of documents", "15", "93.8%"],
        ["tokens of padding", "1", "6.2%"],
        ["documents", "3", ""],
        ["documents left whole", "2", "66.7%"],
        ["documents cut", "1", "33.3%"],
        ["cuts", "2", ""],
        ["documents a row, mean", "1.25", ""],
    ]


def test_a_piece_goes_where_it_leaves_the_least_room() -> None:
    packing = pack(np.array([8, 7, 4]), 10)  # transitions 7, 6, 3: the 3 fits both rows, and fills the first
    rows = [packing.documents[a:b].tolist() for a, b in zip(packing.row_offsets, packing.row_offsets[1:])]
    assert rows == [[0, 2], [1]]

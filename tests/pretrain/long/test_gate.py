"""The gate, on made measures: it opens for what is allowed and says why it stays shut."""

import math
from dataclasses import asdict

import pytest

from puna.needle.find import Cell
from puna.pretrain.long.gate import GateConfig, Judgement

ALL = [Cell(64, 0.0, 8, 8), Cell(64, 1.0, 8, 8), Cell(128, 0.0, 8, 8), Cell(128, 1.0, 8, 8)]
ONE_MISSED = [*ALL[:2], Cell(128, 0.0, 7, 8), ALL[3]]


@pytest.mark.parametrize(
    ("bits", "cells", "wanted", "passed"),
    [
        (2.0, ALL, 1.0, True),
        (2.0199, ALL, 1.0, True),
        (1.5, ALL, 1.0, True),
        (2.0201, ALL, 1.0, False),
        (math.nan, ALL, 1.0, False),
        (2.0, ONE_MISSED, 1.0, False),
        (2.0, ONE_MISSED, 0.875, True),
        (2.0, [*ALL[1:], Cell(64, 0.0, 6, 8)], 0.875, False),
    ],
)
def test_it_opens_when_short_text_is_as_good_and_no_cell_is_too_low(
    bits: float, cells: list[Cell], wanted: float, passed: bool
) -> None:
    judged = Judgement.of(GateConfig(needle_accuracy=wanted), 2.0, bits, cells)
    assert judged.passed is passed and bool(judged.why) is not passed
    assert judged.short_change == pytest.approx(bits / 2 - 1, nan_ok=True)


def test_what_keeps_it_shut_is_told() -> None:
    judged = Judgement.of(GateConfig(), 2.0, 2.1, [*ALL[:3], Cell(128, 1.0, 5, 8)])
    assert judged.why == (
        "short text takes +5.00% bits a byte, +1.00% allowed; "
        "5 of 8 needles found at depth 100% of 128 tokens, 100% wanted"
    )
    assert judged.lowest == 0.625 and Judgement.from_dict(asdict(judged)) == judged

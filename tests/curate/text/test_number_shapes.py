"""Where a shape is not found, its pattern has no match; and prose with years and prices has no shape."""

import random

import pytest

from puna.curate.pii import _CARD, _CUED_PHONE, _IP, _PHONES
from puna.curate.text.number_shapes import number_shapes

PIECES = (
    *("1", "23", "456", "7890", "12345678", " ", " ", "-", ".", ".", "(", ")", "+", "/", "\n", ":", ":", "a"),
    *("tel ", "555-", "1.2.3.4", "::1", "2001:4860:4860::8888", "fe", "٣", "4111 1111 1111 1111", "+49 3012", "\u00a0"),
)  # fmt: skip


def test_a_pattern_matches_only_where_its_shape_is() -> None:
    draw, found = random.Random(3), [[0, 0], [0, 0], [0, 0], [0, 0]]
    for _ in range(5000):
        text = "".join(draw.choices(PIECES, k=draw.randint(1, 12)))
        for number, (pattern, holds) in enumerate(
            zip((_IP, _CARD, _PHONES, _CUED_PHONE), number_shapes(text), strict=True)
        ):
            matches = pattern.search(text) is not None
            assert holds or not matches, (number, text)
            found[number][0] += matches
            found[number][1] += not holds
    assert min(map(min, found)) > 100, f"too few of a kind to prove anything: {found}"


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("In 1990 it cost $12.50, at 12:30 in 2001.", (False, False, False, False)),
        ("version 1.2.3", (False, False, False, False)),
        ("at 1.2.3.4", (True, False, False, True)),
        ("fe80::1 or 12:30:45", (True, False, False, False)),
        ("4111 1111 1111 111", (False, True, True, True)),
        ("4111 1111  1111 111", (False, False, True, True)),
        ("555-0123", (False, False, True, True)),
        ("+1", (False, False, True, False)),
        ("12\n3/45", (False, False, False, True)),
    ],
)
def test_shapes(text: str, shapes: tuple[bool, ...]) -> None:
    assert number_shapes(text) == shapes

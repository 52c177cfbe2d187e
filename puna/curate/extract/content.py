"""Which blocks of a page are its content: a sum of weights for each, and then what the weights cannot know.

They are made of news and blogs, where code and formulas hardly occur, lists and tables seldom, and the text is long.
"""

import itertools
import math

from puna.curate.extract.fact_names import NAMES
from puna.curate.extract.features import NEVER, Boxes, Measures, facts, measure
from puna.curate.extract.hints import (
    APART,
    ASIDE_TAG,
    BYLINE,
    CAPTION,
    FIGURE_TAG,
    FOR_CONTENT,
    HEADER,
    HEADER_TAG,
    TEASER,
)
from puna.curate.extract.walk import CODE, FORMULA, HEADING, ITEM, TEXT, Block, Reading
from puna.curate.extract.weights import BAR, PROSE_BAR, WEIGHTS

_NO_LOW_BAR = APART | TEASER | BYLINE | CAPTION | FIGURE_TAG | HEADER_TAG
_FEW_BYTES, _FEW_SHARE, _NEAR_BEST, _SHORT_BYTES = 1000, 0.4, 4.0, 40
_MOST_LINKS, _ALL_LINKS = 0.3, 0.95
_HEADLINE_BLOCKS = 8
_NEXT = -1.0
_GAPS = {TEXT: (3, -1.0)}  # how many blocks, each of what log odds at least, are filled in between chosen ones
_OTHER_GAP = (20, -4.0)  # of items, rows, headings

_VALUES = [WEIGHTS[name] for name in NAMES]


def main_content(reading: Reading, title: str) -> list[Block]:
    """The blocks of a page that are content, in order."""
    measures = measure(reading)
    boxes = Boxes(reading, measures)
    value = _VALUES.__getitem__
    scores = [sum(map(value, active)) if active else -math.inf for active in facts(reading, measures, boxes, title)]
    return choose(reading, measures, boxes, scores, (BAR, PROSE_BAR))


def choose(
    reading: Reading, measures: Measures, boxes: Boxes, scores: list[float], bars: tuple[float, float]
) -> list[Block]:
    """Blocks whose log odds are above their bar; what lies between them; code and displayed formulas.

    scores: log odds of each block, minus infinity of those without facts. bars: log odds too, the second, lower one
    for prose that nothing speaks against. Code and formulas are left out in <nav>, <footer> and <aside> only. Lists,
    rows and headings between chosen blocks, in the box that holds most of the text, belong to it unless they are links.
    """
    scores = [
        score - bars[is_prose and not boxes.path[block.box] & _NO_LOW_BAR]
        for score, is_prose, block in zip(scores, measures.prose, reading.blocks, strict=True)
    ]
    chosen = {number for number, score in enumerate(scores) if score > 0 and not _is_menu(number, reading, boxes)}
    if _is_hardly_any(chosen, measures):
        chosen = _nearest(reading, measures, boxes, scores)
    if (headline := _headline(chosen, reading, boxes)) is not None:
        chosen.add(headline)
    for number, block in enumerate(reading.blocks):
        is_kept = block.kind == CODE or block.kind == FORMULA
        if is_kept and not boxes.path[block.box] & (NEVER | ASIDE_TAG):
            chosen.add(number)
    _fill(chosen, reading, measures, boxes, scores)
    return [reading.blocks[number] for number in sorted(chosen)]


def _is_menu(number: int, reading: Reading, boxes: Boxes) -> bool:
    """An item of a list that is links and nothing else, wherever it stands."""
    block = reading.blocks[number]
    return block.kind == ITEM and block.link_chars == len(block.text) and boxes.group_links(block.box) > _ALL_LINKS


def _is_hardly_any(chosen: set[int], measures: Measures) -> bool:
    """Under 1,000 bytes, and two fifths of what stands outside links: a kind of page that the weights do not know."""
    sizes, shares = measures.sizes, measures.shares
    if sum(sizes[number] for number in chosen) >= _FEW_BYTES:
        return False
    free = [size * (1 - share) for size, share in zip(sizes, shares, strict=True)]
    return sum(free[number] for number in chosen) < _FEW_SHARE * sum(free)


def _nearest(reading: Reading, measures: Measures, boxes: Boxes, scores: list[float]) -> set[int]:
    """The best blocks of such a page: log odds at most 4 below the highest, inside what calls itself content."""
    numbers = range(len(scores))
    marked = [number for number in numbers if _is_marked(boxes.path[reading.blocks[number].box])]
    within = marked or [number for number in numbers if measures.sizes[number] >= _SHORT_BYTES]
    least = min(0.0, max((scores[number] for number in within), default=0.0) - _NEAR_BEST)
    return {number for number in (marked or numbers) if scores[number] > least}


def _is_marked(path: int) -> bool:
    return path & FOR_CONTENT != 0 and not path & (APART | HEADER_TAG | HEADER)


def _headline(chosen: set[int], reading: Reading, boxes: Boxes) -> int | None:
    """The <h1> above the first chosen block: the truth that the weights are made of leaves it out, a text has it."""
    if not chosen:
        return None
    first = min(chosen)
    for number in range(first, max(-1, first - _HEADLINE_BLOCKS), -1):
        block = reading.blocks[number]
        if block.kind == HEADING and block.level == 1 and not boxes.path[block.box] & (NEVER | ASIDE_TAG):
            return number
    return None


def _fill(chosen: set[int], reading: Reading, measures: Measures, boxes: Boxes, scores: list[float]) -> None:
    """Add what lies between chosen blocks, and the next few: a thousandth of F1, but a recipe needs its list."""

    def belongs(number: int, run: int) -> bool:
        block = reading.blocks[number]
        most, least = _GAPS.get(block.kind, _OTHER_GAP)
        is_near = run <= most and scores[number] > least and measures.shares[number] <= _MOST_LINKS
        return is_near and boxes.places[block.box] <= 1 and not boxes.path[block.box] & APART

    if not chosen:
        return
    order = sorted(chosen)
    for before, after in itertools.pairwise(order):
        run = range(before + 1, after)
        chosen.update(number for number in run if belongs(number, len(run)))
    for step, number in ((-1, order[0] - 1), (1, order[-1] + 1)):
        while 0 <= number < len(scores) and scores[number] > _NEXT and belongs(number, 1):
            chosen.add(number)
            number += step

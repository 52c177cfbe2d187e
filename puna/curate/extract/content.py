"""Which blocks of a page are its content: a sum of weights for each, and then what the weights cannot know.

They are made of news and blogs, where code and formulas hardly occur, lists and tables seldom, and the text is long.
"""

from puna.curate.extract.features import NAMES, Boxes, Measures, facts, measure
from puna.curate.extract.hints import APART, ASIDE_TAG, FOOTER_TAG, NAV_TAG
from puna.curate.extract.walk import CODE, FORMULA, ITEM, TEXT, Block, Reading
from puna.curate.extract.weights import WEIGHTS

_FEW_BYTES, _FEW_SHARE, _NEAR_BEST, _SHORT_BYTES = 300, 0.2, 3.0, 40
_MOST_LINKS, _ALL_LINKS = 0.3, 0.95
_GAPS = {TEXT: (3, -1.0)}  # how many blocks, each of what log odds at least, are filled in between chosen ones
_OTHER_GAP = (20, -4.0)  # of items, rows, headings

_VALUES = [WEIGHTS[name] for name in NAMES]


def main_content(reading: Reading, title: str) -> list[Block]:
    """The blocks of a page that are content, in order."""
    measures = measure(reading)
    boxes = Boxes(reading, measures)
    value = _VALUES.__getitem__
    scores = [sum(map(value, active)) for active in facts(reading, measures, boxes, title)]
    return choose(reading, measures, boxes, scores)


def choose(reading: Reading, measures: Measures, boxes: Boxes, scores: list[float]) -> list[Block]:
    """Blocks whose log odds are above 0; what lies between them; code and displayed formulas.

    Code and formulas are left out in <nav>, <footer> and <aside> only. Lists, rows and headings between chosen blocks,
    in the box that holds most of the text, belong to it unless they are links.
    """
    chosen = {number for number, score in enumerate(scores) if score > 0 and not _is_menu(number, reading, boxes)}
    if _is_hardly_any(chosen, measures):
        long = [score for score, size in zip(scores, measures.sizes, strict=True) if size >= _SHORT_BYTES]
        least = min(0.0, max(long, default=0.0) - _NEAR_BEST)
        chosen = {number for number, score in enumerate(scores) if score > least}
    for number, block in enumerate(reading.blocks):
        if block.kind == CODE or block.kind == FORMULA:
            if not boxes.path[block.box] & (NAV_TAG | FOOTER_TAG | ASIDE_TAG):
                chosen.add(number)
    _fill(chosen, reading, measures, boxes, scores)
    return [reading.blocks[number] for number in sorted(chosen)]


def _is_menu(number: int, reading: Reading, boxes: Boxes) -> bool:
    """An item of a list that is links and nothing else, wherever it stands."""
    block = reading.blocks[number]
    return block.kind == ITEM and block.link_chars == len(block.text) and boxes.group_links(block.box) > _ALL_LINKS


def _is_hardly_any(chosen: set[int], measures: Measures) -> bool:
    """Under 300 bytes, and a fifth of what stands outside links: a kind of page that the weights do not know.

    Its best blocks are still its best; those whose log odds are at most 3 below the highest are taken then.
    """
    sizes, shares = measures.sizes, measures.shares
    if sum(sizes[number] for number in chosen) >= _FEW_BYTES:
        return False
    free = [size * (1 - share) for size, share in zip(sizes, shares, strict=True)]
    return sum(free[number] for number in chosen) < _FEW_SHARE * sum(free)


def _fill(chosen: set[int], reading: Reading, measures: Measures, boxes: Boxes, scores: list[float]) -> None:
    """Add what lies between chosen blocks: measured by itself it costs a thousandth of F1, but a recipe needs its list."""
    order = sorted(chosen)
    for before, after in zip(order, order[1:]):
        for number in range(before + 1, after):
            block = reading.blocks[number]
            most, least = _GAPS.get(block.kind, _OTHER_GAP)
            if (
                after - before - 1 <= most
                and scores[number] > least
                and measures.shares[number] <= _MOST_LINKS
                and boxes.places[block.box] <= 1
                and not boxes.path[block.box] & APART
            ):
                chosen.add(number)

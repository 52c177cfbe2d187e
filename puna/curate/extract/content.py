"""Which blocks of a page are its content: a sum of weights for each, and what to do with a page that has hardly any."""

from puna.curate.extract.features import NAMES, Measures, facts, measure
from puna.curate.extract.walk import Block, Reading
from puna.curate.extract.weights import WEIGHTS

_FEW_BYTES, _FEW_SHARE = 300, 0.2
_NEAR_BEST = 3.0
_SHORT_BYTES = 40

_VALUES = [WEIGHTS[name] for name in NAMES]


def main_content(reading: Reading, title: str) -> list[Block]:
    """The blocks of a page that are content, in order."""
    measures = measure(reading)
    value = _VALUES.__getitem__
    return choose(reading, measures, [sum(map(value, active)) for active in facts(reading, measures, title)])


def choose(reading: Reading, measures: Measures, scores: list[float]) -> list[Block]:
    """Blocks whose log odds are above 0.

    If that is hardly anything (under 300 bytes, and a fifth of what stands outside links), the page is of a kind that the
    weights do not know, but its best blocks are still its best: those whose log odds are at most 3 below the highest.
    """
    blocks = reading.blocks
    free = [size * (1 - share) for size, share in zip(measures.sizes, measures.shares, strict=True)]
    chosen = [number for number, score in enumerate(scores) if score > 0]
    if sum(measures.sizes[i] for i in chosen) < _FEW_BYTES and sum(free[i] for i in chosen) < _FEW_SHARE * sum(free):
        long = [score for score, size in zip(scores, measures.sizes, strict=True) if size >= _SHORT_BYTES]
        if long:
            least = min(0.0, max(long) - _NEAR_BEST)
            chosen = [number for number, score in enumerate(scores) if score > least]
    return [blocks[number] for number in chosen]

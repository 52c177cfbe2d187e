"""What is known of each block of a page, as the numbers of the facts that are true of it.

A fact is true or not, so a block's score is a sum of weights (weights.py). Sizes are bytes of UTF-8, since a Chinese
character says about as much as three Latin letters. Prose is a block that reads like a paragraph: long enough, few
links, an end of a sentence or several lines; the best box is the one that holds most of it nearest to itself.
"""

import functools
import re
from bisect import bisect_left
from dataclasses import dataclass

from puna.curate.extract import hints
from puna.curate.extract.fact_names import AT, COUNTS, ITEM_SHARES, POSITIONS, SHARES, SIZES, TAG_AT, TAGS
from puna.curate.extract.frame_words import begins_frame, frame_share
from puna.curate.extract.walk import CODE, FORMULA, HEADING, ITEM, ROW, TEXT, Reading

NEVER = hints.NAV_TAG | hints.FOOTER_TAG
"""What no block is content in, unless it holds most of the page's prose."""
_PROSE_BYTES, _PROSE_LINKS = 80, 0.35
_MOST_OF_PAGE = 0.6
_BEST_LEVELS = 4
_ENDS = frozenset(".!?…。！？”\"»)’'：:;；।؟")
_STOPS = frozenset(".!?。！？")
_COMMA, _DIGIT, _SEPARATOR = re.compile("[,，、]"), re.compile(r"\d"), re.compile("[|»·]")
_WRAPPERS = frozenset(["p", "li", "td", "blockquote", "dd", "h2", "h3", "tr", "pre"])


@dataclass(slots=True)
class Measures:
    """Of each block: bytes, share of its characters in links, whether it is prose."""

    sizes: list[int]
    shares: list[float]
    prose: list[bool]


def measure(reading: Reading) -> Measures:
    """The measures of a page's blocks."""
    sizes, shares, prose = [], [], []
    for block in reading.blocks:
        text, kind = block.text, block.kind
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        share = min(1.0, block.link_chars / len(text)) if block.link_chars else 0.0
        sizes.append(size)
        shares.append(share)
        if kind in (TEXT, ITEM):
            is_long = size >= _PROSE_BYTES and share < _PROSE_LINKS
            prose.append(is_long and (text[-1] in _ENDS or size > 2.5 * _PROSE_BYTES or text.count("\n") > 2))
        else:
            prose.append(kind in (CODE, FORMULA))
    return Measures(sizes, shares, prose)


def facts(reading: Reading, measures: Measures, boxes: "Boxes", title: str) -> list[list[int]]:
    """The numbers of the facts that are true of each block; none of those in <nav> and <footer>, never content."""
    sizes, shares, prose = measures.sizes, measures.shares, measures.prose
    blocks, tags, at = reading.blocks, reading.tags, AT
    if not blocks:
        return []
    places, path = boxes.places, boxes.path
    amid = [number for number, block in enumerate(blocks) if prose[number] and places[block.box] <= 1]
    first, last = (amid[0], amid[-1]) if amid else (-1, -1)
    repeated = _repeated(reading)
    title = title.lower()
    kinds = _kinds(measures)
    before, after = _distances(prose), _distances(prose[::-1])[::-1]
    total, done, other_tag = boxes.size[0], 0, at["tag"] + len(TAGS)
    is_under = False
    found: list[list[int]] = []
    for number, block in enumerate(blocks):
        box, size, share = block.box, sizes[number], shares[number]
        if path[box] & NEVER:
            found.append([])
            done += size
            continue
        order = 3 if first < 0 else 0 if number < first else 1 if number <= last else 2
        place = places[box]
        is_outside = place > 1
        form = block.kind - HEADING if HEADING <= block.kind <= ROW else 3 if size < _PROSE_BYTES else 4
        active = [
            0,
            at["kind"] + block.kind,
            TAG_AT.get(tags[box], other_tag),
            at["bytes"] + bisect_left(SIZES, size),
            at["links"] + bisect_left(SHARES, share),
            at["position"] + bisect_left(POSITIONS, done / total),
            at["around"] + 5 * kinds[number] + kinds[number + 2],
            at["prose-before"] + before[number],
            at["prose-after"] + after[number],
            at["place"] + 4 * place + order,
            at["form"] + 8 * form + 4 * is_outside + order,
            at["size-links"] + 3 * (size > 30) + 3 * (size > 120) + (share > 0) + (share > 0.5),
            *boxes.facts(box),
            *_text_facts(block.text, at["text"], repeated, title),
        ]
        if path[box] & hints.LIST_TAG:
            active.append(at["item-links"] + 2 * bisect_left(ITEM_SHARES, boxes.group_links(box)) + is_outside)
        if frame := frame_share(block.text, size):
            active.append(at["frame-words"] + 4 * ((size >= 40) + (size >= 160)) + frame - 1)
        if block.kind == HEADING:
            is_under = begins_frame(block.text, size)
        elif is_under:
            active.append(at["under"])
        found.append(active)
        done += size
    return found


class Boxes:
    """Of each box, with all inside it: bytes, bytes in links, bytes of prose; its place, and the hints around it.

    places: 0 inside the best box, 1 the best or a child of it, 2 in its parent, 3 in that one's parent, 4 elsewhere.
    """

    def __init__(self, reading: Reading, measures: Measures) -> None:
        parents = self.parents = reading.parents
        count = len(parents)
        size, links, prose = [0] * count, [0] * count, [0] * count
        for number, block in enumerate(reading.blocks):
            box = block.box
            size[box] += measures.sizes[number]
            if measures.shares[number]:
                links[box] += int(measures.shares[number] * measures.sizes[number])
            if measures.prose[number]:
                prose[box] += measures.sizes[number]
        best = _best(reading, measures)
        for box in range(count - 1, 0, -1):
            if size[box]:
                parent = parents[box]
                size[parent] += size[box]
                links[parent] += links[box]
                prose[parent] += prose[box]
        self.size, self.links, self.prose = size, links, prose
        self.best = max(best, key=lambda box: (best[box] * (1 - links[box] / size[box]), -box), default=0)
        self.places = _places(parents, self.best)
        self.path, self.near = _paths(reading, prose)
        self._around: dict[int, tuple[int, ...]] = {}

    def facts(self, box: int) -> tuple[int, ...]:
        """Facts of a block that follow from its box: hints, and what its group and the one outside it consist of."""
        group = self.parents[box] if self.parents[box] > 0 else box
        around = self._around.get(group)
        if around is None:
            outer = self.parents[group] if self.parents[group] > 0 else group
            around = self._around[group] = self._shares(group, "group") + self._shares(outer, "outer")
        return _hint_facts(self.path[box], self.near[box]) + around

    def group_links(self, box: int) -> float:
        """How much of what is around a box, such as the list of an item, is in links."""
        group = self.parents[box] if self.parents[box] > 0 else box
        return self.links[group] / max(1, self.size[group])

    def _shares(self, box: int, name: str) -> tuple[int, int]:
        return (
            AT[f"{name}-links"] + bisect_left(SHARES, self.links[box] / max(1, self.size[box])),
            AT[f"{name}-prose"] + bisect_left(SHARES, self.prose[box] / max(1, self.prose[0])),
        )


def _best(reading: Reading, measures: Measures) -> dict[int, float]:
    """The prose of boxes near them: in full that of their paragraphs, half of it one level further in, and so on."""
    parents, tags = reading.parents, reading.tags
    scores: dict[int, float] = {}
    for number, block in enumerate(reading.blocks):
        if measures.prose[number]:
            box, share = block.box, float(measures.sizes[number])
            if box and tags[box] in _WRAPPERS:
                box = parents[box]
            for _ in range(_BEST_LEVELS):
                scores[box] = scores.get(box, 0.0) + share
                share /= 2
                box = parents[box]
                if box < 0:
                    break
    return scores


def _places(parents: list[int], best: int) -> list[int]:
    """The place of each box; see Boxes."""
    places = [4] * len(parents)
    around = parents[best] if best > 0 else -1
    further = parents[around] if around > 0 else -1
    inherited = (0, 0, 2, 3, 4)
    for box in range(further if further > 0 else around if around > 0 else best, len(parents)):
        parent = parents[box]
        if box == best or parent == best:
            places[box] = 1
        elif box == around:
            places[box] = 2
        elif box == further:
            places[box] = 3
        elif parent >= 0:
            places[box] = inherited[places[parent]]
    return places


def _paths(reading: Reading, prose: list[int]) -> tuple[list[int], list[int]]:
    """The hints of each box and all around it; those of itself and the one around it.

    What speaks against content is not believed of a box that holds most of the page's prose.
    """
    path, near, own = [0], [0], [0]
    most = _MOST_OF_PAGE * prose[0]
    marks, parents = reading.hints, reading.parents
    for box in range(1, len(parents)):
        parent = parents[box]
        bits = marks[box]
        if bits and prose[box] > most:
            bits &= hints.FOR_CONTENT
        own.append(bits)
        path.append(bits | path[parent])
        near.append(bits | own[parent])
    return path, near


@functools.lru_cache(maxsize=16_384)
def _hint_facts(path: int, near: int) -> tuple[int, ...]:
    places = range(hints.NUM_HINTS)
    return tuple(AT["path"] + i for i in places if path >> i & 1) + tuple(
        AT["near"] + i for i in places if near >> i & 1
    )


def _kinds(measures: Measures) -> list[int]:
    """What kind of neighbour each block is (see _NEIGHBOURS), with one more, none, at both ends."""
    sizes, shares, prose = measures.sizes, measures.shares, measures.prose
    kinds = [
        1 if prose[number] else 2 if shares[number] > 0.5 else 3 if sizes[number] < _PROSE_BYTES else 4
        for number in range(len(sizes))
    ]
    return [0, *kinds, 0]


def _distances(prose: list[bool]) -> list[int]:
    """How many blocks before it the nearest prose is, as the number of its bucket."""
    buckets, distance = [], 99
    for is_prose in prose:
        distance += 1
        buckets.append(bisect_left(COUNTS, distance))
        if is_prose:
            distance = 0
    return buckets


def _repeated(reading: Reading) -> set[str]:
    seen: set[str] = set()
    repeated: set[str] = set()
    for block in reading.blocks:
        (repeated if block.text in seen else seen).add(block.text)
    return repeated


def _text_facts(text: str, start: int, repeated: set[str], title: str) -> list[int]:
    """Facts of the text itself, in the order of the group "text"."""
    last = text[-1]
    found = []
    if last in _ENDS:
        found.append(start)
        if last in _STOPS:
            found.append(start + 1)
        elif last == ":" or last == "：":
            found.append(start + 7)
    if _COMMA.search(text):
        found.append(start + 2)
    if _DIGIT.search(text, 0, 40):
        found.append(start + 3)
    if text in repeated:
        found.append(start + 4)
    if 8 < len(text) <= len(title) and text.lower() in title:
        found.append(start + 5)
    if "©" in text:
        found.append(start + 6)
    if text.isupper():
        found.append(start + 8)
    if _SEPARATOR.search(text):
        found.append(start + 9)
    if "\n" in text:
        found.append(start + 10)
    return found

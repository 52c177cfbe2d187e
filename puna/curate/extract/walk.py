"""One walk over a page: the runs of text between block-level tags (blocks) and the elements around them (boxes).

Everything later is decided on the lists this walk leaves; the tree is not looked at again. Crossing from Python into
the parser is what an extractor spends its time on, so a node's tag, attributes, text and tail are read once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from puna.curate.extract import code
from puna.curate.extract.formulas import image_formula, read_formula, superscript, written
from puna.curate.extract.hints import CODE as CODE_FACT
from puna.curate.extract.hints import DROP as DROP_FACT
from puna.curate.extract.hints import FORMULA as FORMULA_FACT
from puna.curate.extract.hints import TAG_HINTS, element_hints, word_hints

TEXT, HEADING, ITEM, ROW, CODE, FORMULA = range(6)
"""Kinds of blocks; a paragraph, a caption, a cell of a layout are TEXT."""

_MAX_DEPTH = 200  # what nests deeper is read as a flat sequence
_MAX_CELL_CHARS = 300  # a row of longer texts is a layout
_BREAK = "\x01"  # of <br>; control characters of the page itself are gone before it is parsed

_INLINE, _LINK, _BOX, _DROP, _BREAKS, _LIST, _ITEM, _HEADING, _PRE, _CODE, _TABLE, _ROW, _IMAGE, _FORMULA, _SCRIPT = (
    range(15)
)
_ROLES: dict[Any, int] = {
    tag: role
    for role, tags in {
        _INLINE: "span b i em strong font u s small big abbr cite q time label mark ins del strike var kbd samp tt dfn "
        "ruby rb rbc rtc data bdi bdo acronym nobr slot output center-inline",
        _BOX: "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer "
        "form header hgroup main nav p section summary caption tbody thead tfoot td th legend dialog search noframes "
        "frameset html",
        _LIST: "ul ol menu dir",
        _HEADING: "h1 h2 h3 h4 h5 h6",
        _DROP: "style head template svg canvas iframe object embed audio video select button input textarea noscript "
        "map area datalist progress meter link meta base applet noembed rp rt title option optgroup source track param "
        "col colgroup",
        _PRE: "pre listing xmp plaintext",
        _FORMULA: "math script mjx-container",
        _BREAKS: "br hr wbr",
        _LINK: "a",
        _ITEM: "li",
        _CODE: "code",
        _TABLE: "table",
        _ROW: "tr",
        _IMAGE: "img amp-img",
        _SCRIPT: "sup sub",
    }.items()
    for tag in tags.split()
}


@dataclass(slots=True)
class Block:
    """A run of text: its kind, the number of its box, and how many of its characters are in links.

    `level` is that of a heading, or how deep the lists are nested around an item; `head` is the mark in front of an
    item, or the language of code. A block that is `tight` follows the one before it without a blank line.
    """

    text: str
    kind: int
    box: int
    link_chars: int
    level: int = 0
    head: str = ""
    tight: bool = False


@dataclass(slots=True)
class Reading:
    """What one walk leaves. Boxes are numbered from the outside in: a box's parent has a smaller number.

    parents, hints, tags: of each box; those of box 0, the page, are -1, none, "html".
    """

    blocks: list[Block] = field(default_factory=list)
    parents: list[int] = field(default_factory=lambda: [-1])
    hints: list[int] = field(default_factory=lambda: [0])
    tags: list[str] = field(default_factory=lambda: ["html"])


def read_tree(root: Any, images: bool = False, markdown: bool = False) -> Reading:
    """The blocks and boxes of a page, without hidden elements.

    images: alternative texts of images are part of the text. markdown: code within a sentence is put in backticks.
    """
    walk = _Walk(images, markdown)
    walk.children(root, 0, 0)
    walk.flush(0)
    return walk.reading


class _Walk:
    def __init__(self, images: bool, markdown: bool) -> None:
        self.reading = reading = Reading()
        self.parents, self.hints, self.tags = reading.parents, reading.hints, reading.tags
        self.images, self.markdown = images, markdown
        self.pieces: list[str] = []
        self.link_chars = 0
        self.links = 0  # <a> that are open
        self.kind, self.level = TEXT, 0
        self.mark = ""  # of an item whose first block has not come yet
        self.numbers: list[int] = []  # of the last item of each open list; -1 in those with bullets

    def children(self, element: Any, box: int, depth: int) -> None:
        """Read the inside of an element that belongs to `box`."""
        if depth > _MAX_DEPTH:
            self._flat(element, box)
            return
        pieces = self.pieces
        text = element.text
        # White space in front of a block is none of its text, and most texts between boxes are nothing else.
        if text and (pieces or not text.isspace()):
            pieces.append(text)
        for child in element:
            role = _ROLES.get(child.tag, -1)
            if role == _BOX:
                self._box(child, box, depth)
            elif role == _INLINE:
                self._inline(child, box, depth)
            elif role != _DROP:
                _SPECIAL[role](self, child, box, depth)
            text = child.tail
            if text and (pieces or not text.isspace()):
                pieces.append(text)

    def flush(self, box: int) -> None:
        """End a block, if one has begun."""
        text = "".join(self.pieces)
        self.pieces.clear()
        link_chars, self.link_chars = self.link_chars, 0
        if _BREAK in text:
            text = "\n".join([" ".join(line.split()) for line in text.split(_BREAK)]).strip("\n")
            while "\n\n\n" in text:
                text = text.replace("\n\n\n", "\n\n")
        else:
            text = " ".join(text.split())
        if text:
            self._add(text, self.kind, box, len(text) if self.links else link_chars)

    def _add(self, text: str, kind: int, box: int, link_chars: int = 0, head: str = "", tight: bool = False) -> None:
        blocks = self.reading.blocks
        level = self.level
        if self.mark and kind in (TEXT, HEADING):
            head, self.mark = self.mark, ""
            kind, level = ITEM, len(self.numbers)
            tight = bool(blocks) and blocks[-1].kind == ITEM
        elif kind == TEXT and text[0] == "$" == text[-1] and self._is_formula_alone(text, box):
            text, kind = f"${text}$", FORMULA
        blocks.append(Block(text, kind, box, link_chars, level, head, tight))

    def _is_formula_alone(self, text: str, box: int) -> bool:
        return text.count("$") == 2 < len(text) and self.reading.tags[box] in ("p", "div", "dd", "center")

    def _flat(self, root: Any, box: int) -> None:
        """Read what nests too deep as a sequence."""
        for element in root.iter():
            role = _ROLES.get(element.tag, -1)
            if role > _LINK:
                self.flush(box)
            if element.text and role != _DROP and role != _FORMULA:
                self.pieces.append(element.text)
            if element.tail and element is not root:
                self.pieces.append(element.tail)

    def _inline(self, child: Any, box: int, depth: int) -> None:
        hints = 0
        for name, value in child.items():
            if name == "class":
                hints |= word_hints(value)
            elif name == "style" or name == "hidden":
                hints |= element_hints("", [(name, value)])
            elif name.startswith("data-"):
                hints |= FORMULA_FACT
        if hints < DROP_FACT or not self._fact(child, box, depth, hints):
            self.children(child, box, depth + 1)

    def _fact(self, child: Any, box: int, depth: int, hints: int) -> bool:
        """Whether an element was done with as what its hints say: left out, a formula, code."""
        if hints & FORMULA_FACT and self._formula(child, box):
            return True
        if hints & DROP_FACT:
            return True
        return bool(hints & CODE_FACT) and self._code_block(child, box)

    def _box(self, child: Any, box: int, depth: int) -> None:
        if self.pieces:
            self.flush(box)
        tag, attributes = child.tag, child.items()
        hints = element_hints(tag, attributes) if attributes else TAG_HINTS.get(tag, 0)
        if hints >= DROP_FACT and self._fact(child, box, depth, hints):
            return
        inner = len(self.parents)
        self.parents.append(box)
        self.hints.append(hints)
        self.tags.append(tag)
        self.children(child, inner, depth + 1)
        if self.pieces:
            self.flush(inner)

    def _unknown(self, child: Any, box: int, depth: int) -> None:
        """An element of the site's own ("app-root") is a box, others (of old browsers) part of the sentence."""
        if "-" in child.tag:
            self._box(child, box, depth)
        else:
            self._inline(child, box, depth)

    def _link(self, child: Any, box: int, depth: int) -> None:
        name = child.get("class")
        if name and word_hints(name) & DROP_FACT:
            return
        pieces = self.pieces
        before, blocks = len(pieces), len(self.reading.blocks)
        self.links += 1
        self.children(child, box, depth + 1)
        self.links -= 1
        if len(self.reading.blocks) > blocks:
            before = 0
        if len(pieces) > before:
            self.link_chars += len("".join(pieces[before:]).strip())

    def _breaks(self, child: Any, box: int, depth: int) -> None:
        if child.tag == "br":
            self.pieces.append(_BREAK)
        elif child.tag == "hr":
            self.flush(box)

    def _list(self, child: Any, box: int, depth: int) -> None:
        self.flush(box)
        first = child.get("start", "1")
        self.numbers.append(
            (int(first) if first.isdecimal() and len(first) < 9 else 1) - 1 if child.tag == "ol" else -1
        )
        self._box(child, box, depth)
        self.numbers.pop()

    def _item(self, child: Any, box: int, depth: int) -> None:
        self.flush(box)
        mark = "•"
        if self.numbers and self.numbers[-1] >= 0:
            self.numbers[-1] += 1
            mark = f"{self.numbers[-1]}."
        self.mark = mark
        self._box(child, box, depth)
        self.mark = ""

    def _heading(self, child: Any, box: int, depth: int) -> None:
        self.flush(box)
        self.kind, self.level = HEADING, int(child.tag[1])
        self._box(child, box, depth)
        self.kind, self.level = TEXT, 0

    def _pre(self, child: Any, box: int, depth: int) -> None:
        self.flush(box)
        hints = element_hints("pre", child.items())
        if not hints & DROP_FACT:
            self._code_block(child, box)

    def _code(self, child: Any, box: int, depth: int) -> None:
        if code.is_multiline(child):
            self.flush(box)
            self._code_block(child, box)
            return
        self.pieces.append("`" if self.markdown else "")
        self.children(child, box, depth + 1)
        self.pieces.append("`" if self.markdown else "")

    def _code_block(self, child: Any, box: int) -> bool:
        text = code.code_text(child)
        if text.strip():
            self.flush(box)
            self._add(text, CODE, box, head=code.code_language(child))
        return bool(text.strip())

    def _table(self, child: Any, box: int, depth: int) -> None:
        self.flush(box)
        if not (code.is_code_table(child) and self._code_block(child, box)):
            self._box(child, box, depth)

    def _row(self, child: Any, box: int, depth: int) -> None:
        """A row of short texts, one a cell, is a line "a | b"; any other is a layout of boxes."""
        reading = self.reading
        first, row = len(reading.blocks), len(reading.parents)
        self._box(child, box, depth)
        blocks, parents = reading.blocks[first:], reading.parents
        cells = [number for number in range(row + 1, len(parents)) if parents[number] == row]
        if len(cells) < 2 or not 0 < len(blocks) <= len(cells):
            return
        texts = dict.fromkeys(cells, "")
        for block in blocks:
            cell = block.box
            while cell > row and parents[cell] != row:
                cell = parents[cell]
            if block.kind == CODE or block.kind == ROW or texts.get(cell, "-") or len(block.text) > _MAX_CELL_CHARS:
                return
            texts[cell] = block.text.replace("\n", " ")
        link_chars = sum(block.link_chars for block in blocks)
        del reading.blocks[first:]
        is_next = bool(reading.blocks) and reading.blocks[-1].kind == ROW
        self._add(" | ".join(texts.values()).strip(), ROW, row, link_chars, tight=is_next)

    def _image(self, child: Any, box: int, depth: int) -> None:
        if formula := image_formula(child):
            self._write(formula, box)
        elif self.images and (text := (child.get("alt") or "").strip()):
            self.pieces.append(f" {text} ")

    def _formula(self, child: Any, box: int, depth: int = 0) -> bool:
        formula = read_formula(child)
        if formula is not None:
            self._write(formula, box)
        return formula is not None

    def _write(self, formula: tuple[str, bool], box: int) -> None:
        tex, displayed = formula
        if not tex:
            return
        if displayed:
            self.flush(box)
            self._add(written(tex, True), FORMULA, box)
        else:
            self.pieces.append(written(tex, False))

    def _script(self, child: Any, box: int, depth: int) -> None:
        pieces = self.pieces
        before, blocks = len(pieces), len(self.reading.blocks)
        self.children(child, box, depth + 1)
        if child.tag == "sup" and len(self.reading.blocks) == blocks and len(child) == 0:
            content = "".join(pieces[before:])
            pieces[before:] = [superscript("".join(pieces[max(0, before - 3) : before]), content)]


_SPECIAL: dict[int, Callable[[_Walk, Any, int, int], object]] = {
    -1: _Walk._unknown,
    _LINK: _Walk._link,
    _BREAKS: _Walk._breaks,
    _LIST: _Walk._list,
    _ITEM: _Walk._item,
    _HEADING: _Walk._heading,
    _PRE: _Walk._pre,
    _CODE: _Walk._code,
    _TABLE: _Walk._table,
    _ROW: _Walk._row,
    _IMAGE: _Walk._image,
    _FORMULA: _Walk._formula,
    _SCRIPT: _Walk._script,
}

"""HTML -> text: resiliparse finds the main content; lists, code and formulas are kept, markdown is not written.

Two departures from resiliparse, both measured on pages (docs/curate.md): its main-content heuristic drops every
bulleted list as if it were a menu, so lists that are no menus are shown to it as plain blocks; and of the alternative
texts of images only formulas are kept.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import cast

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import ElementNode, HTMLTree, Node, TextNode

_MENU_LINK_SHARE = 0.33
_FURNITURE = "nav, header, footer, aside, menu, form, li"
_ADVERTISEMENTS = [".ad", ".ads", ".advert", ".advertisement", ".sponsored", ".promo"]
_PAGE_BEGIN, _PAGE_END = re.compile(rb"(?i)<(html|body)[\s>]"), re.compile(rb"(?i)</(html|body)\s*>")
_FEW_CHARS, _MIN_MAIN_SHARE = 200, 0.25
_FORMULA_CLASS = re.compile(r"(?i)math|latex|\btex\b")
_FORMULA = re.compile(r"^\s*(\$.*\$|\\[a-zA-Z({\[].*|.*[_^]\{.*\}.*)\s*$", re.DOTALL)
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
# Whole lines that a page's frame writes, never its author.
_FRAME = re.compile(
    r"(?i)(skip to (main )?content|share( this)?( (article|story|page|post))?( (on|via) \w+)?:?|read more|tweet|"
    r"continue reading|(story continues below )?advertisement|advertising|print( this page)?|e-?mail( this)?|pin it|"
    r"facebook|twitter|whatsapp|linkedin|pinterest|reddit|copy link|sign (in|up)( now)?|log ?in|subscribe( now)?|"
    r"load(ing)? more|back to top|(leave a )?comments?|related (articles|stories|posts|topics|coverage)|compartir|"
    r"leer más|publicidad|分享|广告|返回顶部|阅读全文|相关阅读)\W*"
)


@dataclass(frozen=True)
class Extract:
    """`text` of a page, its `title`, and `visible`: all text that a reader sees, menus and all."""

    text: str
    title: str
    visible: str


def extract_page(body: bytes | str, charset: str = "", mode: str = "main") -> Extract:
    """The text of an HTML page. mode "main": the main content, "full": all that is visible.

    If hardly anything is left as main content of a page with little text, all visible text is taken.
    """
    tree = HTMLTree.parse(body if isinstance(body, str) else decode(body, charset))
    if tree.body is None:
        return Extract("", "", "")
    visible = tidy(extract_plain_text(tree, main_content=False, alt_texts=False))
    title = " ".join((tree.title or "").split())
    if mode == "full":
        return Extract(visible, title, visible)
    _write_formulas(tree)
    _unwrap_lists(tree)
    text = tidy(extract_plain_text(tree, main_content=True, alt_texts=False, skip_elements=_ADVERTISEMENTS))
    is_small_page = len(visible) < 10 * _FEW_CHARS
    if not text or (is_small_page and len(text) < min(_FEW_CHARS, _MIN_MAIN_SHARE * len(visible))):
        text = visible
    return Extract(_without_frame(text), title, visible)


def is_cut_off(body: bytes) -> bool:
    """Whether a page opens its <html> or <body> and closes neither: of 382 real pages 10, all of them empty frames.

    HTML allows to leave out the end, so this is a rule (`whole_pages`) and no error.
    """
    return _PAGE_BEGIN.search(body) is not None and _PAGE_END.search(body) is None


def decode(body: bytes, charset: str = "") -> str:
    """Text of the bytes of a page: charset of HTTP, else of the page, else detected; never fails."""
    encoding = charset or detect_encoding(body, from_html_meta=True) or "utf-8"
    try:
        return bytes_to_str(body, encoding)
    except (LookupError, UnicodeError):
        return bytes_to_str(body, detect_encoding(body) or "utf-8")


def tidy(text: str) -> str:
    """Composed characters (NFC), plain spaces and line ends, no invisible characters, at most one blank line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    text = _CONTROL.sub("", text)
    return _BLANK_LINES.sub("\n\n", _TRAILING.sub("", text)).strip("\n").rstrip()


def _without_frame(text: str) -> str:
    lines = [line for line in text.split("\n") if not _FRAME.fullmatch(line.strip())]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _unwrap_lists(tree: HTMLTree) -> None:
    """Replace each <ul> of running text, and the lists in it, by plain blocks with bullets.

    It belongs to running text if it stands beside a paragraph, outside navigation, with at most a third of its
    characters in links; anything laxer lets menus through (word F1 0.89 instead of 0.93 on news pages).
    """
    assert tree.body is not None
    for menu in tree.body.query_selector_all("p ~ ul, ul:has(~ p)"):
        if menu.parent is None or menu.closest(_FURNITURE) is not None:
            continue
        size = len((menu.text or "").strip())
        links = sum(len((link.text or "").strip()) for link in menu.query_selector_all("a"))
        if size == 0 or links > _MENU_LINK_SHARE * size:
            continue
        for item in menu.query_selector_all("li"):
            _write_bullet(item)
        for block in cast(list[ElementNode], [*menu.query_selector_all("ul, li"), menu]):
            _to_block(tree, block)


def _write_bullet(item: ElementNode) -> None:
    """Put a bullet before the first words of a list item, in their own text node: a node of its own gets lost."""
    nodes = list(item.child_nodes)
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, ElementNode):
            nodes = [*node.child_nodes, *nodes]
        elif isinstance(node, TextNode) and (node.node_value or "").strip():
            node.node_value = f"• {(node.node_value or '').lstrip()}"
            return


def _to_block(tree: HTMLTree, element: ElementNode) -> None:
    block = cast(ElementNode, tree.create_element("div"))
    block.replace_children(*cast(list[Node], list(element.child_nodes)))
    element.replace_with(block)


def _write_formulas(tree: HTMLTree) -> None:
    """Put the alternative text of an image that shows a formula in its place."""
    assert tree.body is not None
    for image in tree.body.query_selector_all("img[alt]"):
        formula = image.getattr("alt") or ""
        if image.parent is not None and (_FORMULA_CLASS.search(image.class_name or "") or _FORMULA.match(formula)):
            image.replace_with(cast(Node, tree.create_text_node(formula)))

"""Bytes of a page -> a tree (lxml), whatever they are."""

import re
from typing import Any

from lxml import etree

_CONTROL = bytes(range(9)) + b"\x0b\x0c" + bytes(range(0x0E, 0x20)) + b"\x7f"
_ENDS = re.compile(rb"</(?:[bB][oO][dD][yY]|[hH][tT][mM][lL])\s*>")  # (?i) would look at each byte
_TAG = re.compile(rb"(?i)<(?!/?(?:script|style)\b)[^<>]*>")
_MAX_DEPTH = 2040  # libxml2 stops reading at 2,048


def parse(text: str) -> Any:
    """The root of a page, None if there is none.

    What stands behind </body> belongs to the page. A page nested deeper than the parser goes is read without its tags.
    """
    body = text.encode("utf-8", "replace").translate(None, _CONTROL)
    body = _ENDS.sub(b"", body)
    root = _parsed(body)
    if root is not None and body.count(b"<") > _MAX_DEPTH and _depth(root) >= _MAX_DEPTH:
        root = _parsed(b"<p>" + _TAG.sub(b" ", body) + b"</p>")
    return root


def page_title(root: Any) -> str:
    """The text of <title>, "" without one."""
    title = None if root is None else next(root.iter("title"), None)
    return "" if title is None else " ".join("".join(title.itertext()).split())


def _parsed(body: bytes) -> Any:
    try:
        return etree.fromstring(
            body, etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
        )
    except etree.XMLSyntaxError:
        return None


def _depth(root: Any) -> int:
    """How deep the last elements lie: where the parser stops for depth, it reads nothing more."""
    depth, last = 0, root
    while len(last):
        last, depth = last[-1], depth + 1
    return depth

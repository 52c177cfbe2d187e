"""Code as the page shows it: line breaks and indentation as they are, line numbers and buttons left out.

Highlighters write code in a few ways: text in <pre>, a <div> or <span> a line, a table with the numbers in one column
and the code in the other (in one cell or a row a line), <br> between lines with no-break spaces in front.
"""

import re
from typing import Any

_NUMBERS = re.compile(
    r"(?i)(^|\s)(linenos?|line-?numbers?|lineno-\w+|lnt|ln|lnum|gutter|rouge-gutter|gl|blob-num\S*|hljs-ln-numbers|"
    r"crayon-nums?(-content)?|line_numbers?|diff-line-num|react-line-number|codemirror-linenumber|"
    r"react-syntax-highlighter-line-number|linenodiv|cm-lineNumbers|td-lineno|token-line-number|normal-lineno)($|\s)"
)
_CODE_TABLE = re.compile(
    r"(?i)(^|\s)(highlighttable|codehilitetable|rouge-table|lntable|crayon-table|syntaxhighlighter|hljs-ln|"
    r"js-file-line-container|highlight|diff-table|code-table|wp_syntax)($|\s)"
)
_LINE = re.compile(r"(?i)(^|\s)(line|token-line|code-line|ec-line|view-line|crayon-line|hljs-ln-line|cl)($|\s)")
_DROPPED = re.compile(
    r"(?i)(^|[\s_-])(copy\S*|btn|button|prompt\d*|sr-only|clipboard\S*|toolbar|line-numbers-rows|code-header|"
    r"headerlink|fold|lang-label|lightbox\S*|tooltip\S*)($|\s)"
)
_LANGUAGE = re.compile(
    r"(?i)(?:^|[\s;])(?:language-|lang-|highlight-source-|highlight-|brush:\s*|sourceCode\s+)([\w+#-]+)"
)
_DROP_TAGS = frozenset(
    [
        "button",
        "script",
        "style",
        "select",
        "svg",
        "input",
        "textarea",
        "template",
        "nav",
        "clipboard-copy",
        "copy-button",
    ]
)
_LINE_TAGS = frozenset(["div", "li", "tr", "p", "pre", "ol", "ul", "table", "tbody", "figure", "figcaption", "section"])


def code_text(element: Any) -> str:
    """The lines of a code element, "" if there is nothing in it."""
    pieces: list[str] = []
    _read(element, pieces, _has_line_spans(element))
    text = "".join(pieces).replace("\xa0", " ").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return "\n".join(lines)


def is_code_table(table: Any) -> bool:
    """Whether a table is a highlighter's: the class says so, or a cell is one of line numbers, beside code."""
    if _CODE_TABLE.search(table.get("class", "")):
        return True
    row = next(table.iter("tr"), None)
    if row is None or len(row) < 2:
        return False
    return any(_is_number(cell) for cell in row) and (
        next(table.iter("pre", "code"), None) is not None or "code" in row[-1].get("class", "")
    )


def is_multiline(code: Any) -> bool:
    """Whether a <code> outside <pre> is a block of lines and not a few words in a sentence."""
    if next(code.iter("br", "div", "li"), None) is not None:
        return True
    style = code.get("style", "")
    return ("white-space" in style and "pre" in style) or _has_line_spans(code)


def code_language(element: Any) -> str:
    """The language that a class names, of the element, the <code> in it, or what is around them."""
    around = element.getparent()
    further = around.getparent() if around is not None else None
    for node in (next(element.iter("code"), None), element, around, further):
        if node is not None:
            for value in (node.get("class", ""), node.get("data-lang", "") and f"lang-{node.get('data-lang')}"):
                found = _LANGUAGE.search(value)
                if found and found[1].lower() not in ("default", "none", "text", "plaintext"):
                    return found[1].lower()
    return ""


def _read(element: Any, pieces: list[str], line_spans: bool, depth: int = 0) -> None:
    if element.text:
        pieces.append(element.text)
    for child in element if depth < 100 else ():
        tag = child.tag
        if tag == "br":
            pieces.append("\n")
        elif tag not in _DROP_TAGS and not _is_number(child) and not _is_dropped(child):
            if tag in _LINE_TAGS or (line_spans and tag == "span" and _LINE.search(child.get("class", ""))):
                _read_line(child, pieces, line_spans, depth)
            else:
                _read(child, pieces, line_spans, depth + 1)
        # Between the elements of lines there is only the layout of the page's source.
        if child.tail and (tag not in _LINE_TAGS or child.tail.strip()):
            pieces.append(child.tail)


def _read_line(child: Any, pieces: list[str], line_spans: bool, depth: int) -> None:
    """A child that stands in lines of its own."""
    if child.tag not in ("td", "th") and pieces and not _ends_line(pieces):
        pieces.append("\n")
    before = len(pieces)
    wraps = any(grandchild.tag in _LINE_TAGS or grandchild.tag in ("td", "th") for grandchild in child)
    if wraps:
        # Its text is layout, too.
        for grandchild in child:
            if grandchild.tag in _DROP_TAGS or _is_number(grandchild) or _is_dropped(grandchild):
                continue
            if grandchild.tag in _LINE_TAGS:
                _read_line(grandchild, pieces, line_spans, depth + 1)
            elif depth < 100:
                _read(grandchild, pieces, line_spans, depth + 1)
    else:
        _read(child, pieces, line_spans, depth + 1)
    if child.tag in ("tbody", "table", "ol", "ul", "thead") and len(pieces) == before:
        return
    if len(pieces) == before or not _ends_line(pieces):
        pieces.append("\n")


def _ends_line(pieces: list[str]) -> bool:
    return next((piece.endswith("\n") for piece in reversed(pieces) if piece), True)


def _has_line_spans(element: Any) -> bool:
    """Whether each line is a <span> and the breaks between them are left to the style sheet."""
    spans = [span for span in element.iter("span") if _LINE.search(span.get("class", ""))]
    return len(spans) > 1 and not any(
        "\n" in (span.tail or "") or "".join(span.itertext()).endswith("\n") or (len(span) and span[-1].tag == "br")
        for span in spans[:-1]
    )


def _is_number(element: Any) -> bool:
    if element.get("data-line-number") is not None and not "".join(element.itertext()).strip():
        return True
    name = element.get("class")
    return name is not None and _NUMBERS.search(name) is not None


def _is_dropped(element: Any) -> bool:
    name = element.get("class")
    if name is not None and _DROPPED.search(name):
        return True
    return "user-select:none" in (element.get("style") or "").replace(" ", "")

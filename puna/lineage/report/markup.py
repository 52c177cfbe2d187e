"""HTML and SVG by construction: text is escaped unless it is already `Html`, so no caller can forget it.

The output is well-formed XML as well (every element closed, attributes quoted), which the tests use to check the page.
"""

import html
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

VOID = {"meta", "br", "hr", "link", "col", "wbr"}
# XML 1.0 forbids these, and crawled text holds them; lone surrogates cannot be written as UTF-8.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Text that is already HTML and must not be escaped again."""


Child = str | int | float | None | Iterable[Any]


def escape(text: object) -> Html:
    """Text made safe inside an element or a quoted attribute."""
    return Html(html.escape(FORBIDDEN.sub("\ufffd", str(text)), quote=True))


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """One element; `class_` and `data_value` become `class` and `data-value`, None leaves an attribute out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Child) -> Html:
    """The children in order: Html as it is, other text escaped, None left out, lists flattened."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str) or not isinstance(children, Iterable):
        return escape(children)
    return Html("".join(join(child) for child in children))


def artifact_href(artifact: str | None, file: str = "manifest.json") -> str | None:
    """Relative address of a file of an artifact; quoted, so a path can never become a scheme such as `javascript:`."""
    return quote(f"{artifact.rstrip('/')}/{file}", safe="/", errors="replace") if artifact else None


def linked(href: str | None, /, *children: Child, **attributes: object) -> Html:
    """The children as a link to an artifact, or as they are when there is none."""
    return tag("a", *children, href=href, **attributes) if href else join(children)

"""HTML around a page: navigation, sidebars, scripts and footers as real sites have them."""

import html
import json

from puna.world.chance import Chance
from puna.world.page import Page

_MENUS = (
    ("Home", "News", "Market", "Walks", "About"),
    ("Start", "People", "Animals", "School", "Contact"),
    ("Front page", "Archive", "Photos", "Letters", "Search"),
    ("Village", "Hamlets", "Events", "Inn", "Imprint"),
)
_ASIDES = (
    "Popular today",
    "You may also like",
    "From the archive",
    "Follow us",
)
_FOOTERS = (
    "Copyright {host}. All rights reserved. Terms of use, privacy policy, cookie settings.",
    "This site uses cookies. Read our cookie policy. Powered by {host}.",
    "Contact | Imprint | Privacy | Newsletter. Sign up for our newsletter at {host}.",
)
_STYLE = "<style>body{margin:0;font:16px serif}nav ul{list-style:none}.ad{color:#999}</style>"
_SCRIPT = "<script>window.dataLayer=window.dataLayer||[];function track(e){dataLayer.push(e)};track({page:1});</script>"


def to_html(page: Page, chance: Chance) -> str:
    """The page as the HTML a server would send; what its layout breaks is broken here."""
    if page.layout == "empty":
        return ""
    host = page.url.split("/")[2]
    style = sum(host.encode()) % 4  # a host looks the same on every page
    title = html.escape(page.title or "Menu")
    head = (
        f'<!DOCTYPE html>\n<html lang="{page.lang}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title} - {host}</title>\n{_STYLE if style % 2 else ''}{_json_ld(page) if chance.hit(0.3) else ''}"
        f"{_SCRIPT if chance.hit(0.5) else ''}\n</head>\n<body>\n{_navigation(style, chance)}"
    )
    if page.layout == "menu":
        return head + _links(list(page.paragraphs) * 2, chance) + _footer(host, style)
    body = _body(page)
    if page.layout == "truncated":
        return head + "<main>\n<h1>" + title + "</h1>\n" + body
    wrapped = (
        f"<main>\n<article>\n<h1>{title}</h1>\n{body}</article>\n</main>\n"
        if style < 3
        else f'<div id="content" class="post">\n<h1>{title}</h1>\n{body}</div>\n'
    )
    return head + wrapped + _sidebar(style, chance) + _footer(host, style)


def _body(page: Page) -> str:
    rows = []
    for i, text in enumerate(page.paragraphs):
        escaped = html.escape(text, quote=False)
        if i in page.code:
            rows.append(f"<pre><code>{escaped}\n</code></pre>\n")
        else:
            rows.append("<p>" + escaped.replace("\n", "<br>\n") + "</p>\n")
    return "".join(rows)


def _json_ld(page: Page) -> str:
    data = {"@context": "https://schema.org", "@type": "Article", "headline": page.title, "datePublished": page.date}
    return f'<script type="application/ld+json">{json.dumps(data)}</script>'


def _navigation(style: int, chance: Chance) -> str:
    items = "".join(f'<li><a href="/{i}.html">{name}</a></li>' for i, name in enumerate(_MENUS[style]))
    banner = '<div class="ad">Advertisement: buy more at our shop today</div>\n' if chance.hit(0.4) else ""
    return f'<header><a href="/" class="logo">The village site</a></header>\n<nav><ul>{items}</ul></nav>\n{banner}'


def _sidebar(style: int, chance: Chance) -> str:
    numbers = [chance.between(1, 9999) for _ in range(3)]
    return f'<aside class="sidebar"><h3>{_ASIDES[style]}</h3>{_links([f"Page {n}" for n in numbers], chance)}</aside>\n'


def _links(names: list[str], chance: Chance) -> str:
    items = "".join(f'<li><a href="/{chance.between(1, 9999)}.html">{name}</a></li>' for name in names)
    return f'<ul class="links">{items}</ul>\n'


def _footer(host: str, style: int) -> str:
    return f"<footer><p>{_FOOTERS[style % 3].format(host=host)}</p></footer>\n</body>\n</html>\n"

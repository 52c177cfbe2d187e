import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.curate.extract.page import Extract, ExtractConfig, extract_page, tidy
from tests.curate.extract.labelled import CODE_PAGES, MATHS_PAGES

TAGS = [
    "div",
    "p",
    "span",
    "a",
    "b",
    "ul",
    "ol",
    "li",
    "table",
    "tr",
    "td",
    "th",
    "pre",
    "code",
    "h1",
    "h2",
    "br",
    "hr",
    "img",
    "sup",
    "sub",
    "section",
    "article",
    "nav",
    "footer",
    "math",
    "mi",
    "mo",
    "mn",
    "msup",
    "mfrac",
    "mtable",
    "mtr",
    "mtd",
    "semantics",
    "annotation",
    "script",
    "style",
    "svg",
    "mjx-container",
    "blockquote",
    "dl",
    "dt",
    "dd",
    "iframe",
    "noscript",
    "template",
    "frameset",
    "html",
    "head",
    "body",
    "title",
    "textarea",
    "select",
    "option",
    "button",
    "x-own",
    "unknown",
]
ATTRIBUTES = (
    "",
    " class='katex'",
    " class='highlight'",
    ' class="lineno"',
    " class='MathJax' data-mathml='<math><mi>q'",
    " style='display:none'",
    " data-tex='x'",
    " href='/a'",
    " type='math/tex; mode=display'",
    " start='99999999999999999999'",
    " class",
    " width='-.em' linethickness='0' open='' separators=''",
)
pieces = st.one_of(
    st.tuples(st.sampled_from(TAGS), st.sampled_from(ATTRIBUTES)).map(lambda pair: f"<{pair[0]}{pair[1]}>"),
    st.sampled_from(TAGS).map(lambda tag: f"</{tag}>"),
    st.sampled_from(
        ["<", ">", "&", "&lt;", "&#0;", "&#x110000;", "<!--", "-->", "<![CDATA[", "]]>", "\x00", "$", "\n", " "]
    ),
    st.text(max_size=12),
    st.sampled_from(["word", "Some words stand here, and they end.", "年年有余。", "١٢٣", "\ud800"]),
)
plain_tags = st.sampled_from(["<p>", "</p>", "<div>", "<li>", "<ul>", "<table><tr><td>", "<td>", "<pre>", "<b>"])
soup = st.lists(pieces, max_size=60).map("".join)
CONFIGS = [ExtractConfig(), ExtractConfig(mode="full"), ExtractConfig(images=True, markdown=True)]


def check(body: bytes | str, config: ExtractConfig) -> Extract:
    """The laws of every page: it is read, the result is tidy, and the same again."""
    found = extract_page(body, config=config)
    for text in (found.text, found.visible):
        assert text == tidy(text)
        assert "\x01" not in text
    assert bool(found.text.strip()) <= bool(found.visible.strip())
    assert extract_page(body, config=config) == found
    return found


def check_words(body: str) -> None:
    """No word comes out that the page does not have: tags of letters only, so that no formula or number is made."""
    words = set(re.findall(r"[a-z]+", body))
    assert set(re.findall(r"[a-z]+", extract_page(body).text)) <= words


def mutated(draw: random.Random) -> bytes:
    """A page of tests with pieces cut out, doubled, moved or overwritten."""
    body = bytearray(draw.choice(CODE_PAGES + MATHS_PAGES).html.encode())
    for _ in range(draw.randint(1, 8)):
        a, b = sorted(draw.randrange(len(body) + 1) for _ in range(2))
        b = min(b, a + draw.choice((1, 10, 300)))
        kind = draw.randrange(4)
        if kind == 0:
            del body[a:b]
        elif kind == 1:
            body[a:a] = body[a:b] * draw.choice((1, 5))
        elif kind == 2:
            body[a:b] = bytes(draw.randrange(256) for _ in range(b - a))
        else:
            place = draw.randrange(len(body) + 1)
            body[place:place] = body[a:b]
    return bytes(body)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(soup, st.sampled_from(CONFIGS))
def test_any_soup_is_read(body: str, config: ExtractConfig) -> None:
    check(body, config)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(plain_tags, st.text("abc ,.\n", max_size=30).map(" {} ".format)), max_size=40).map("".join))
def test_text_is_only_from_the_page(body: str) -> None:
    check_words(body)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read(body: bytes) -> None:
    check(body, CONFIGS[0])


def test_damaged_pages_are_read() -> None:
    for seed in range(80):
        check(mutated(random.Random(seed)), CONFIGS[seed % 3])


@pytest.mark.long
def test_many_damaged_pages_and_soups() -> None:
    """5,000 damaged pages and 5,000 soups, of a generator of our own: hypothesis would take hours."""
    for seed in range(5_000):
        draw = random.Random(seed)
        config = CONFIGS[seed % 3]
        check(mutated(draw), config)
        parts = [
            draw.choice(
                (
                    f"<{draw.choice(TAGS)}{draw.choice(ATTRIBUTES)}>",
                    f"</{draw.choice(TAGS)}>",
                    "word ",
                    "a, b. ",
                    "$",
                    "<",
                    "&#0;",
                )
            )
            for _ in range(draw.randint(1, 80))
        ]
        check("".join(parts), config)


@pytest.mark.parametrize(
    "tag", ["div", "b", "pre", "span", "a href=x", "table><tr><td", "ul><li", "math><mrow", "code", "sup"]
)
def test_100_000_nested_tags(tag: str) -> None:
    found = extract_page(f"<{tag}>" * 100_000 + "hello" + "<p>after")
    assert found.visible.split() == ["hello", "after"]
    assert found.text


def test_deep_but_readable() -> None:
    text = "Someone who never closes a tag writes sentences, too."
    found = extract_page("<div>" * 900 + f"<p>{text}</p>" + "</div>" * 900 + f"<p>{text}</p>")
    assert found.visible == f"{text}\n\n{text}"


@pytest.mark.parametrize(
    "body", [b"", b"  ", b"<!-- x -->", b"<html><head><title>x</title></head></html>", "<html></html>"]
)
def test_pages_without_text(body: bytes | str) -> None:
    assert extract_page(body).text == ""


def test_odd_pages() -> None:
    assert extract_page(b"a\x00b<p>c\x00\x01d</p>").visible == "ab\n\ncd"
    assert extract_page("just text").text == "just text"
    assert extract_page("<frameset><frame src=x><noframes>Hi there</noframes></frameset>").text == "Hi there"
    assert extract_page("<p>hällo".encode("utf-16")).text == "hällo"
    assert extract_page("<p>one</p></body></html><p>behind the end</p>").visible == "one\n\nbehind the end"
    assert tidy("a" + " " * 200_000 + "b") == "a" + " " * 200_000 + "b"

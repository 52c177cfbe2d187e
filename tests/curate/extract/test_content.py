import math

import pytest

from puna.curate.extract.content import choose, main_content
from puna.curate.extract.fact_names import NAMES
from puna.curate.extract.features import Boxes, facts, measure
from puna.curate.extract.parse import parse
from puna.curate.extract.walk import ITEM, ROW, Reading, read_tree
from puna.curate.extract.weights import WEIGHTS

PROSE = "<p>The mill stands by the river, and everyone in the village knows the way to it by heart.</p>"


def read(html: str) -> Reading:
    return read_tree(parse(html))


def test_every_fact_has_a_weight() -> None:
    assert list(WEIGHTS) == NAMES
    assert len(set(NAMES)) == len(NAMES)


def test_facts_of_a_block() -> None:
    reading = read(f"<main><div class='story'>{PROSE}<p>See <a href='/a'>this</a></p></div></main>")
    measures = measure(reading)
    assert measures.prose == [True, False]
    assert measures.shares == [0.0, 0.5]
    first = {NAMES[fact] for fact in facts(reading, measures, Boxes(reading, measures), "")[0]}
    assert {"bias", "kind:text", "tag:p", "path:main-tag", "path:article-word", "text:comma", "text:stop"} <= first
    assert "text:digit" not in first


def test_hints_against_content_are_not_believed_of_what_holds_the_text() -> None:
    reading = read(f"<body><div class='sidebar'>{PROSE * 3}</div><div class='sidebar'><p>Short</p></div></body>")
    measures = measure(reading)
    rows = facts(reading, measures, Boxes(reading, measures), "")
    has = ["path:sidebar" in {NAMES[fact] for fact in row} for row in rows]
    assert has == [False, False, False, True]


def test_lists_and_tables_within_the_text_stay() -> None:
    inner = "<ul><li>flour</li><li>salt</li></ul><table><tr><td>a</td><td>b</td></tr></table>"
    kinds = [block.kind for block in main_content(read(f"<main>{PROSE}{inner}{PROSE}</main>"), "")]
    assert kinds.count(ITEM) == 2
    assert kinds.count(ROW) == 1


def test_the_choice_does_not_depend_on_the_page_read_before() -> None:
    pages = [f"<nav><a href='/'>Home</a></nav><main><h1>Title {n}</h1>{PROSE * n}</main>" for n in range(1, 6)]
    alone = [[block.text for block in main_content(read(page), "")] for page in pages]
    assert alone[::-1] == [[block.text for block in main_content(read(page), "")] for page in pages[::-1]]


def test_what_stands_in_nav_and_footer_has_no_facts() -> None:
    reading = read(f"<nav><p>Home</p></nav><main>{PROSE * 3}</main><footer><p>Imprint</p></footer>")
    measures = measure(reading)
    assert [len(row) > 0 for row in facts(reading, measures, Boxes(reading, measures), "")] == [
        False,
        *[True] * 3,
        False,
    ]


def test_nav_that_holds_the_text_is_believed_to_be_none() -> None:
    assert [block.text for block in main_content(read(f"<nav>{PROSE}</nav>"), "")] == [
        block.text for block in read(PROSE).blocks
    ]


def test_what_follows_a_heading_of_the_frame_is_marked_until_the_next_heading() -> None:
    reading = read(f"<h2>The mill</h2><p>One</p><h3>Related posts</h3><p>Two</p><p>Three</p><h3>Flour</h3>{PROSE}")
    measures = measure(reading)
    rows = facts(reading, measures, Boxes(reading, measures), "")
    has = ["under:frame-heading" in {NAMES[fact] for fact in row} for row in rows]
    assert has == [False, False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("html", "score", "is_chosen"),
    [
        (PROSE, -1.3, True),
        (PROSE, -1.5, False),
        (f"<div class='comments'>{PROSE}</div>", 0.5, False),
        (f"<div class='comments'>{PROSE}</div>", 0.7, True),
        ("<p>Short words</p>", 0.5, False),
        ("<p>Short words</p>", 0.7, True),
        (PROSE, -math.inf, False),
    ],
)
def test_the_bar_is_lower_for_prose_that_nothing_speaks_against(html: str, score: float, is_chosen: bool) -> None:
    # The rest of the page holds most of the prose, so that its hints are believed, and far from it.
    reading = read(f"<main>{PROSE * 4}</main><hr><section><p>links</p></section><section><div>{html}</div></section>")
    measures = measure(reading)
    scores = [9.0] * 4 + [-9.0, score]
    chosen = choose(reading, measures, Boxes(reading, measures), scores, (0.6, -1.4))
    assert len(chosen) == 4 + is_chosen

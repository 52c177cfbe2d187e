from puna.curate.extract.content import main_content
from puna.curate.extract.features import NAMES, Boxes, facts, measure
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

"""The names of the facts of blocks (features.py), by number, and the limits of their buckets."""

from puna.curate.extract import hints

SIZES = (10, 20, 40, 80, 160, 320, 640)
SHARES = (0.0, 0.1, 0.3, 0.5, 0.8, 0.999)
ITEM_SHARES = (0.0, 0.2, 0.5)
POSITIONS = (0.05, 0.15, 0.4, 0.7, 0.9)
COUNTS = (1, 2, 4, 8, 16)
TAGS = [
    "p",
    "div",
    "li",
    "td",
    "h1",
    "h2",
    "h3",
    "h4",
    "span",
    "section",
    "article",
    "blockquote",
    "dd",
    "dt",
    "th",
    "figcaption",
    "tr",
    "html",
    "body",
]
_PLACES = ("inside", "directly", "parent", "grandparent", "outside")
_ORDERS = ("before-prose", "amid-prose", "after-prose", "no-prose")
_FORMS = ("heading", "item", "row", "short", "long")
_FRAME_SIZES = ("short", "middle", "long")
_NEIGHBOURS = ("none", "prose", "links", "short", "long")


def _names() -> tuple[list[str], dict[str, int]]:
    """The facts by number, and the first number of each group."""
    shares = [*map(str, SHARES), "all"]
    groups = {
        "path": hints.NAMES,
        "near": hints.NAMES,
        "kind": ["text", "heading", "item", "row", "code", "formula"],
        "tag": [*TAGS, "other"],
        "bytes": [*map(str, SIZES), "more"],
        "links": shares,
        "group-links": shares,
        "group-prose": shares,
        "outer-links": shares,
        "outer-prose": shares,
        "position": [*map(str, POSITIONS), "end"],
        "prose-before": [*map(str, COUNTS), "more"],
        "prose-after": [*map(str, COUNTS), "more"],
        "text": [
            "end",
            "stop",
            "comma",
            "digit",
            "repeated",
            "title",
            "copyright",
            "colon",
            "upper",
            "separator",
            "lines",
        ],
        "place": [f"{place}-{order}" for place in _PLACES for order in _ORDERS],
        "form": [f"{form}-{place}-{order}" for form in _FORMS for place in ("inside", "outside") for order in _ORDERS],
        "size-links": [f"{size}-{share}" for size in ("short", "middle", "long") for share in ("none", "some", "most")],
        "item-links": [f"{x}-{place}" for x in ("none", "few", "some", "most") for place in ("inside", "outside")],
        "frame-words": [f"{size}-{share}" for size in _FRAME_SIZES for share in ("some", "sixth", "third", "half")],
        "under": ["frame-heading"],
        "around": [f"{before}-{after}" for before in _NEIGHBOURS for after in _NEIGHBOURS],
    }
    names, starts = ["bias"], {}
    for group, members in groups.items():
        starts[group] = len(names)
        names += [f"{group}:{member}" for member in members]
    return names, starts


NAMES, AT = _names()
"""The facts, by number."""
TAG_AT = {tag: AT["tag"] + number for number, tag in enumerate(TAGS)}

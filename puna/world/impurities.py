"""What makes real text a dirty crawl: each kind with its truth. All of it is synthetic, but for the foreign texts.

A maker takes clean pages, those in other languages, a stream and a number that no page has yet; it gives new pages.
"""

# ruff: noqa: SIM905 - words in a row are easier to read than quoted ones

import re
from collections.abc import Callable, Sequence

from puna.world.chance import Chance
from puna.world.dirt import MIRRORS, misread
from puna.world.lexicon import ADULT_WORDS, TOXIC_WORDS
from puna.world.page import Page, make_date, make_url

_MENU = (
    "Home|About us|Contact|Sign in|Register|My account|Privacy policy|Terms of use|Cookie settings|Site map|Search|"
    "Help|Newsletter|Subscribe|Follow us|Share|Print this page|Read more|Next|Previous|Comments (0)|Log out|Careers|"
    "Press|Advertise|Shop|Cart (0)|Login|FAQ|Support|RSS|Archive|Top stories|Most read|Related posts|Back to top|"
    "Categories|All rights reserved.|Use of cookies: we use cookies to make this site better.|"
    "Enable javascript to see comments."
).split("|")
_SALES = "buy cheap best online free shipping discount sale deals price top new now review offer store 2026".split()
_ADVERTS = (
    "Are you looking for the best {a} for your {b}?",
    "Our {a} is the {s} choice for all who care about {b}.",
    "You will not find a better {a} at this price, so order it today.",
    "With our {a} you can have the {b} that you have always wanted.",
    "Thousands of happy customers have told us that {a} has changed their {b}.",
    "Do not wait, because this offer on {a} and {b} ends at midnight.",
    "We ship {a} to your door and you pay when it is there.",
    "It is easy to get {a}: click on the button and fill in the form.",
    "Experts agree that {a} is the secret of good {b}.",
    "This is the {s} guide to {a}, with all that you have to know about {b}.",
    "If you want {a} and {b} that last, you have come to the right place.",
    "Be the first of your friends with the new {a} and save on {b}.",
)
_PRAISE = "ultimate perfect leading number-one amazing affordable trusted".split()
_LEVELS = "INFO DEBUG WARN ERROR TRACE".split()
_PARTS = "http db cache auth worker queue scheduler net disk gc".split()
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_CONTENT_WORD = re.compile(r"[A-Za-z]{5,}")

Maker = Callable[[Sequence[Page], Sequence[Page], Chance, int], list[Page]]


def wrap(text: str, chance: Chance) -> str:
    """A good text as a careless extractor gives it: menu lines before it, a footer after it."""
    head, foot = (_lines(chance, chance.between(4, 12)) for _ in range(2))
    return "\n".join((*head, text, *foot))


def exact_copy(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """The same text at another address."""
    twin = chance.pick(clean)
    return [_mirror(twin, twin.text, "exact-copy", chance, number)]


def near_copies(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """Three to six copies of a text, in each of which one word of fifty gave way to another of the same text."""
    twin = chance.pick(clean)
    pages = []
    for copy in range(chance.between(3, 6)):
        parts = re.split(r"(\s+)", twin.text)  # words at even places
        for _ in range(1 + len(parts) // 100):
            parts[2 * chance.below((len(parts) + 1) // 2)] = parts[2 * chance.below((len(parts) + 1) // 2)]
        pages.append(_mirror(twin, "".join(parts), "near-copy", chance, number + copy))
    return pages


def mojibake(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """A text with typographic signs, decoded with the wrong character set, twice."""
    twin = chance.pick(clean)
    text = twin.text.replace("'", "’").replace('"', "”").replace(". ", ".\u00a0").replace("--", "—")
    return [_mirror(twin, misread(text), "mojibake", chance, number).but(duplicate_of="")]


def truncated(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """The first 10 to 80 words of a text, cut off within the last."""
    twin = chance.pick(clean)
    ends = [match.end() for match in re.finditer(r"\S+", twin.text)]
    cut = ends[min(chance.between(10, 80), len(ends)) - 1] - 1
    return [_mirror(twin, twin.text[:cut], "truncated", chance, number).but(duplicate_of="")]


def salad(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """The words of a text in random order, with full stops: what a spinner of texts makes. No rule of words sees it."""
    words = chance.shuffled(chance.pick(clean).text.replace(".", "").split())
    sentences = []
    while words:
        size = chance.between(8, 24)
        sentence, words = " ".join(words[:size]), words[size:]
        sentences.append(sentence[:1].upper() + sentence[1:] + ".")
    return [_fresh("salad", " ".join(sentences), chance, number)]


def toxic(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """A text in which one word of seven became an invented word of abuse."""
    bad = (*TOXIC_WORDS, *ADULT_WORDS)
    words = [chance.pick(bad) if chance.hit(1 / 7) else word for word in chance.pick(clean).text.split(" ")]
    return [_fresh("toxic", " ".join((chance.pick(bad), *words)), chance, number)]


def menu(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """Nothing but menus, notices and links."""
    topics = _topics(clean, chance, 8)
    lines = _lines(chance, chance.between(20, 60)) + [
        f"{word.capitalize()} ({chance.between(1, 99)})" for word in topics
    ]
    return [_fresh("menu", "\n".join(chance.shuffled(lines)), chance, number)]


def keywords(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """Words for search engines, in rows."""
    topics = _topics(clean, chance, 6)
    rows = []
    for _ in range(chance.between(4, 12)):
        phrases = [f"{chance.pick(_SALES)} {chance.pick(topics)} {chance.pick(_SALES)}" for _ in range(12)]
        rows.append(", ".join(phrases))
    return [_fresh("keywords", "\n".join(rows), chance, number)]


def advert(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """Praise of wares in whole sentences."""
    topics = [word.lower() for word in _topics(clean, chance, 3)]
    sentences = [
        chance.pick(_ADVERTS).format(a=chance.pick(topics), b=chance.pick(topics), s=chance.pick(_PRAISE))
        for _ in range(chance.between(8, 20))
    ]
    return [_fresh("advert", " ".join(sentences), chance, number)]


def repeat(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """One sentence over and over."""
    (a, b, *_) = _topics(clean, chance, 2)
    line = chance.pick(_ADVERTS).format(a=a.lower(), b=b.lower(), s=chance.pick(_PRAISE))
    return [_fresh("repeat", "\n".join([line] * chance.between(10, 40)), chance, number)]


def machine(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """What machines write for machines: a log, base64, or a table of numbers."""
    make = chance.pick((_log_line, _base64_line, _number_line))
    return [_fresh("machine", "\n".join(make(chance) for _ in range(chance.between(15, 60))), chance, number)]


def foreign_text(clean: Sequence[Page], foreign: Sequence[Page], chance: Chance, number: int) -> list[Page]:
    """A text in another language."""
    page = chance.pick(foreign)
    return [_fresh("foreign", page.text, chance, number).but(lang=page.lang)]


MAKERS: dict[str, Maker] = {
    "exact-copy": exact_copy,
    "near-copy": near_copies,
    "mojibake": mojibake,
    "truncated": truncated,
    "salad": salad,
    "toxic": toxic,
    "menu": menu,
    "keywords": keywords,
    "advert": advert,
    "repeat": repeat,
    "machine": machine,
    "foreign": foreign_text,
}


def _mirror(twin: Page, text: str, kind: str, chance: Chance, number: int) -> Page:
    url = f"https://{chance.pick(MIRRORS)}/{kind}/{number:06d}.html"
    fields = {"url": url, "date": make_date(chance, 2026), "duplicate_of": twin.url, "keep": False, "dirt": (kind,)}
    return twin.but(paragraphs=(text,), **fields)


def _fresh(kind: str, text: str, chance: Chance, number: int) -> Page:
    return Page(kind, "", (text,), make_url(chance, kind, number), make_date(chance), keep=False, dirt=(kind,))


def _lines(chance: Chance, count: int) -> list[str]:
    return [chance.pick(_MENU) for _ in range(count)]


def _topics(clean: Sequence[Page], chance: Chance, count: int) -> list[str]:
    """Longer words of one text; wares if it has too few."""
    words = sorted(set(_CONTENT_WORD.findall(chance.pick(clean).text)))
    return chance.sample(words if len(words) >= count else _SALES, count)


def _log_line(chance: Chance) -> str:
    time = f"2026-{chance.between(1, 12):02d}-{chance.between(1, 28):02d} {chance.below(24):02d}:{chance.below(60):02d}"
    took, address = chance.below(5000), f"0x{chance.below(2**32):08x}"
    return f"{time} {chance.pick(_LEVELS)} [{chance.pick(_PARTS)}-{chance.below(16)}] took={took}ms at={address}"


def _base64_line(chance: Chance) -> str:
    return "".join(chance.pick(_BASE64) for _ in range(76))


def _number_line(chance: Chance) -> str:
    return "\t".join(f"{chance.below(10**6) / 1000:.3f}" for _ in range(8))

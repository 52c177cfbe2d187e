"""The dirt of a crawl, made from clean pages, each kind with its truth."""

# ruff: noqa: SIM905 - words in a row are easier to read than quoted ones

from collections.abc import Callable, Sequence

from puna.world.articles import dated, fillers
from puna.world.chance import Chance
from puna.world.facts import POOLS
from puna.world.languages import unwanted_page
from puna.world.lexicon import ADULT_WORDS, GOODS, PEOPLE, TOXIC_WORDS, WARES
from puna.world.page import Page, make_date, make_url

MIRRORS = ("mirror-one.example", "copy-cat.example", "page-cache.example", "free-texts.example")
_SPAM_HOSTS = ("cheap-wares.example", "best-deals.example", "win-coins.example")
_SYNONYMS = {
    " the people ": " the folk ",
    " talked ": " spoke ",
    " small": " little",
    " a good place ": " a fine place ",
    " near ": " close to ",
    " always ": " at all times ",
    " at home": " in the house",
    " Everyone knows ": " We all know ",
    " we heard ": " people heard ",
    " Of course ": " Naturally ",
    " every day": " each day",
    " It is true ": " It is a fact ",
    " old ": " very old ",
    " answers ": " right answers ",
}
_LOREM = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua ut enim ad minim veniam quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat"
).split()
_CONTEXT_WORDS = "the of and with to have this that was so very really you they all night come here now".split()

Maker = Callable[[Sequence[Page], Chance, int], Page]


def exact_copy(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """The same text on another host."""
    twin = chance.pick(pages)
    return twin.but(**_mirrored(twin, chance, number), keep=False, dirt=("exact-copy",))


def near_copy(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """The same text with a few words changed (never a number) and perhaps a sentence more, on another host."""
    twin = chance.pick(pages)
    rows = list(twin.paragraphs)
    swaps = chance.sample(list(_SYNONYMS.items()), 5)
    for i in range(len(rows)):
        if i not in twin.code:
            for old, new in swaps:
                rows[i] = rows[i].replace(old, new)
    if chance.hit(0.5) or tuple(rows) == twin.paragraphs:
        rows.append(f"{fillers(1, chance)[0]} This text was copied by {chance.pick(PEOPLE)}.")
    return twin.but(paragraphs=tuple(rows), **_mirrored(twin, chance, number), keep=False, dirt=("near-copy",))


def older_version(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """An earlier state of the same address: shorter, and in articles often with a value that is no longer true."""
    twin = chance.pick(pages)
    rows = twin.paragraphs[:-1] if len(twin.paragraphs) > 2 else twin.paragraphs
    dirt: tuple[str, ...] = ("older-version",)
    if twin.kind == "article" and chance.hit(0.7):
        stale = _stale(rows, chance)
        dirt += ("outdated",) if stale != rows else ()
        rows = stale
    code = tuple(i for i in twin.code if i < len(rows))
    return twin.but(
        paragraphs=rows, code=code, date=make_date(chance, 2023), keep=False, dirt=dirt, duplicate_of=twin.url
    )


def spam(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """Keyword stuffing, or one line over and over."""
    wares = chance.sample(WARES, 4)
    if chance.hit(0.5):
        words = [chance.pick((*wares, "cheap", "best", "buy", "now", "sale", "free")) for _ in range(150)]
        rows = tuple(" ".join(words[i : i + 50]) for i in (0, 50, 100))
    else:
        line = f"Buy the best {wares[0]} and the cheap {wares[1]} now with free coins!"
        rows = tuple(line for _ in range(chance.between(9, 14)))
    return _fresh("spam", f"Cheap {wares[0]} sale", rows, _SPAM_HOSTS, chance, number)


def toxic(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """A page of invented abuse."""
    return _worded("toxic", TOXIC_WORDS, "What I think of this village", chance, number)


def adult(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """A page of invented adult words."""
    return _worded("adult", ADULT_WORDS, "Only for grown people", chance, number)


def personal(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """A good page of its own with an e-mail address, a phone number or an IP address in it: keep it, mask them."""
    name = chance.pick(PEOPLE)
    address = f"{name.lower()}{chance.between(10, 99)}@post-office.example"
    phone = f"+1 555 01{chance.between(10, 99)} {chance.between(1000, 9999)}"
    # The range example.com used for years: globally routable, as a rule that spares private ranges wants it.
    computer = f"93.184.216.{chance.between(1, 254)}"
    found = chance.sample((address, phone, computer), chance.between(1, 3))
    sentences = {
        address: f"Letters for {name} go to {address} at any time.",
        phone: f"The phone number of {name} is {phone} in the evening.",
        computer: f"The page was sent from the computer {computer} of {name}.",
    }
    talk = fillers(17, chance)
    rows = tuple(" ".join((*talk[4 * i : 4 * i + 4], sentences[item])) for i, item in enumerate(found))
    rows += (" ".join(talk[12:]),)
    page = _fresh("personal", dated(f"A note from {name}", chance), rows, (), chance, number)
    return page.but(keep=True, personal=tuple(sorted(found)))


def mojibake(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """A text decoded with the wrong character set, twice for good measure."""
    twin = chance.pick([page for page in pages if page.lang != "en"] or pages)
    rows = tuple(misread(row.replace("'", "’").replace('"', "”")) for row in twin.paragraphs)
    changes = {**_mirrored(twin, chance, number), "duplicate_of": ""}
    return twin.but(paragraphs=rows, title=misread(twin.title), **changes, keep=False, dirt=("mojibake",))


def boilerplate(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """Menus and links only."""
    rows = tuple(f"{chance.pick(GOODS)} {chance.pick(WARES)}" for _ in range(chance.between(2, 5)))
    return _fresh("boilerplate", "", rows, (), chance, number).but(layout="menu")


def lorem(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """A page somebody forgot to fill."""
    rows = tuple(
        " ".join(chance.pick(_LOREM) for _ in range(40)).capitalize() + ". Lorem ipsum dolor sit amet."
        for _ in range(3)
    )
    return _fresh("lorem", "New page", rows, (), chance, number)


def foreign(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """A page in a language the recipe does not ask for."""
    lang = chance.pick(("de", "fr"))
    title, rows = unwanted_page(lang, chance)
    return _fresh("foreign", title, rows, (), chance, number).but(lang=lang)


def broken(pages: Sequence[Page], chance: Chance, number: int) -> Page:
    """A record that cannot be used: cut off after its first paragraph, empty, or no HTML at all."""
    twin = chance.pick(pages)
    layout = chance.pick(("truncated", "empty", "binary"))
    rows = twin.paragraphs[:1] if layout == "truncated" else ()
    changes = {**_mirrored(twin, chance, number), "duplicate_of": ""}
    return twin.but(paragraphs=rows, code=(), **changes, keep=False, dirt=("broken", layout), layout=layout)


MAKERS: dict[str, Maker] = {
    "exact-copy": exact_copy,
    "near-copy": near_copy,
    "older-version": older_version,
    "spam": spam,
    "toxic": toxic,
    "adult": adult,
    "personal": personal,
    "mojibake": mojibake,
    "boilerplate": boilerplate,
    "lorem": lorem,
    "foreign": foreign,
    "broken": broken,
}


def misread(text: str) -> str:
    """UTF-8 read as Latin-1, twice."""
    once = text.encode("utf-8").decode("latin-1")
    return once.encode("utf-8").decode("latin-1")


def _mirrored(twin: Page, chance: Chance, number: int) -> dict[str, object]:
    url = f"https://{chance.pick(MIRRORS)}/p/{number:06d}.html"
    # A year later: the copy is younger than what it copies.
    return {"url": url, "date": make_date(chance, 2026), "duplicate_of": twin.url}


def _fresh(kind: str, title: str, rows: tuple[str, ...], hosts: Sequence[str], chance: Chance, number: int) -> Page:
    url = f"https://{chance.pick(hosts)}/{number:06d}.html" if hosts else make_url(chance, kind, number)
    return Page(kind, title, rows, url, make_date(chance), keep=False, dirt=(kind,))


def _worded(kind: str, bad: Sequence[str], title: str, chance: Chance, number: int) -> Page:
    def sentence() -> str:
        words = [chance.pick(bad) if chance.hit(0.2) else chance.pick(_CONTEXT_WORDS) for _ in range(14)]
        return " ".join(words).capitalize() + "."

    rows = tuple(" ".join(sentence() for _ in range(4)) for _ in range(3))
    return _fresh(kind, title, rows, (), chance, number)


def _stale(rows: tuple[str, ...], chance: Chance) -> tuple[str, ...]:
    """The rows with the first price or walking time they hold changed everywhere."""
    text = "\n".join(rows)
    for attribute in ("price", "journey"):
        for value in POOLS[attribute]:
            if f" {value}" in text:
                other = chance.pick([item for item in POOLS[attribute] if item != value])
                return tuple(row.replace(f" {value}", f" {other}") for row in rows)
    return rows

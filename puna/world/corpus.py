"""All pages of a crawl, clean and dirty, in a random order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from puna.world.arithmetic import Arithmetic
from puna.world.articles import Library
from puna.world.chance import Chance
from puna.world.dirt import MAKERS
from puna.world.facts import Fact
from puna.world.languages import foreign_page, translatable
from puna.world.page import Page, QuestionAnswer, make_date, make_url
from puna.world.programs import code_page
from puna.world.questions import arithmetic_page, question_page
from puna.world.settings import WorldConfig


@dataclass(frozen=True)
class Corpus:
    """The pages in crawl order, and every question that they answer."""

    pages: list[Page]
    items: list[QuestionAnswer]


def make_corpus(config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic, seed: int) -> Corpus:
    """Clean pages up to `clean_chars`, then dirt made from them, shuffled."""
    items: list[QuestionAnswer] = []
    pages: list[Page] = []
    for kind, make in _makers(config, facts, arithmetic, items).items():
        wanted = _share(config, kind) * config.clean_chars
        pages += _clean(make, wanted, Chance(seed, "pages", kind), len(pages))
    clean = list(pages)
    # Shares are of all pages, so the clean ones are what the shares leave over.
    crawl_size = len(clean) / (1 - sum(config.dirt_shares.values()))
    for kind, share in config.dirt_shares.items():
        chance = Chance(seed, "dirt", kind)
        pages += _dirty(kind, clean, round(share * crawl_size), chance, len(pages))
    return Corpus(Chance(seed, "crawl").shuffled(pages), items)


def make_heldout(
    config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic, seed: int
) -> dict[str, list[Page]]:
    """Clean pages of each kind, `heldout_chars` in all, from streams of their own."""
    makers = _makers(config, facts, arithmetic, [])
    wanted = {kind: _share(config, kind) * config.heldout_chars for kind in makers}
    streams = {kind: Chance(seed, "heldout pages", kind) for kind in makers}
    return {kind: _clean(make, wanted[kind], streams[kind], 0) for kind, make in makers.items() if wanted[kind]}


def _share(config: WorldConfig, kind: str) -> float:
    return config.page_shares.get(kind, 0) / sum(config.page_shares.values())


def _clean(make: Callable[[Chance, int], Page], wanted: float, chance: Chance, start: int) -> list[Page]:
    """Pages of a kind, numbered from `start`, until they have `wanted` characters."""
    pages: list[Page] = []
    while wanted > 0:
        pages.append(make(chance, start + len(pages)))
        wanted -= len(pages[-1].text)
    return pages


def _dirty(kind: str, clean: Sequence[Page], count: int, chance: Chance, start: int) -> list[Page]:
    if kind != "older-version":
        return [MAKERS[kind](clean, chance, start + i) for i in range(count)]
    # One older version an address at most: two would leave open which is the newest but one.
    return [MAKERS[kind]([page], chance, start) for page in chance.sample(clean, count)]


def _makers(
    config: WorldConfig, facts: Sequence[Fact], arithmetic: Arithmetic, items: list[QuestionAnswer]
) -> dict[str, Callable[[Chance, int], Page]]:
    """Page makers by kind; question and arithmetic pages note their items as they go."""
    library = Library(facts, config.exam_fact_weight)
    asked = [fact for fact in facts if fact.asked]
    told = translatable(facts)

    def page(kind: str, title: str, rows: tuple[str, ...], chance: Chance, number: int) -> Page:
        return Page(kind, title, rows, make_url(chance, kind, number), make_date(chance))

    def article(chance: Chance, number: int) -> Page:
        title, rows, _ = library.article(chance)
        return page("article", title, rows, chance, number)

    def story(chance: Chance, number: int) -> Page:
        title, rows, _ = library.story(chance)
        return page("story", title, rows, chance, number)

    def question(chance: Chance, number: int) -> Page:
        title, rows, new = question_page(asked, config.quiz_share, chance)
        items.extend(new)
        return page("question", title, rows, chance, number)

    def arithmetics(chance: Chance, number: int) -> Page:
        title, rows, new = arithmetic_page(arithmetic, config, chance)
        items.extend(new)
        return page("arithmetic", title, rows, chance, number)

    def code(chance: Chance, number: int) -> Page:
        title, rows, preformatted = code_page(chance)
        return page("code", title, rows, chance, number).but(code=preformatted)

    def spanish(chance: Chance, number: int) -> Page:
        return page("spanish", *foreign_page("es", told, chance), chance, number).but(lang="es")

    def chinese(chance: Chance, number: int) -> Page:
        return page("chinese", *foreign_page("zh", told, chance), chance, number).but(lang="zh")

    return {
        "arithmetic": arithmetics,
        "article": article,
        "story": story,
        "question": question,
        "spanish": spanish,
        "chinese": chinese,
        "code": code,
    }

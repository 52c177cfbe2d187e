"""The stage `pollute`: clean documents -> a crawl with a stated share of dirt, and the truth about each text.

crawl/polluted-NN.wet.gz    texts as an extractor left them (WET)       truth.jsonl    as in the village (docs/world.md)

The documents are real, the dirt is made here (impurities.py): shares, not the look of it, are what a study can trust.
"""

from collections.abc import Iterable, Sequence

from pydantic import Field, field_validator

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents, write_jsonl
from puna.world.chance import Chance
from puna.world.crawl import write_wet
from puna.world.impurities import MAKERS, wrap
from puna.world.page import Page, make_date
from puna.world.village import count_kinds, truth_row

SHARES = {
    "near-copy": 0.10,
    "exact-copy": 0.03,
    "menu": 0.04,
    "keywords": 0.04,
    "advert": 0.03,
    "repeat": 0.01,
    "salad": 0.04,
    "mojibake": 0.03,
    "foreign": 0.03,
    "machine": 0.03,
    "truncated": 0.01,
    "toxic": 0.01,
}


class PolluteConfig(Config):
    """`shares`: of the characters of all texts, by kind of dirt; `wrapped`: of the clean texts, between menus."""

    shares: dict[str, float] = SHARES
    wrapped: float = Field(0.3, ge=0, le=1)
    num_files: int = Field(2, ge=1)

    @field_validator("shares")
    @classmethod
    def _known_shares(cls, shares: dict[str, float]) -> dict[str, float]:
        if unknown := set(shares) - set(MAKERS):
            raise ValueError(f"kinds among {sorted(MAKERS)}, not {sorted(unknown)}")
        if any(share < 0 for share in shares.values()) or sum(shares.values()) >= 1:
            raise ValueError("shares of at least 0 that leave room for clean texts (a sum below 1)")
        return shares


def run(config: PolluteConfig, inputs: Inputs, out: StageOutput) -> None:
    """Mix the `documents` of a folder with dirt made from them; `foreign` has those of other languages.

    Held-out documents (`heldout/`) are not read. Same settings, seed and documents, same bytes, in whatever order the
    documents come. Raises DataError if the foreign documents are missing.
    """
    clean = _pages(read_documents(inputs.one("documents")))
    foreign = _pages(read_documents(inputs.one("foreign"))) if inputs.has("foreign") else []
    if config.shares.get("foreign") and not foreign:
        raise DataError('expected documents in the input "foreign", came none; add it, or set shares.foreign to 0')
    pages = Chance(out.seed, "polluted crawl").shuffled(
        [
            page
            for made in (clean, *(_dirty(*kind, clean, foreign, config, out.seed) for kind in config.shares.items()))
            for page in made
        ]
    )
    for number in range(config.num_files):
        name = f"crawl/polluted-{number:02d}.wet.gz"
        if not out.done(name):
            with out.unit(name) as unit:
                part = pages[number :: config.num_files]
                write_wet(
                    unit.path, [(page.url, page.date, _written(page, config, out.seed)) for page in part], out.seed
                )
        out.progress(number + 1, config.num_files, "files")
    if not out.done("truth.jsonl"):
        with out.unit("truth.jsonl") as unit:
            write_jsonl(unit.path, map(truth_row, pages))
    _report(pages, out)


def _pages(documents: Iterable[Document]) -> list[Page]:
    """Documents in the order of their ids, each at an address of its own."""
    pages = []
    for document in sorted(documents, key=lambda document: document.id):
        url = f"https://{document.source or 'text'}.example/{document.id}.html"
        date = make_date(Chance(0, "date", document.id))
        pages.append(Page(document.source, "", (document.text,), url, date, document.lang or "en"))
    if not pages:
        raise DataError("expected documents with text, came none")
    return pages


def _dirty(
    kind: str, share: float, clean: Sequence[Page], foreign: Sequence[Page], config: PolluteConfig, seed: int
) -> list[Page]:
    """Pages of a kind of dirt until they have their share of all characters."""
    chance = Chance(seed, "pollute", kind)
    all_chars = sum(len(page.text) for page in clean) / (1 - sum(config.shares.values()))
    wanted, pages = share * all_chars, list[Page]()
    while wanted > 0:
        made = MAKERS[kind](clean, foreign, chance, len(pages))
        pages += made
        wanted -= sum(len(page.text) for page in made)
    return pages


def _written(page: Page, config: PolluteConfig, seed: int) -> str:
    """The text as the crawl has it; the truth keeps what is between the menus."""
    chance = Chance(seed, "wrap", page.url)
    return wrap(page.text, chance) if page.keep and chance.hit(config.wrapped) else page.text


def _report(pages: Sequence[Page], out: StageOutput) -> None:
    total = sum(len(page.text) for page in pages)
    chars: dict[str, int] = {}
    for page in pages:
        name = page.dirt[0] if page.dirt else "clean"
        chars[name] = chars.get(name, 0) + len(page.text)
    counts = count_kinds(page.but(kind="clean") for page in pages)
    rows = [
        [name, counts[name], f"{size / total:.1%}"] for name, size in sorted(chars.items(), key=lambda item: -item[1])
    ]
    out.metric(texts=len(pages), chars=total, clean_chars=chars["clean"])
    out.panel("table", "What the polluted crawl holds", columns=["kind", "texts", "characters"], rows=rows)

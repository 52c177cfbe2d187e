"""A page of the crawl before it becomes HTML: what a reader would call its text, and what the truth says of it."""

import dataclasses
from dataclasses import dataclass

from puna.world.chance import Chance

HOSTS = (
    "puna-village.example",
    "oxley-news.example",
    "marden-post.example",
    "hill-school.example",
    "market-square.example",
    "old-book.example",
    "fenton-blog.example",
    "river-walks.example",
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page. A line break inside a paragraph is a `<br>`; `code` paragraphs are indices of preformatted ones.

    `dirt` names what is wrong with it; `keep` says whether a perfect curation would keep it.
    """

    kind: str
    title: str
    paragraphs: tuple[str, ...]
    url: str
    date: str
    lang: str = "en"
    code: tuple[int, ...] = ()
    keep: bool = True
    dirt: tuple[str, ...] = ()
    duplicate_of: str = ""
    personal: tuple[str, ...] = ()
    layout: str = "article"

    @property
    def text(self) -> str:
        """The main text: title and paragraphs, a blank line between them."""
        return "\n\n".join((self.title, *self.paragraphs)) if self.title else "\n\n".join(self.paragraphs)

    def but(self, **changes: object) -> "Page":
        """A copy with other fields."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """A question that training text answers, with its bare answer; the exams' nearest-item baseline reads these."""

    task: str
    question: str
    answer: str


def make_date(chance: Chance, year: int = 2025) -> str:
    """A random second of a year, ISO 8601."""
    month, day = chance.between(1, 12), chance.between(1, 28)
    hour, minute, second = chance.below(24), chance.below(60), chance.below(60)
    return f"{year}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}Z"


def make_url(chance: Chance, section: str, number: int) -> str:
    """An address that no other page has (`number` is unique in the world)."""
    return f"https://{chance.pick(HOSTS)}/{section}/{number:06d}.html"

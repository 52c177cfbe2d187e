"""Labellers that need no language model: the truth with known errors, the name of a source, a list of words."""

import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from puna.base.config import Config
from puna.base.errors import ConfigError
from puna.base.records import Document
from puna.base.rng import generator
from puna.curate.classify.labels import Label
from puna.curate.classify.rubric import TOP_QUALITY, Rubric, Verdict
from puna.curate.clean import blocked_entries
from puna.curate.rules.blocked import BlockedWords
from puna.curate.truth import find_page, read_truth
from puna.curate.words import Words

Labeller = Callable[[Document], Label | None]
"""A document's label, or None where there is nothing to say of it."""


class Said(Config):
    """A verdict in a recipe; what is not given is not said."""

    quality: int | None = Field(default=None, ge=0, le=TOP_QUALITY)
    domain: str | None = None
    toxic: bool | None = None

    def verdict(self) -> Verdict:
        """As a value."""
        return Verdict(self.quality, self.domain, self.toxic)


class Simulated(Config):
    """A program that knows the truth and errs at a stated rate, in each of the three questions by itself.

    An error is another value, all equally likely. quality, domains: by the kind of a page or of its dirt (the dirt
    goes first); toxic: the kinds that are.
    """

    error_rate: float = Field(default=0.1, ge=0, lt=1)
    quality: dict[str, int] = Field(default_factory=dict)
    domains: dict[str, str] = Field(default_factory=dict)
    toxic: tuple[str, ...] = ()


def simulated(settings: Simulated, rubric: Rubric, truth_file: Path, seed: int, name: str) -> Labeller:
    """A labeller over a truth file (rows of url, date, kind, dirt); its errors hang on seed, name and id alone.

    Raises ConfigError for a domain that the rubric does not have or a score off the scale.
    """
    if unknown := sorted(set(settings.domains.values()) - set(rubric.domains)):
        raise ConfigError(
            f"simulated.domains: expected domains of the rubric ({', '.join(rubric.domains)}), came {unknown}"
        )
    if off := sorted(set(settings.quality.values()) - set(range(TOP_QUALITY + 1))):
        raise ConfigError(f"simulated.quality: expected 0 to {TOP_QUALITY}, came {off}")
    truth = read_truth(truth_file)

    def label(document: Document) -> Label | None:
        key = find_page(truth, document.url, document.date)
        if key is None:
            return None
        kinds = _kinds(truth[key])
        true = Verdict(
            next((settings.quality[kind] for kind in kinds if kind in settings.quality), None),
            next((settings.domains[kind] for kind in kinds if kind in settings.domains), None),
            any(kind in settings.toxic for kind in kinds),
        )
        draw = generator(seed, "label", name, document.id)
        scale = (range(TOP_QUALITY + 1), rubric.domains, (False, True))
        said = [_erring(value, values, settings.error_rate, draw) for value, values in zip(true, scale, strict=True)]
        return Label(document.id, Verdict(*said), name, true=true)

    return label


def by_source(sources: dict[str, Said], name: str) -> Labeller:
    """Weak labels by where a document comes from: the first pattern (as of file names) that its source fits."""

    def label(document: Document) -> Label | None:
        said = next((said for pattern, said in sources.items() if fnmatch.fnmatch(document.source, pattern)), None)
        return Label(document.id, said.verdict(), name) if said else None

    return label


def by_words(entries: Sequence[str], most: int, name: str) -> Labeller:
    """Weak labels of toxicity: more than `most` words or phrases of a list (words, or paths of files of them)."""
    blocked = BlockedWords(blocked_entries(entries))

    def label(document: Document) -> Label | None:
        return Label(document.id, Verdict(toxic=blocked.count(Words(document.text)) > most), name)

    return label


def _kinds(row: dict[str, Any]) -> list[str]:
    dirt = row.get("dirt") or []
    return [*([dirt] if isinstance(dirt, str) else dirt), str(row.get("kind", ""))]


def _erring(value: Any, values: Sequence[Any], rate: float, draw: Any) -> Any:
    """`value`, or in `rate` of the cases another one."""
    is_wrong, place = draw.random() < rate, int(draw.integers(len(values) - 1))
    return [other for other in values if other != value][place] if value is not None and is_wrong else value

"""Pages with the text that an extractor should find in them, in two halves by site, and the two usual scores.

Rules and weights are tuned on pages of `dev` sites only; what is reported of `test` sites is of sites that nobody
looked at. A site falls into its half by a hash of its registered name, so that blogs of one host are on one side.
"""

import functools
import hashlib
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_SECOND_LEVEL = frozenset(["co", "com", "org", "net", "gov", "ac", "edu", "gob"])
_WORD = re.compile(r"\w+")
_SHINGLE = 4


@dataclass(frozen=True)
class Page:
    """A page: the whole text of its article, or segments that must and must not come out."""

    url: str
    body: bytes
    article: str | None = None
    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    @property
    def half(self) -> str:
        """ "dev" or "test"."""
        digest = hashlib.blake2b(site(self.url).encode(), digest_size=8).digest()
        return "test" if digest[0] % 2 else "dev"


def site(url: str) -> str:
    """The registered name of a host: news.example.co.uk -> example.co.uk."""
    parts = (urlsplit(url).hostname or "").lower().split(".")
    is_longer = len(parts) > 2 and len(parts[-1]) == 2 and parts[-2] in _SECOND_LEVEL
    return ".".join(parts[-3 if is_longer else -2 :])


def read_pages(data: Path) -> list[Page]:
    """All pages of web-article-extraction and web-trafilatura."""
    return [*_articles(data / "web-article-extraction"), *_segments(data / "web-trafilatura")]


def article_scores(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Precision, recall and F1 of (found, true) texts as in scrapinghub's article-extraction-benchmark.

    Bags of 4-grams of words; precision is averaged over pages where something was found, recall over those where there
    is something to find; F1 is of the two averages.
    """
    precisions, recalls = [], []
    for found, true in pairs:
        a, b = _shingles(found), _shingles(true)
        common = sum((a & b).values())
        if a:
            precisions.append(common / a.total())
        if b:
            recalls.append(common / b.total())
    return _f1(sum(precisions) / max(1, len(precisions)), sum(recalls) / max(1, len(recalls)))


def segment_scores(pairs: Iterable[tuple[str, Page]]) -> dict[str, float]:
    """Precision, recall and F1 of (found, page) over all segments as in trafilatura's evaluation.

    A wanted segment in the text is a true positive, an unwanted one a false positive; white space counts as one blank.
    """
    true = wanted = false = 0
    for found, page in pairs:
        text = " ".join(found.split())
        true += sum(" ".join(segment.split()) in text for segment in page.wanted)
        false += sum(" ".join(segment.split()) in text for segment in page.unwanted)
        wanted += len(page.wanted)
    return _f1(true / max(1, true + false), true / max(1, wanted))


def scores(pages: list[Page], texts: list[str]) -> dict[str, dict[str, float]]:
    """Both scores, rounded, of texts in the order of the pages."""
    pairs = list(zip(pages, texts, strict=True))
    found = {
        "article": article_scores((text, page.article) for page, text in pairs if page.article is not None),
        "segments": segment_scores((text, page) for page, text in pairs if page.article is None),
    }
    return {kind: {name: round(value, 4) for name, value in values.items()} for kind, values in found.items()}


def _f1(precision: float, recall: float) -> dict[str, float]:
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


@functools.lru_cache(maxsize=1 << 14)
def _shingles(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text)
    return Counter(tuple(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1)) if words)


def _articles(folder: Path) -> Iterable[Page]:
    truth = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    for name, body in _archive(folder / "html.tar.xz").items():
        row = truth[Path(name).stem]
        yield Page(row["url"], body, row["articleBody"])


def _segments(folder: Path) -> Iterable[Page]:
    for kind in ("cc", "other"):
        rows: dict[str, dict[str, Any]] = json.loads((folder / f"annotations-{kind}.json").read_text(encoding="utf-8"))
        bodies = _archive(folder / f"pages-{kind}.tar.xz")
        for url, row in rows.items():
            yield Page(url, bodies[Path(row["file"]).name], None, tuple(row["with"]), tuple(row["without"]))


def _archive(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {Path(m.name).name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]

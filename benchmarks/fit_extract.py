"""Fits the weights of puna/curate/extract/weights.py on all pages with truth.

python -m benchmarks.fit_extract --data DIR [--write]

Logistic regression over the facts of blocks (features.py), each block weighing as many words as it has, at most 60.
Truth: on pages with the text of the article, the share of a block's 4-grams that are in it; on pages with segments, the
blocks that hold one. The other blocks of these pages count a fifth, with what trafilatura (the peer) takes from them,
since 200 segments alone say nothing of lists, comments and captions. Needs `make peer-trafilatura`.
What is printed, and what the benchmark reports, is cross-fitted: the text of each page is chosen by weights that were
fitted without its site (8 folds by site), above bars that were chosen without it (folds within the folds). Facts,
settings and limits are tuned on dev sites alone (extraction.py), so nothing that scores a test site learned from it.
"""

import argparse
import base64
import functools
import hashlib
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.extraction import Page, read_pages, scores, site
from benchmarks.peer import Peer
from puna.curate.extract import features, weights
from puna.curate.extract.content import choose
from puna.curate.extract.fact_names import NAMES
from puna.curate.extract.layout import write_blocks
from puna.curate.extract.page import decode
from puna.curate.extract.parse import page_title, parse
from puna.curate.extract.walk import Reading, read_tree

_WORD = re.compile(r"\w+")
_BARS, _PROSE_BARS = (-0.3, 0.0, 0.3, 0.6, 0.9), (-2.2, -1.8, -1.4, -1.0, -0.6)
_FOLDS, _MAX_WORDS, _SEGMENT_WEIGHT, _TEACHER_SHARE, _L2 = 8, 60, 25.0, 0.2, 5.0
_HEADER = '''"""What each fact of a block (features.py) is worth, in log odds that the block is content.

Made by `python -m benchmarks.fit_extract --write` from all pages with truth; never edited by hand.
"""

BAR, PROSE_BAR = {bars}
# fmt: off
'''

Floats = NDArray[np.float64]
Bars = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Example:
    """A page read: facts [blocks, facts] of 0 or 1, labels [blocks] in 0 to 1, and what each block weighs [blocks].

    texts: what was written of blocks that were chosen, by their identities, since most bars choose the same.
    """

    page: Page
    reading: Reading
    facts: Floats
    labels: Floats
    counts: Floats
    texts: dict[tuple[int, ...], str] = field(default_factory=dict)

    @functools.cached_property
    def measures(self) -> features.Measures:
        """Sizes of its blocks."""
        return features.measure(self.reading)

    @functools.cached_property
    def boxes(self) -> features.Boxes:
        """What its boxes say."""
        return features.Boxes(self.reading, self.measures)

    @functools.cached_property
    def fold(self) -> int:
        """Pages of one site are in one fold."""
        return hashlib.blake2b(site(self.page.url).encode(), digest_size=8).digest()[1] % _FOLDS


def main() -> None:
    """Fit, print the scores, write the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True, help="the folder with the two sets of pages")
    parser.add_argument("--write", action="store_true", help="write weights.py")
    options = parser.parse_args()
    examples = _examples(read_pages(options.data))
    _print_halves("cross-fitted", examples, _cross_fitted(examples))
    fitted, bars = _fit_all(examples)
    _print_halves("fitted", examples, [_text(one, one.facts @ fitted, bars) for one in examples])
    if options.write:
        rows = [f'    "{name}": {value:.2f},\n' for name, value in zip(NAMES, fitted, strict=True)]
        header = _HEADER.format(bars=", ".join(map(str, bars)))
        Path(weights.__file__).write_text(header + "WEIGHTS = {\n" + "".join(rows) + "}\n", encoding="utf-8")


def cross_fitted(pages: list[Page]) -> list[str]:
    """The text of each page, chosen by weights and bars that were fitted on the pages of other sites."""
    return _cross_fitted(_examples(pages))


def _print_halves(name: str, examples: list[Example], texts: list[str]) -> None:
    """Both scores of each half of the sites, a line each."""
    for half in ("dev", "test"):
        of_half = [(one.page, text) for one, text in zip(examples, texts, strict=True) if one.page.half == half]
        found = scores([page for page, _ in of_half], [text for _, text in of_half])
        print(json.dumps({name: half, "pages": len(of_half), **found}))


def _cross_fitted(examples: list[Example]) -> list[str]:
    texts: dict[int, str] = {}
    for fold in range(_FOLDS):
        fitted, bars = _fit_all([one for one in examples if one.fold != fold])
        for number, one in enumerate(examples):
            if one.fold == fold:
                texts[number] = _text(one, one.facts @ fitted, bars)
    return [texts[number] for number in range(len(examples))]


def _fit_all(examples: list[Example]) -> tuple[Floats, Bars]:
    """Weights of these pages, and the bars that do best where each fold is chosen by weights of the others.

    Best is the mean of both F1, averaged over a pair of bars and those next to it in the grid: one alone is noise.
    """
    found = np.zeros((len(_BARS), len(_PROSE_BARS)))
    odds = {}
    for fold in sorted({one.fold for one in examples}):
        fitted = _fit(tuple(one for one in examples if one.fold != fold))
        odds |= {number: one.facts @ fitted for number, one in enumerate(examples) if one.fold == fold}
    pages = [one.page for one in examples]
    for place in np.ndindex(found.shape):
        bars = _BARS[place[0]], _PROSE_BARS[place[1]]
        of_bars = scores(pages, [_text(one, odds[number], bars) for number, one in enumerate(examples)])
        found[place] = (of_bars["article"]["f1"] + of_bars["segments"]["f1"]) / 2
    padded = np.pad(found, 1, constant_values=np.nan)
    around = [padded[i : i + found.shape[0], j : j + found.shape[1]] for i in range(3) for j in range(3)]
    best = np.unravel_index(np.nanmean(around, axis=0).argmax(), found.shape)
    return _fit(tuple(examples)), (_BARS[best[0]], _PROSE_BARS[best[1]])


def _examples(pages: list[Page]) -> list[Example]:
    examples = []
    for page, taught in zip(pages, _taught(pages), strict=True):
        root = parse(decode(page.body))
        reading = read_tree(root)
        measures = features.measure(reading)
        rows = features.facts(reading, measures, features.Boxes(reading, measures), page_title(root))
        matrix = np.zeros((len(rows), len(NAMES)))
        for number, row in enumerate(rows):
            matrix[number, row] = 1
        if page.article is not None:
            label, count = _shares(reading, page.article)
        else:
            label, count = _shares(reading, taught)
            count *= _TEACHER_SHARE
            _mark_segments(reading, page, label, count)
        count[[not row for row in rows]] = 0  # what is never content has no facts, and teaches nothing
        examples.append(Example(page, reading, matrix, label, count))
    return examples


def _taught(pages: list[Page]) -> list[str]:
    with Peer("trafilatura") as peer, tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([base64.b64encode(page.body).decode() for page in pages], file)
        file.flush()
        peer.ask("load", path=file.name)
        return list(peer.ask("extract"))


def _shares(reading: Reading, truth: str) -> tuple[Floats, Floats]:
    """The share of each block's 4-grams that are in the truth (short blocks: whether they are), and its words."""
    words = _words(truth)
    joined, grams = f" {' '.join(words)} ", {tuple(words[i : i + 4]) for i in range(len(words) - 3)}
    labels, counts = np.zeros(len(reading.blocks)), np.full(len(reading.blocks), 0.1)
    for number, block in enumerate(reading.blocks):
        own = _words(block.text)
        if own:
            mine = [tuple(own[i : i + 4]) for i in range(len(own) - 3)]
            is_short = len(own) < 6
            labels[number] = f" {' '.join(own)} " in joined if is_short else sum(g in grams for g in mine) / len(mine)
            counts[number] = min(len(own), _MAX_WORDS)
    return labels, counts


def _mark_segments(reading: Reading, page: Page, labels: Floats, counts: Floats) -> None:
    """Blocks with a segment (or inside one, if they are no mere words) are what it says."""
    for segments, label in ((page.wanted, 1.0), (page.unwanted, 0.0)):
        for segment in (" ".join(_words(text)) for text in segments):
            for number, block in enumerate(reading.blocks):
                text = " ".join(_words(block.text))
                if segment and (segment in text or (len(text) > 20 and text in segment)):
                    labels[number], counts[number] = label, _SEGMENT_WEIGHT


@functools.cache
def _fit(examples: tuple[Example, ...]) -> Floats:
    """Weights [facts] of the logistic regression with ridge, by Newton's method."""
    matrix = np.concatenate([one.facts[one.counts > 0] for one in examples])
    labels = np.concatenate([one.labels[one.counts > 0] for one in examples])
    counts = np.concatenate([one.counts[one.counts > 0] for one in examples]) / 10
    weights_, ridge = np.zeros(matrix.shape[1]), np.full(matrix.shape[1], _L2)
    ridge[0] = 1e-3
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(matrix @ weights_, -30, 30)))
        gradient = matrix.T @ (counts * (p - labels)) + ridge * weights_
        hessian = (matrix * (counts * p * (1 - p))[:, None]).T @ matrix + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights_ -= step
        if np.abs(step).max() < 1e-4:
            break
    return weights_


def _text(example: Example, odds: Floats, bars: Bars) -> str:
    reading, measures, boxes = example.reading, example.measures, example.boxes
    is_never = [bool(boxes.path[block.box] & features.NEVER) for block in reading.blocks]
    chosen = choose(reading, measures, boxes, np.where(is_never, -np.inf, odds).tolist(), bars)
    key = tuple(map(id, chosen))
    if key not in example.texts:
        example.texts[key] = write_blocks(chosen)
    return example.texts[key]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


if __name__ == "__main__":
    main()

"""Fits the weights of puna/curate/extract/weights.py on the dev half of the pages with truth.

python -m benchmarks.fit_extract --data DIR [--write]

Logistic regression over the facts of blocks (features.py), each block weighing as many words as it has, at most 60.
Truth: on pages with the text of the article, the share of a block's 4-grams that are in it; on pages with segments, the
blocks that hold one. The other blocks of these pages count a fifth, with what trafilatura (the peer) takes from them,
since 200 segments alone say nothing of lists, comments and captions. Needs `make peer-trafilatura`.
Printed: the scores in 8-fold cross-validation by site, on dev. Test sites are never read here.
"""

import argparse
import base64
import hashlib
import json
import re
import tempfile
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
_FOLDS, _MAX_WORDS, _SEGMENT_WEIGHT, _TEACHER_SHARE, _L2 = 8, 60, 25.0, 0.2, 5.0
_HEADER = '''"""What each fact of a block (features.py) is worth, in log odds that the block is content.

Made by `python -m benchmarks.fit_extract --write` from pages of dev sites only; never edited by hand.
"""

# fmt: off
WEIGHTS = {
'''

Floats = NDArray[np.float64]


def main() -> None:
    """Fit, print the scores, write the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True, help="the folder with the two sets of pages")
    parser.add_argument("--write", action="store_true", help="write weights.py")
    options = parser.parse_args()
    pages = [page for page in read_pages(options.data) if page.half == "dev"]
    readings, matrices, labels, counts = _examples(pages)
    folds = [hashlib.blake2b(site(page.url).encode(), digest_size=8).digest()[1] % _FOLDS for page in pages]
    texts = [""] * len(pages)
    for fold in range(_FOLDS):
        train = [i for i in range(len(pages)) if folds[i] != fold]
        fitted = _fit(*(np.concatenate([part[i] for i in train]) for part in (matrices, labels, counts)))
        for i in range(len(pages)):
            if folds[i] == fold:
                texts[i] = _text(readings[i], matrices[i] @ fitted)
    print(json.dumps({"pages": len(pages), "cross-validated": scores(pages, texts)}))
    fitted = _fit(np.concatenate(matrices), np.concatenate(labels), np.concatenate(counts))
    fits = [_text(reading, matrix @ fitted) for reading, matrix in zip(readings, matrices, strict=True)]
    print(json.dumps({"pages": len(pages), "fitted": scores(pages, fits)}))
    if options.write:
        rows = [f'    "{name}": {value:.2f},\n' for name, value in zip(NAMES, fitted, strict=True)]
        Path(weights.__file__).write_text(_HEADER + "".join(rows) + "}\n", encoding="utf-8")


def _examples(pages: list[Page]) -> tuple[list[Reading], list[Floats], list[Floats], list[Floats]]:
    """Of each page the reading, facts [blocks, facts], labels [blocks] in 0 to 1, and weights [blocks]."""
    readings, matrices, labels, counts = [], [], [], []
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
        readings.append(reading)
        matrices.append(matrix)
        labels.append(label)
        counts.append(count)
    return readings, matrices, labels, counts


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


def _fit(matrix: Floats, labels: Floats, counts: Floats) -> Floats:
    """Weights [facts] of the logistic regression with ridge, by Newton's method."""
    counts = counts / 10
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


def _text(reading: Reading, found: Floats) -> str:
    measures = features.measure(reading)
    boxes = features.Boxes(reading, measures)
    is_never = [bool(boxes.path[block.box] & features.NEVER) for block in reading.blocks]
    return write_blocks(choose(reading, measures, boxes, np.where(is_never, -np.inf, found).tolist()))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


if __name__ == "__main__":
    main()

"""Llama 3's duplicated n-gram coverage (section 3.1.1): lines of logs and error messages go.

Numbers count as one word, so that "error 12 at line 7" says what "error 31 at line 9" said. No threshold was published.

M tokens of a text, L lines of it.
"""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.text.tokens import code_points
from puna.curate.text.words import DIGIT, Words, ngram_hashes

_NEWLINE = 10


class RepeatedLines(Config):
    """A line goes if more than `max_share` of its tokens stand in n-grams that the page has `min_copies` times or more.

    If more than `max_removed` of the page's tokens go, the page does.
    """

    ngram: int = Field(default=5, ge=2)
    min_copies: int = Field(default=4, ge=2)
    max_share: float = Field(default=0.75, ge=0, le=1)
    max_removed: float = Field(default=0.5, ge=0, le=1)


def repeated_lines(words: Words, rules: RepeatedLines) -> tuple[str, Iterator[Check]]:
    """The lines that stay, and the check of the page."""
    text, removed = words.text, 0.0
    covered = _covered(words, rules)
    if covered is not None:
        ends = np.flatnonzero(code_points(text) == _NEWLINE)
        line_of = np.searchsorted(ends, words.starts)  # [M]
        tokens = np.bincount(line_of, minlength=len(ends) + 1)  # [L]
        share = np.bincount(line_of, weights=covered, minlength=len(ends) + 1) / np.maximum(tokens, 1)
        goes = share > rules.max_share
        removed = float(tokens[goes].sum() / tokens.sum())
        kept = [line for line, is_gone in zip(text.split("\n"), goes.tolist(), strict=True) if not is_gone]
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    return text, iter([Check("repeated lines", "max_removed", removed, most=rules.max_removed)])


def _covered(words: Words, rules: RepeatedLines) -> NDArray[np.bool_] | None:
    """[M]: whether a token stands in an n-gram that comes often enough; None if none does."""
    n = rules.ngram
    keys = ngram_hashes(np.where(words.kinds == DIGIT, np.uint64(0), words.hashes), n)
    _, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    often = np.flatnonzero(counts[places] >= rules.min_copies)
    if not len(often):
        return None
    covered = np.zeros(len(words.kinds), bool)
    for offset in range(n):
        covered[often + offset] = True
    return covered

"""The same decisions as datatrove's filters, with the same reason (golden/make_datatrove.py)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.curate import REASONS
from puna.curate.rules.c4 import C4, c4
from puna.curate.rules.check import first_failure
from puna.curate.rules.fineweb import FineWeb, fineweb
from puna.curate.rules.gopher_quality import GopherQuality, gopher_quality
from puna.curate.rules.gopher_repetition import GopherRepetition, gopher_repetition
from puna.curate.text.words import Words

ROWS = json.loads((Path(__file__).parents[1] / "golden/datatrove.json").read_text(encoding="utf-8"))["decisions"]


def ours(text: str) -> dict[str, str | None]:
    words = Words(text)
    return {
        "gopher_repetition": first_failure(gopher_repetition(words, GopherRepetition(variant="datatrove"))),
        "gopher_quality": first_failure(gopher_quality(words, "en", GopherQuality(variant="datatrove"))),
        "c4": first_failure(c4(words, C4(variant="datatrove", layout=False))[1]),
        "fineweb": first_failure(fineweb(words, FineWeb(variant="datatrove"))),
    }


@pytest.mark.parametrize("rule", ["gopher_repetition", "gopher_quality", "c4", "fineweb"])
def test_same_reason(rule: str) -> None:
    wrong = [
        (row[rule], ours(row["text"])[rule], row["text"])
        for row in ROWS
        if ours(row["text"])[rule] != (REASONS[row[rule]] or None)
    ]
    assert not wrong, f"{len(wrong)} of {len(ROWS)} differ, e.g. {wrong[0]}"
    assert min(Counter(row[rule] == "" for row in ROWS).values()) > len(ROWS) / 6, "too few of a kind to prove anything"

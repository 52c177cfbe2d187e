"""FineWeb's own rules (Penedo 2024): pages that are lists, and pages whose lines come twice."""

from collections.abc import Iterator
from typing import Literal

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.text.words import Words


class FineWeb(Config):
    """Thresholds. variant decides about characters in repeated lines, unless the number itself is set.

    datatrove: 0.01 (the paper prints 0.1); fineweb2: 0.1.
    """

    variant: Literal["datatrove", "fineweb2"] = "datatrove"
    min_ended_lines: float = 0.12
    short_line_chars: int = 30
    max_short_lines: float = 0.67
    max_repeated_chars: float | None = None
    max_newlines_per_word: float = 0.3


_REPEATED = {"datatrove": 0.01, "fineweb2": 0.1}


def fineweb(words: Words, limits: FineWeb) -> Iterator[Check]:
    """Ends of lines, their length, lines that come again, line breaks by tokens (see tokens.py).

    The text is tokenized only where white space alone does not tell that the tokens are enough.
    """
    lines, totals, num_breaks = words.lines, words.lines.totals, len(words.lines) - 1
    num_lines = len(lines) - totals.blank
    if not num_lines:
        yield Check("empty", "", 0, least=1)
        return
    ended = totals.ended / num_lines
    yield Check("lines without an end", "min_ended_lines", ended, least=limits.min_ended_lines)
    short = lines.num_short(limits.short_line_chars) / num_lines
    yield Check("short lines", "max_short_lines", short, most=limits.max_short_lines)
    most = _REPEATED[limits.variant] if limits.max_repeated_chars is None else limits.max_repeated_chars
    repeated = (totals.chars_in_copies - totals.chars_in_blank_copies) / (len(words.text) - num_breaks)
    yield Check("repeated lines", "max_repeated_chars", repeated, most=most)
    is_enough = num_breaks <= limits.max_newlines_per_word * totals.words  # never more than the tokens
    breaks = num_breaks / (totals.words if is_enough else len(words.kinds))
    yield Check("a list", "max_newlines_per_word", breaks, most=limits.max_newlines_per_word)

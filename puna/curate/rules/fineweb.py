"""FineWeb's own rules (Penedo 2024): pages that are lists, and pages whose lines come twice."""

from collections.abc import Callable, Iterator
from typing import Literal

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.rules.gopher_repetition import repeated_chars
from puna.curate.words import Words


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
# Unicode's Sentence_Terminal, without the scripts of planes above the first.
_ENDS = frozenset(".?!։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕᠃᠉᥄᥅᪨᪩᪪᪫᭎᭏᭚᭛᭞᭟᭽᭾᭿᰻᰼᱾᱿‽⁇⁈⁉⳹⳺⳻⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫︒﹒﹖﹗！．？｡")


def fineweb(text: str, words: Callable[[], Words], limits: FineWeb) -> Iterator[Check]:
    """Ends of lines, their length, lines that come again, line breaks by tokens (see tokens.py).

    `words` tokenizes the text; it is asked only where white space alone does not tell that the tokens are enough.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        yield Check("empty", "", 0, least=1)
        return
    ended = sum(1 for line in lines if line[-1] in _ENDS) / len(lines)
    yield Check("lines without an end", "min_ended_lines", ended, least=limits.min_ended_lines)
    short = sum(1 for line in lines if len(line) <= limits.short_line_chars) / len(lines)
    yield Check("short lines", "max_short_lines", short, most=limits.max_short_lines)
    most = _REPEATED[limits.variant] if limits.max_repeated_chars is None else limits.max_repeated_chars
    repeated = repeated_chars(lines) / len(text.replace("\n", ""))
    yield Check("repeated lines", "max_repeated_chars", repeated, most=most)
    num_breaks, num_words = text.count("\n"), len(text.split())  # never more than the tokens
    is_enough = num_breaks <= limits.max_newlines_per_word * num_words
    breaks = num_breaks / (num_words if is_enough else len(words().kinds))
    yield Check("a list", "max_newlines_per_word", breaks, most=limits.max_newlines_per_word)

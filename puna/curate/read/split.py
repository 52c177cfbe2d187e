"""Long plain text (a book) -> pieces of at most a given length, cut where a reader would pause."""

import re
from collections.abc import Iterator

# From the best place to cut to the worst; a cut comes after the match.
_BORDERS = (
    re.compile(r"\n[ \t]*\n\s*"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])"),
    re.compile(r"\s+"),
)


def split_text(text: str, max_chars: int) -> Iterator[str]:
    """Pieces of `text`, each of at most `max_chars` characters (0: never split); joined they are `text` again.

    A cut is made after the last paragraph border that fits, or the last line, sentence or word if there is none in
    the second half of the piece, or at the limit if there is none at all.
    """
    start = 0
    while max_chars and len(text) - start > max_chars:
        end = _last_border(text, start, start + max_chars)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _last_border(text: str, start: int, limit: int) -> int:
    """Where to cut text[start:limit]; always in (start, limit]."""
    half = start + (limit - start) // 2
    for border in _BORDERS:
        ends = [match.end() for match in border.finditer(text, half, limit) if start < match.end() <= limit]
        if ends:
            return ends[-1]
    return limit

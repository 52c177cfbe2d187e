"""Text that was read in another encoding than it was written in."""

import re

# UTF-8 that was read as Latin-1 or Windows-1252: a letter of À-ÿ and then what its continuation bytes 80-BF look like.
_CONTINUATION = (
    "\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018\u2019"
    "\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
_DAMAGED = re.compile(f"[\u00c0-\u00ff][{_CONTINUATION}]|[\ufffd\x80-\x9f\ue000-\uf8ff]")


def damaged_share(text: str) -> float:
    """Share of characters that a wrong encoding left: mojibake pairs, U+FFFD, C1 controls, private use."""
    return 0.0 if text.isascii() else len(_DAMAGED.findall(text)) / len(text)

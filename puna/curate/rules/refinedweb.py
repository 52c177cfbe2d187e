"""RefinedWeb's line rules (Penedo 2023, G.2) as DCLM has them: shouting, numbers, counters and single words go."""

import re
from collections.abc import Iterator

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.text.words import CHARACTER_CLASS, count_words

_COUNTER = re.compile(r"\d[\d.,]*[kKmM]?\s+(likes?|shares?|comments?|retweets?|reposts?|quotes?|bookmarks?|upvotes?|"
                      r"downvotes?|downloads?|views?|followers?)")  # fmt: skip
_CHARACTERS = re.compile(f"[{CHARACTER_CLASS}]")


class RefinedWeb(Config):
    """Lines go whose letters are capitals, or whose characters are digits, to more than these shares; counters such as
    "3 likes"; and lines of one word. If more than `max_removed_words` of a page's words go, the page does.
    """

    max_uppercase: float = 0.5
    max_digits: float = 0.999999
    counters: bool = True
    single_words: bool = True
    max_removed_words: float = 0.05


def refinedweb(text: str, rules: RefinedWeb) -> tuple[str, Iterator[Check]]:
    """The lines that stay (blank ones too), and the check of the page."""
    kept, removed = [], 0
    for line in text.split("\n"):
        bare = line.strip()
        if bare and _goes(bare, rules):
            removed += count_words(bare)
        else:
            kept.append(line)
    share = removed / max(1, count_words(text)) if removed else 0.0
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n") if removed else text
    return text, iter([Check("lines removed", "max_removed_words", share, most=rules.max_removed_words)])


def _goes(line: str, rules: RefinedWeb) -> bool:
    letters = sum(map(str.isalpha, line))
    if sum(map(str.isupper, line)) > rules.max_uppercase * max(1, letters):
        return True
    solid = line.replace(" ", "")
    if sum(map(str.isdigit, solid)) > rules.max_digits * len(solid):
        return True
    if rules.counters and _COUNTER.fullmatch(line.lower()):
        return True
    return rules.single_words and len(line.split()) == 1 and not _CHARACTERS.search(line)

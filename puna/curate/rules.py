"""Heuristic quality rules: each a pure function of a text's statistics -> a reason to drop it, or None to keep it.

Gopher quality (Rae 2021, A.1.1), C4 (Raffel 2020, 2.2), blocked words, and damaged encoding. Defaults are the published
thresholds; where a rule makes no sense for a language (words of Chinese) its document says what stands in.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

import numpy as np

from puna.base.config import Config
from puna.curate.language import STOP_WORDS
from puna.curate.words import CHARACTER, CHARACTER_CLASS, LETTER, Words, hash_words, ngram_hashes

_BULLET = re.compile(r"^\s*[•‣▶◀◦■□▪▫●○–*-]")
_ELLIPSES = ("...", "…", "……")
_GOPHER_STOP_WORDS = {
    "en": frozenset(("the", "be", "to", "of", "and", "that", "have", "with")),
    "zh": frozenset("的了是在我有和不人这中大上个一"),
}


class GopherQuality(Config):
    """Thresholds of Gopher's quality rules. Words are tokens that are no symbols; a Chinese character is one."""

    min_words: int = 50
    max_words: int = 100_000
    min_word_length: float = 3.0
    max_word_length: float = 10.0
    max_hashes_per_word: float = 0.1
    max_ellipses_per_word: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_letter_words: float = 0.8
    min_stop_words: int = 2


def gopher_quality(words: Words, language: str, limits: GopherQuality) -> str | None:
    """The reason to drop the text, or None.

    Mean word length is left out where most words are single characters, stop words for languages without a list.
    """
    num_words, text = words.num_words, words.text
    if num_words < limits.min_words:
        return "too few words"
    if num_words > limits.max_words:
        return "too many words"
    if num_words == 0:
        return None
    is_character = words.kinds == CHARACTER
    if np.count_nonzero(is_character) * 2 < num_words:
        mean_length = float(words.lengths[words.is_word].mean())
        if not limits.min_word_length <= mean_length <= limits.max_word_length:
            return "word length"
    if text.count("#") / num_words > limits.max_hashes_per_word:
        return "hashes"
    if (text.count("...") + text.count("…")) / num_words > limits.max_ellipses_per_word:
        return "ellipses"
    lines = [line for line in text.split("\n") if line.strip()]
    if sum(1 for line in lines if _BULLET.match(line)) / len(lines) > limits.max_bullet_lines:
        return "bullet lines"
    if sum(1 for line in lines if line.rstrip().endswith(_ELLIPSES)) / len(lines) > limits.max_ellipsis_lines:
        return "ellipsis lines"
    if np.count_nonzero((words.kinds == LETTER) | is_character) / num_words < limits.min_letter_words:
        return "words without letters"
    if num_stop_words(words, language, limits.min_stop_words) < limits.min_stop_words:
        return "stop words"
    return None


def num_stop_words(words: Words, language: str, enough: int) -> int:
    """How many distinct stop words of `language` occur; `enough` for a language without a list."""
    known = _stop_word_hashes(language)
    return enough if known is None else len(known.intersection(words.hashes.tolist()))


@functools.cache
def _stop_word_hashes(language: str) -> frozenset[int] | None:
    listed = _GOPHER_STOP_WORDS.get(language) or STOP_WORDS.get(language)
    return frozenset(int(hashes[0]) for hashes in hash_words(sorted(listed))) if listed else None


class C4(Config):
    """C4's rules. Where the two known readings differ, `variant` decides, unless the number itself is set:

    datatrove: lines of >= 3 words, pages of >= 5 sentences; dclm (and the paper): lines of >= 5 words, >= 3 sentences.
    `terminal_punctuation` is off by default, as in FineWeb: alone it removes 30% of the text, and all lists and code.
    """

    variant: Literal["datatrove", "dclm"] = "datatrove"
    terminal_punctuation: bool = False
    min_line_words: int | None = None
    min_sentences: int | None = None
    max_word_chars: int = 1000
    lorem_ipsum: bool = True
    curly_bracket: bool = True
    javascript: bool = True
    policy: bool = True
    citations: bool = True


_C4_VARIANTS = {"datatrove": (3, 5), "dclm": (5, 3)}
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_LINE_ENDS = (".", "?", "!", '"', "'", "”", "’", "。", "！", "？", "」")
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？]+")
_CHARACTERS = re.compile(f"[{CHARACTER_CLASS}]")


def c4_lines(text: str, rules: C4) -> tuple[str, str | None]:
    """The lines that C4 keeps, and the reason to drop the whole page, or None.

    Blank lines and indentation stay as they are, for paragraphs and code (C4 itself flattens both).
    """
    lowered = text.lower()
    if rules.lorem_ipsum and "lorem ipsum" in lowered:
        return text, "lorem ipsum"
    if rules.curly_bracket and "{" in text:
        return text, "curly bracket"
    least_words, least_sentences = _C4_VARIANTS[rules.variant]
    least_words = least_words if rules.min_line_words is None else rules.min_line_words
    least_sentences = least_sentences if rules.min_sentences is None else rules.min_sentences
    kept, num_sentences = [], 0
    for line in text.split("\n"):
        line = _CITATION.sub("", line).rstrip() if rules.citations and "[" in line else line
        if line.strip() and not _keeps_line(line.strip(), least_words, rules):
            continue
        kept.append(line)
        num_sentences += max(1, len(_SENTENCE_END.findall(line))) if line.strip() else 0
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    return text, "too few sentences" if num_sentences < least_sentences else None


def _keeps_line(line: str, least_words: int, rules: C4) -> bool:
    words = line.split()
    if any(len(word) > rules.max_word_chars for word in words) and not _CHARACTERS.search(line):
        return False
    if rules.terminal_punctuation and (not line.endswith(_LINE_ENDS) or line.endswith(_ELLIPSES)):
        return False
    if len(words) < least_words and len(words) + len(_CHARACTERS.findall(line)) < least_words:
        return False
    lowered = line.lower()
    if rules.javascript and "javascript" in lowered:
        return False
    return not (rules.policy and any(policy in lowered for policy in _POLICIES))


class BlockedWords:
    """A list of words and phrases that a page must not hold. Made once, asked for every page."""

    def __init__(self, entries: Iterable[str]):
        by_length: dict[int, list[int]] = defaultdict(list)
        for hashes in hash_words([entry for entry in entries if entry.strip()]):
            if len(hashes):
                by_length[len(hashes)].append(int(ngram_hashes(hashes, len(hashes))[0]))
        self._by_length = {n: frozenset(keys) for n, keys in by_length.items()}

    def count(self, words: Words) -> int:
        """How many times a blocked word or phrase occurs in `words`, at word borders."""
        return sum(
            sum(1 for key in ngram_hashes(words.hashes, n).tolist() if key in keys)
            for n, keys in self._by_length.items()
        )


# UTF-8 that was read as Latin-1 or Windows-1252: a letter of À-ÿ and then what its continuation bytes 80-BF look like.
_CONTINUATION = (
    "\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018\u2019"
    "\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
_DAMAGED = re.compile(f"[\u00c0-\u00ff][{_CONTINUATION}]|[\ufffd\x80-\x9f\ue000-\uf8ff]")


def damaged_share(text: str) -> float:
    """Share of characters that a wrong encoding left: mojibake pairs, U+FFFD, C1 controls, private use."""
    return 0.0 if text.isascii() else len(_DAMAGED.findall(text)) / len(text)

"""C4's rules (Raffel 2020, 2.2): lines that are no sentences go, pages that have too few left go."""

import itertools
import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.text.lines import CHARACTERS, LONGEST, SENTENCES, START, WORDS, Lines
from puna.curate.text.phrases import may_hold, phrase_ends
from puna.curate.text.words import Words


class C4(Config):
    """Where the two known readings differ, `variant` decides, unless the number itself is set:

    datatrove: lines of >= 3 words, pages of >= 5 sentences; dclm (and the paper): lines of >= 5 words, >= 3 sentences.
    `terminal_punctuation` is off by default, as in FineWeb: alone it removes 30% of the text, and all lists and code.
    layout: blank lines and indentation stay, for paragraphs and code (C4 and both others flatten them).
    """

    variant: Literal["datatrove", "dclm"] = "datatrove"
    terminal_punctuation: bool = False
    layout: bool = True
    min_line_words: int | None = None
    min_sentences: int | None = None
    max_word_chars: int = 1000
    lorem_ipsum: bool = True
    curly_bracket: bool = True
    javascript: bool = True
    policy: bool = True
    citations: bool = True


_VARIANTS = {"datatrove": (3, 5), "dclm": (5, 3)}
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_PHRASE_ENDS = phrase_ends(("javascript", "lorem ipsum", *_POLICIES))
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_LINE_ENDS = (".", "?", "!", '"', "'", "”", "’", "。", "！", "？", "」")
_ELLIPSES = ("...", "…", "……")


def c4(words: Words, rules: C4) -> tuple[str, Iterator[Check]]:
    """The text of the lines that C4 keeps, and the checks of the whole page.

    Looked at are the lines that the line rules keep: a bracket in a menu drops no page.
    """
    least_words, least_sentences = _VARIANTS[rules.variant]
    least_words = least_words if rules.min_line_words is None else rules.min_line_words
    least_sentences = least_sentences if rules.min_sentences is None else rules.min_sentences
    lines = words.lines if rules.layout else words.lines.universal
    stays = np.empty(len(lines), np.bool_)
    num_stays, num_sentences = _sound_lines(lines.counts, least_words, rules.max_word_chars, stays)
    looked_at, found = _looked_at(lines, stays, rules)
    if looked_at:
        num_stays, num_sentences = stays.sum(), np.maximum(lines.counts[SENTENCES, stays], 1).sum()
    join = _with_layout if rules.layout else _without_layout
    return join(lines, looked_at, stays, num_stays), _checks(found, int(num_sentences), least_sentences)


def _with_layout(lines: Lines, looked_at: list[str], stays: NDArray[np.bool_], num_stays: int) -> str:
    text, totals = lines.text, lines.totals
    if looked_at or num_stays + totals.blank < len(lines):
        stays |= lines.counts[WORDS] == 0
        text = "\n".join(itertools.compress(looked_at or text.split("\n"), stays.tolist()))
    if "\n\n\n" in text:
        text = re.sub(r"\n{3,}", "\n\n", text)
    return text.strip("\n")


def _without_layout(lines: Lines, looked_at: list[str], stays: NDArray[np.bool_], num_stays: int) -> str:
    if looked_at:
        return "\n".join([line.strip() for line in itertools.compress(looked_at, stays.tolist())]).strip()
    text = lines.text
    starts, ends = lines.counts[START:, stays].tolist()
    return "\n".join([text[start:end] for start, end in zip(starts, ends, strict=True)])


@njit(cache=True, nogil=True)
def _sound_lines(counts, least_words, max_word_chars, stays):  # type: ignore[no-untyped-def]
    """Fill `stays`: whether a line has words enough and none too long. How many do, and their sentences."""
    num_stays = num_sentences = 0
    for line in range(len(stays)):
        words, characters = counts[WORDS, line], counts[CHARACTERS, line]
        is_sound = counts[LONGEST, line] <= max_word_chars or characters > 0
        stays[line] = words > 0 and is_sound and words + characters >= least_words
        if stays[line]:
            num_stays += 1
            num_sentences += max(1, counts[SENTENCES, line])
    return num_stays, num_sentences


def _looked_at(lines: Lines, stays: NDArray[np.bool_], rules: C4) -> tuple[list[str], dict[str, int]]:
    """The lines without citations; those that their words send away are taken off `stays`; what drops the page.

    What the whole text does not hold is not looked for line by line: without any of it, no lines.
    """
    text, found = lines.text, dict[str, int]()
    lowered = text.lower() if may_hold(lines.codes, _PHRASE_ENDS) else ""
    cites = rules.citations and "[" in text
    drops = ["lorem ipsum"] if rules.lorem_ipsum and "lorem ipsum" in lowered else []
    drops += ["{"] if rules.curly_bracket and "{" in text else []
    unwanted = (("javascript",) if rules.javascript else ()) + (_POLICIES if rules.policy else ())
    unwanted = tuple(words for words in unwanted if words in lowered) if lowered else ()
    if not (cites or drops or unwanted or rules.terminal_punctuation):
        return [], found
    texts = text.split("\n")
    for number in np.flatnonzero(stays).tolist():
        if cites and "[" in texts[number]:
            texts[number] = _CITATION.sub("", texts[number]).rstrip()
        bare = texts[number].strip()
        if rules.terminal_punctuation and (not bare.endswith(_LINE_ENDS) or bare.endswith(_ELLIPSES)):
            stays[number] = False
            continue
        small = bare.lower() if drops or unwanted else ""
        if "lorem ipsum" in drops and "lorem ipsum" in small:
            found["lorem_ipsum"] = found.get("lorem_ipsum", 0) + 1
        if "javascript" in unwanted and "javascript" in small:
            stays[number] = False
            continue
        if "{" in drops and "{" in small:
            found["curly_bracket"] = found.get("curly_bracket", 0) + 1
        if any(words in small for words in unwanted):
            stays[number] = False
    return texts, found


def _checks(found: dict[str, int], num_sentences: int, least_sentences: int) -> Iterator[Check]:
    for setting, count in found.items():
        yield Check(setting.replace("_", " "), setting, count, most=0)
    yield Check("too few sentences", "min_sentences", num_sentences, least=least_sentences)

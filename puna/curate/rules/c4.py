"""C4's rules (Raffel 2020, 2.2): lines that are no sentences go, pages that have too few left go."""

import itertools
import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from puna.base.config import Config
from puna.curate.rules.check import Check
from puna.curate.rules.lines import Lines


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
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_LINE_ENDS = (".", "?", "!", '"', "'", "”", "’", "。", "！", "？", "」")
_ELLIPSES = ("...", "…", "……")


def c4(text: str, rules: C4) -> tuple[str, Iterator[Check]]:
    """The lines that C4 keeps, and the checks of the whole page.

    Looked at are the lines that the line rules keep: a bracket in a menu drops no page.
    """
    least_words, least_sentences = _VARIANTS[rules.variant]
    least_words = least_words if rules.min_line_words is None else rules.min_line_words
    least_sentences = least_sentences if rules.min_sentences is None else rules.min_sentences
    counted = Lines(text if rules.layout else "\n".join(text.splitlines()))
    is_blank, num_words = counted.words == 0, counted.words + counted.characters
    is_sound = (counted.longest <= rules.max_word_chars) | (counted.characters > 0)
    stays = is_sound & ((counted.words >= least_words) | (num_words >= least_words)) & ~is_blank
    lines, found = _looked_at(counted.lines, stays, text, rules)
    num_sentences = int(np.maximum(counted.sentences[stays], 1).sum())
    if rules.layout:
        stays |= is_blank
        kept = "\n".join(lines if stays.all() else itertools.compress(lines, stays.tolist()))
        return re.sub(r"\n{3,}", "\n\n", kept).strip("\n"), _checks(found, num_sentences, least_sentences)
    kept = "\n".join([line.strip() for line in itertools.compress(lines, stays.tolist())])
    return kept.strip(), _checks(found, num_sentences, least_sentences)


def _looked_at(lines: list[str], stays: NDArray[np.bool_], text: str, rules: C4) -> tuple[list[str], dict[str, int]]:
    """The lines without citations; those that their words send away are taken off `stays`; what drops the page.

    What the whole text does not hold is not looked for line by line.
    """
    lowered, found = text.lower(), dict[str, int]()
    cites = rules.citations and "[" in text
    asked = (("lorem ipsum", rules.lorem_ipsum), ("{", rules.curly_bracket))
    drops = [word for word, is_asked in asked if is_asked and word in lowered]
    unwanted = (("javascript",) if rules.javascript else ()) + (_POLICIES if rules.policy else ())
    unwanted = tuple(words for words in unwanted if words in lowered)
    if not (cites or drops or unwanted or rules.terminal_punctuation):
        return lines, found
    lines = list(lines)
    for number in np.flatnonzero(stays).tolist():
        if cites and "[" in lines[number]:
            lines[number] = _CITATION.sub("", lines[number]).rstrip()
        bare = lines[number].strip()
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
    return lines, found


def _checks(found: dict[str, int], num_sentences: int, least_sentences: int) -> Iterator[Check]:
    for setting, count in found.items():
        yield Check(setting.replace("_", " "), setting, count, most=0)
    yield Check("too few sentences", "min_sentences", num_sentences, least=least_sentences)

"""C4's rules (Raffel 2020, 2.2): lines that are no sentences go, pages that have too few left go."""

import re
from collections.abc import Iterator
from typing import Literal

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
    kept, num_sentences = [], 0
    found: dict[str, int] = {}
    whole = text.lower()
    has_lorem, has_javascript = "lorem ipsum" in whole and rules.lorem_ipsum, "javascript" in whole and rules.javascript
    policies = [policy for policy in _POLICIES if policy in whole] if rules.policy else []
    has_bracket = "{" in text and rules.curly_bracket
    for number, line in enumerate(counted.lines):
        num_words, num_characters = counted.words[number], counted.characters[number]
        if not num_words:
            if rules.layout:
                kept.append(line)
            continue
        if counted.longest[number] > rules.max_word_chars and not num_characters:
            continue
        if num_words < least_words and num_words + num_characters < least_words:
            continue
        if rules.citations and "[" in line:
            line = _CITATION.sub("", line).rstrip()
        bare = line.strip()
        if rules.terminal_punctuation and (not bare.endswith(_LINE_ENDS) or bare.endswith(_ELLIPSES)):
            continue
        if has_lorem and "lorem ipsum" in bare.lower():
            found["lorem_ipsum"] = found.get("lorem_ipsum", 0) + 1
        if has_javascript and "javascript" in bare.lower():
            continue
        if has_bracket and "{" in bare:
            found["curly_bracket"] = found.get("curly_bracket", 0) + 1
        if policies and any(policy in bare.lower() for policy in policies):
            continue
        kept.append(line if rules.layout else bare)
        num_sentences += max(1, counted.sentences[number])
    text = "\n".join(kept)
    text = re.sub(r"\n{3,}", "\n\n", text).strip("\n") if rules.layout else text.strip()
    return text, _checks(found, num_sentences, least_sentences)


def _checks(found: dict[str, int], num_sentences: int, least_sentences: int) -> Iterator[Check]:
    for setting, count in found.items():
        yield Check(setting.replace("_", " "), setting, count, most=0)
    yield Check("too few sentences", "min_sentences", num_sentences, least=least_sentences)

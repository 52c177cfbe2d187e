"""Read the answer out of a model's text and compare it with the known one.

Numbers are compared as exact fractions: 0.5 = 1/2 = .50, 1,000 = 1000, and no rounding makes 0.3 equal 0.30000001.
A text that states several different choices has stated none; an extractor that took the last one of a list of all
letters would pay a policy for listing them.
"""

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from puna.base.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """`correct`, `wrong` (an answer was read and it is another one) or `error` (no answer could be read)."""

    verdict: Literal["correct", "wrong", "error"]
    reason: str

    @property
    def correct(self) -> bool:
        return self.verdict == "correct"


def check_number(text: str, answer: str) -> Verdict:
    """Compare the number that `text` gives with `answer`, exactly.

    Raises InputError if `answer` itself is no number.
    """
    expected = _fraction(extract_number(answer))
    if expected is None:
        raise InputError(f"expected answer must hold a number such as 42, -3.5 or 3/4, got {answer!r}")
    found = extract_number(text)
    value = _fraction(found)
    if found is None or value is None:
        return Verdict("error", "no number found")
    if value == expected:
        return Verdict("correct", f"{found} equals {answer}")
    return Verdict("wrong", f"{found} is not {answer}")


def check_choice(text: str, choices: Sequence[str], answer: int) -> Verdict:
    """Compare the option that `text` names, by letter or by its words, with option number `answer` (from 0).

    Raises InputError if `answer` is not a position in `choices`.
    """
    if not 0 <= answer < len(choices):
        raise InputError(f"answer must be a position in the {len(choices)} choices, got {answer}")
    found = extract_choice(text, choices)
    if found is None:
        return Verdict("error", "no single choice found")
    letters = string.ascii_uppercase
    if found == answer:
        return Verdict("correct", f"{letters[found]} is right")
    return Verdict("wrong", f"{letters[found]} is not {letters[answer]}")


# --- numbers -------------------------------------------------------------------------------------------------------

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\d)\.\d+)"
# A minus belongs to the number only where no operand stands before it: "5 - 3", "5-3" and "x-3" hold a 3.
_SIGN = r"(?:(?<![\w.)\]}%])(?:-\$?|\$-)|\$)?"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})(?:(?P<whole>\d+)\s+(?P<part>\d+)/(?P<parts>\d+)(?![\d/])"
    rf"|(?P<top>{_DIGITS})(?:\s*/\s*(?P<bottom>{_DIGITS})(?!\s*/?\d))?(?:[eE](?P<exponent>[+-]?\d{{1,3}})(?!\w))?)"
)
_ANSWER_IS = re.compile(r"\banswer(?:\s+is|\s*:)[\s:]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|[.!?](?=\s|$)")
_FRAC = re.compile(r"\\[dt]?frac\s*\{\s*([^{}]+?)\s*\}\s*\{\s*([^{}]+?)\s*\}")
_LATEX = (
    ("\u2212", "-"),
    ("{,}", ","),
    ("\\,", ""),
    ("\\!", ""),
    ("\\$", "$"),
    ("\\%", "%"),
    ("\\left", ""),
    ("\\right", ""),
)


def extract_number(text: str) -> str | None:
    """The number a text gives as its answer, without thousands separators and currency: "42", "-3.5", "3/4".

    The last of these marks that is followed by a number: "answer is N" (if that sentence holds an equation, its
    result), "#### N" (GSM8K's form), \\boxed{N}. Without a mark, the last number; None if there is no number.
    """
    for mark, replacement in _LATEX:
        text = text.replace(mark, replacement)
    text = _FRAC.sub(r"\1/\2", text)
    regions = (_after_answer_is(text), _after_hashes(text), _boxed(text))
    for _, region in sorted((r for r in regions if r is not None), reverse=True):
        found = _numbers(region)
        if found:
            return found[-1] if "=" in region else found[0]
    found = _numbers(text)
    return found[-1] if found else None


def _after_answer_is(text: str) -> tuple[int, str] | None:
    """Where the last "answer is" ends, and the rest of its sentence."""
    matches = list(_ANSWER_IS.finditer(text))
    if not matches:
        return None
    return matches[-1].end(), _SENTENCE_END.split(text[matches[-1].end() :], maxsplit=1)[0]


def _after_hashes(text: str) -> tuple[int, str] | None:
    before, mark, rest = text.rpartition("####")
    return (len(before) + 4, rest.strip().split("\n", 1)[0]) if mark else None


def _boxed(text: str) -> tuple[int, str] | None:
    """Where the last \\boxed{ ends, and its content, braces balanced; an unclosed one runs to the end of the text."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return begin, text[begin:i]
    return begin, text[begin:]


def _numbers(text: str) -> list[str]:
    return [_plain(match) for match in _NUMBER.finditer(text)]


def _plain(match: re.Match[str]) -> str:
    """A matched number in the form that `Fraction` reads; digits of any script become ASCII."""
    sign = "-" if "-" in match["sign"] else ""
    if match["whole"] is not None:
        whole, part, parts = (_ascii(match[name]) for name in ("whole", "part", "parts"))
        if len(whole + part + parts) < 300 and 0 < int(part) < int(parts):  # "1 1/2" is one and a half, "2 4/2" is not
            return f"{sign}{int(whole) * int(parts) + int(part)}/{int(parts)}"
        return f"{sign}{part}/{parts}"
    number = _ascii(match["top"])
    if match["exponent"] is not None:
        return f"{sign}{number}e{_ascii(match['exponent'])}"
    return f"{sign}{number}/{_ascii(match['bottom'])}" if match["bottom"] is not None else f"{sign}{number}"


def _ascii(digits: str) -> str:
    plain = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in digits.replace(",", ""))
    return "0" + plain if plain.startswith(".") else plain


def _fraction(number: str | None) -> Fraction | None:
    """Exact value; None for no number, division by zero, or more digits than a number of an answer has (300)."""
    if number is None or len(number) > 300:
        return None
    top, _, bottom = number.partition("/")
    try:
        return Fraction(top) / Fraction(bottom) if bottom else Fraction(top)
    except ZeroDivisionError:
        return None


# --- choices -------------------------------------------------------------------------------------------------------

_OPEN, _CLOSE = r"[\s(\[{*_\"'`$]*", r"[)\]}*_\"'`.:,;!$]"
# What may follow a letter that stands for an option. "A" is also an article: "the answer is A dog" names no letter.
_REASON = r"\s+(?:because|since|as|and|which|for|but|is|was)\b"


def extract_choice(text: str, choices: Sequence[str]) -> int | None:
    """Position of the one option that `text` names, or None if it names none or more than one.

    In this order: "answer is B" / \\boxed{B}; an answer that is or begins with a letter ("B", "(b)", "B) the mill");
    "answer is <text of an option>"; the only letter in brackets; the only option whose words occur in the text.
    """
    if not 2 <= len(choices) <= 26:
        raise InputError(f"a question needs 2 to 26 choices, got {len(choices)}")
    last = string.ascii_uppercase[len(choices) - 1]
    letter = rf"([A-{last}])"
    regions = [text[match.end() :] for match in _ANSWER_IS.finditer(text)][-1:]
    boxed = _boxed(text)
    for region in regions + ([] if boxed is None else [boxed[1]]):
        found = _leading_letter(region, letter, choices)
        if found is not None:
            return found
    found = _leading_letter(text, letter, choices)
    if found is not None:
        return found
    for region in regions:
        found = _named_option(_SENTENCE_END.split(region, maxsplit=1)[0], choices)
        if found is not None:
            return found
    bracketed = {ord(match.upper()) - ord("A") for match in re.findall(rf"[(\[]{letter}[)\]]", text, re.IGNORECASE)}
    if bracketed:
        return bracketed.pop() if len(bracketed) == 1 else None
    return _named_option(text, choices)


def _leading_letter(text: str, letter: str, choices: Sequence[str]) -> int | None:
    """The option whose letter begins the text, if what follows shows that it is a letter and not a word."""
    if re.fullmatch(rf"{_OPEN}(?i:{letter}){_CLOSE}*\s*", text):
        return ord(text.strip(" \n\t()[]{}*_\"'`.:,;!$").upper()) - ord("A")
    match = re.match(rf"{_OPEN}(?:[(\[](?i:{letter})[)\]]|{letter}(?={_CLOSE}|\s*\n|{_REASON}|\s*$))", text)
    if match:
        return ord((match[1] or match[2]).upper()) - ord("A")
    match = re.match(rf"{_OPEN}{letter}\s+", text)  # "B the mill": a letter followed by its own option
    if match:
        position = ord(match[1]) - ord("A")
        option = _words(choices[position])
        if option and _words(text[match.end() :])[: len(option)] == option:
            return position
    return None


def _named_option(text: str, choices: Sequence[str]) -> int | None:
    """The only option whose words occur in the text; one inside a longer one ("the mill", "the old mill") gives way."""
    words = _words(text)
    spans: list[tuple[int, int, int]] = []
    for position, choice in enumerate(choices):
        option = _words(choice)
        for start in range(len(words) - len(option) + 1):
            if option and words[start : start + len(option)] == option:
                spans.append((start, start + len(option), position))
    outermost = {p for b, e, p in spans if not any(b2 <= b and e <= e2 and e2 - b2 > e - b for b2, e2, _ in spans)}
    return outermost.pop() if len(outermost) == 1 else None


def _words(text: str) -> list[str]:
    """Lower-case words and signs; articles dropped, so that "the mill" names the option "mill"."""
    words = re.findall(r"\w+(?:[.,]\d+)*|[^\w\s.,;:!?\"'()]", text.casefold())
    return [word for word in words if word not in ("the", "a", "an")] or words

"""What the rules ask of the lines of a text, counted in one compiled pass over its code points.

C code points of a text, L lines of it.
"""

import functools
import string
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from puna.curate.text.tokens import (
    CHARACTER_RANGES,
    abbreviations,
    code_points,
    is_abbreviation,
    leaf,
    lower_table,
    mix,
)


class LineTotals(NamedTuple):
    """Over all lines of a text. A line is blank if it holds white space or nothing, empty if it holds nothing.

    bulleted: first behind white space is a bullet, as the paper has them or as datatrove (• and - alone);
    trailing_off: before white space at the end stands an ellipsis; ended: the last code point ends a sentence;
    ellipses: … and three full stops, anywhere.
    other_breaks: what str.splitlines parts lines at but for "\\n". copies: lines that occurred before, empty ones not
    counted, and their code points; of paragraphs (lines between empty ones) the same.
    """

    words: int
    blank: int
    empty: int
    other_breaks: int
    bulleted: int
    datatrove_bulleted: int
    trailing_off: int
    ended: int
    ellipses: int
    copies: int
    chars_in_copies: int
    chars_in_blank_copies: int
    paragraphs: int
    paragraph_copies: int
    chars_in_paragraph_copies: int


class Lines:
    """The lines of `text`, parted by "\\n".

    codes: [C + 1], with a newline behind the text. counts: [7, L], its rows: WORDS (between white space), LONGEST (code
    points of the longest word), SENTENCES, CHARACTERS (Chinese or Japanese), LENGTH (code points), START and END (of
    the line without white space around it).

    A sentence ends with . ! ? before white space, quotes or brackets between; an ellipsis ends none, nor does "Mr.".
    What follows the last one, if it has a letter or a digit, is one too.
    """

    def __init__(self, text: str):
        self.text = text
        self.counts = np.empty((_NUM_COUNTS, text.count("\n") + 1), np.int64)
        tables = _kinds(), _marks(), lower_table(), abbreviations()
        self.codes = code_points(text + "\n")
        self.totals = LineTotals._make(_count(self.codes, *tables, self.counts))

    def __len__(self) -> int:
        return self.counts.shape[1]

    @functools.cached_property
    def universal(self) -> "Lines":
        """The lines as str.splitlines parts them, which knows more breaks than "\\n" and no empty line at the end."""
        if not self.totals.other_breaks and not self.text.endswith("\n"):
            return self
        return Lines("\n".join(self.text.splitlines()))

    def num_short(self, most_chars: int) -> int:
        """Lines of at most so many code points that are not blank."""
        return int(_num_short(self.counts, most_chars))


WORDS, LONGEST, SENTENCES, CHARACTERS, LENGTH, START, END = range(7)
_NUM_COUNTS = 7
_LETTER, _SPACE, _NEWLINE, _STOP, _END, _CLOSE, _HAN_END, _HAN, _ELLIPSIS, _OTHER = range(10)
_BULLET, _DATATROVE_BULLET, _TERMINAL, _BREAK = 1, 2, 4, 8
_KNOWN = 0x30000  # what lies above counts as a letter
_SPACES = (
    *range(9, 14),
    *range(28, 33),
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)
# Unicode's Sentence_Terminal, without the scripts of planes above the first.
_TERMINALS = ".?!։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕᠃᠉᥄᥅᪨᪩᪪᪫᭎᭏᭚᭛᭞᭟᭽᭾᭿᰻᰼᱾᱿‽⁇⁈⁉⳹⳺⳻⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫︒﹒﹖﹗！．？｡"
_FNV, _PRIME = 0xCBF29CE484222325, 0x100000001B3


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    """What each code point is to the words and sentences; the last entry stands for those above `_KNOWN`."""
    kinds = np.full(_KNOWN + 1, _LETTER, np.uint8)
    kinds[:0xC0] = _OTHER
    kinds[[ord(char) for char in string.ascii_letters + string.digits]] = _LETTER
    for first, last in CHARACTER_RANGES:
        kinds[first : last + 1] = _HAN
    kinds[list(_SPACES)] = _SPACE
    for chars, kind in (
        ("\n", _NEWLINE),
        (".", _STOP),
        ("!?", _END),
        ("…", _ELLIPSIS),
        ("\"')]’”", _CLOSE),
        ("。！？", _HAN_END),
    ):
        kinds[[ord(char) for char in chars]] = kind
    return kinds


@functools.cache
def _marks() -> NDArray[np.uint8]:
    """What each code point is at the ends of a line, in bits; the last entry as above."""
    marks = np.zeros(_KNOWN + 1, np.uint8)
    for chars, mark in (
        ("•‣▶◀◦■□▪▫●○–*-", _BULLET),
        ("•-", _DATATROVE_BULLET),
        (_TERMINALS, _TERMINAL),
        ("\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", _BREAK),
    ):
        marks[[ord(char) for char in chars]] |= mark
    return marks


@njit(cache=True, nogil=True)
def _count(codes, kinds, marks, lower, abbreviations, counts):  # type: ignore[no-untyped-def]
    """Fill `counts`; the totals in the order of LineTotals. The last of `codes` is a newline, behind the text."""
    prime, top = np.uint64(_PRIME), np.uint32(_KNOWN)
    num_lines = counts.shape[1]
    hashes = np.empty(num_lines, np.uint64)
    other_breaks = bulleted = datatrove_bulleted = trailing_off = ended = ellipses = 0
    here = 0
    for line in range(num_lines):
        start = here
        value = np.uint64(_FNV)
        words = longest = sentences = characters = 0
        first, last = -1, start
        word, is_open, is_ended = 0, False, False
        while True:
            code = codes[here]
            kind = kinds[min(code, top)]
            if kind == _LETTER:
                begin = here
                while kind == _LETTER:
                    value = (value ^ np.uint64(code)) * prime
                    here += 1
                    code = codes[here]
                    kind = kinds[min(code, top)]
                word += here - begin
                is_open, is_ended = True, False
            if kind in (_SPACE, _NEWLINE):
                if word:
                    words += 1
                    longest = max(longest, word)
                    first, last = first if first >= 0 else here - word, here
                    word = 0
                if is_ended:  # the mark stands before white space
                    sentences += 1
                    is_open = is_ended = False
                if kind == _NEWLINE:
                    break
                if code != 32 and marks[code] & _BREAK:
                    other_breaks += 1
            else:
                word += 1
                if kind == _STOP:
                    stops = 1
                    while kinds[min(codes[here + stops], top)] == _STOP:
                        value = (value ^ np.uint64(code)) * prime
                        stops += 1
                    word += stops - 1
                    here += stops - 1
                    ellipses += stops // 3
                    is_ended = stops == 1 and not is_abbreviation(
                        codes, here + 1 - word, here + 1, lower, abbreviations
                    )
                elif kind == _END:
                    is_ended = True
                elif kind == _HAN_END:  # needs no white space behind
                    sentences += 1
                    is_open = is_ended = False
                elif kind == _ELLIPSIS:
                    ellipses += 1
                    is_open, is_ended = True, False
                elif kind == _HAN:
                    characters += 1
                    is_open, is_ended = True, False
                elif kind == _OTHER:
                    is_ended = False
            value = (value ^ np.uint64(code)) * prime
            here += 1
        sentences += is_open
        if first >= 0:
            front = marks[min(codes[first], top)]
            bulleted += front & _BULLET != 0
            datatrove_bulleted += front & _DATATROVE_BULLET != 0
            ended += marks[min(codes[here - 1], top)] & _TERMINAL != 0
            has_stops = last - first >= 3 and codes[last - 1] == 46 and codes[last - 2] == 46 and codes[last - 3] == 46
            trailing_off += has_stops or codes[last - 1] == 0x2026
        else:
            first = last
        hashes[line] = mix(value)
        counts[WORDS, line], counts[LONGEST, line], counts[SENTENCES, line] = words, longest, sentences
        counts[CHARACTERS, line], counts[LENGTH, line] = characters, here - start
        counts[START, line], counts[END, line] = first, last
        here += 1
    return (
        counts[WORDS].sum(),
        (counts[WORDS] == 0).sum(),
        (counts[LENGTH] == 0).sum(),
        other_breaks,
        bulleted,
        datatrove_bulleted,
        trailing_off,
        ended,
        ellipses,
        *_copies(hashes, counts),
    )


@njit(cache=True, nogil=True)
def _copies(hashes, counts):  # type: ignore[no-untyped-def]
    """Lines that occurred before and their code points, of the blank ones too; paragraphs, and those that did."""
    num_lines = len(hashes)
    size = 16
    while size < 2 * num_lines:
        size *= 2
    seen = np.zeros(size, np.uint64)
    copies = chars = blank_chars = 0
    for line in range(num_lines):
        length = counts[LENGTH, line]
        if length and _is_in(seen, hashes[line]):
            copies += 1
            chars += length
            blank_chars += length if counts[WORDS, line] == 0 else 0
    seen[:] = 0
    paragraphs = paragraph_copies = paragraph_chars = 0
    line = 0
    while line < num_lines:
        if counts[LENGTH, line] == 0:
            line += 1
            continue
        value, length = np.uint64(_FNV), -1
        while line < num_lines and counts[LENGTH, line] > 0:
            value = (value ^ hashes[line]) * np.uint64(_PRIME)
            length += 1 + counts[LENGTH, line]
            line += 1
        paragraphs += 1
        if _is_in(seen, mix(value)):
            paragraph_copies += 1
            paragraph_chars += length
    return copies, chars, blank_chars, paragraphs, paragraph_copies, paragraph_chars


@leaf
def _is_in(seen, key):  # type: ignore[no-untyped-def]
    """Whether `key` is in the hash table `seen`; it is from now on. A free slot holds 0."""
    key = max(key, np.uint64(1))
    mask = np.uint64(len(seen) - 1)
    slot = key & mask
    while seen[slot] != 0:
        if seen[slot] == key:
            return True
        slot = (slot + np.uint64(1)) & mask
    seen[slot] = key
    return False


@leaf
def _num_short(counts, most_chars):  # type: ignore[no-untyped-def]
    short = 0
    for line in range(counts.shape[1]):
        short += counts[WORDS, line] > 0 and counts[LENGTH, line] <= most_chars
    return short

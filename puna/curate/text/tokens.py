"""Text -> words and symbols, as spaCy's English rules cut them, in one compiled pass over the code points.

White space parts chunks. From a chunk, quotes, brackets and punctuation are taken off in front and behind, and what is
left is cut at hyphens between letters and the like; "don't" is do + n't, "Mr." keeps its full stop, an address stays
whole. A Chinese or Japanese character is a token of its own. spaCy's tokenizer works so (its rules are tables of
regular expressions and exceptions); measured on 13 MB of English text, 99.6% of the tokens are the same.

C code points of a text, M tokens.
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

SYMBOL, SIGN, DIGIT, LETTER, CHARACTER = range(5)
"""Kinds of tokens: punctuation; other signs (•, ©, 😀) without letter or digit; digits and no letter; at least one
letter; one Chinese character."""

Hashes = NDArray[np.uint64]
Places = NDArray[np.int32]

_KNOWN = 0x30000  # planes 0 to 2; what lies above counts as a symbol
CHARACTER_RANGES = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFF))
CHARACTER_CLASS = "".join(f"{chr(first)}-{chr(last)}" for first, last in CHARACTER_RANGES)

# Classes of code points.
_LOWER, _UPPER, _SPACE, _OTHER, _NUMBER, _MARK, _QUOTE, _CURRENCY, _ICON, _STOP, _HAN = range(11)
_KINDS = {_LOWER: LETTER, _UPPER: LETTER, _SPACE: SYMBOL, _OTHER: SIGN, _NUMBER: DIGIT, _MARK: SYMBOL, _QUOTE: SYMBOL,
          _CURRENCY: SIGN, _ICON: SIGN, _STOP: SYMBOL, _HAN: CHARACTER}  # fmt: skip
_MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪§%=—–"
_QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_CURRENCIES = "$£€¥฿₽₴₩₦₹"
_ABBREVIATIONS = (
    "mr. mrs. ms. dr. st. mt. jr. sr. prof. rev. gen. gov. sen. rep. adm. messrs. ph.d. co. inc. ltd. corp. "
    "bros. vs. v.s. e.g. i.e. a.m. p.m. jan. feb. mar. apr. jun. jul. aug. sep. sept. oct. nov. dec. d.c. n.y. "
    "n.c. n.d. n.h. n.j. n.m. s.c. ala. ariz. ark. calif. colo. conn. del. fla. ga. ia. id. ill. ind. kan. "
    "kans. ky. la. mass. md. mich. minn. miss. mo. mont. neb. nebr. nev. okla. ore. pa. tenn. va. wis. and/or"
)
_LONGEST_ABBREVIATION = 6
_MOST_SUFFIXES = 256
_FNV, _PRIME = 0xCBF29CE484222325, 0x100000001B3

leaf = njit(cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload]
"""Compiles a function that makes no array: it need not count the references to those it is given, an atomic addition
and subtraction for each in each call, which took two thirds of the time that splitting a word takes."""


def code_points(text: str) -> NDArray[np.uint32]:
    """The code points [C] of a text; half a surrogate pair becomes ?."""
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)


class Tokens(NamedTuple):
    """Of each token, [M]: where it begins, its length in code points, its kind, and 64 bits of its code points in lower
    case and as they are. totals, [2, 5]: tokens of each kind, and their code points."""

    starts: Places
    lengths: Places
    kinds: NDArray[np.uint8]
    hashes: Hashes
    cased_hashes: Hashes
    totals: NDArray[np.int64]


def tokenize(text: str) -> Tokens:
    """The tokens of a text."""
    return Tokens._make(_tokenize(code_points(text), *_tables(), abbreviations()))


def lower_table() -> NDArray[np.uint32]:
    """The lower case of every code point that `is_abbreviation` looks up."""
    return _tables()[1]


@functools.cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint8]]:
    """Class, lower case and kind (of a token of it alone) of every code point below `_KNOWN`; the last entry of classes
    and kinds stands for those above."""
    classes, lower = np.full(_KNOWN + 1, _OTHER, np.uint8), np.arange(_KNOWN + 1, dtype=np.uint32)
    for code in range(_KNOWN):
        char = chr(code)
        category = unicodedata.category(char)
        if category[0] in "LM":
            classes[code] = _UPPER if category in ("Lu", "Lt") else _LOWER
        elif category[0] == "N":
            classes[code] = _NUMBER
        elif category[0] in "ZC":
            classes[code] = _SPACE
        elif category == "So" and char != "°":
            classes[code] = _ICON
        small = char.lower()
        lower[code] = ord(small) if len(small) == 1 else code
    for chars, number in ((_MARKS, _MARK), (_QUOTES, _QUOTE), (_CURRENCIES, _CURRENCY), (".", _STOP)):
        classes[[ord(char) for char in chars]] = number
    for first, last in CHARACTER_RANGES:
        part = classes[first : last + 1]
        part[part == _LOWER] = _HAN
    kinds = np.array([*_KINDS.values()], np.uint8)[classes]
    kinds[:0x80][kinds[:0x80] == SIGN] = SYMBOL
    return classes, lower, kinds


@functools.cache
def abbreviations() -> Hashes:
    """Sorted hashes of the words that stay whole, for `is_abbreviation`."""
    words = [np.array([ord(char) for char in word], np.uint32) for word in _ABBREVIATIONS.split()]
    lower = _tables()[1]
    return np.sort(np.array([_hash(word, 0, len(word), lower) for word in words], np.uint64))


@leaf
def mix(value):  # type: ignore[no-untyped-def]
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): spreads each of 64 bits over all."""
    value = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@leaf
def _hash(codes, start, end, lower):  # type: ignore[no-untyped-def]
    """64 bits of codes[start:end] in lower case (FNV-1a, Fowler, Noll, Vo, over code points, then mixed)."""
    value = np.uint64(_FNV)
    for place in range(start, end):
        code = codes[place]
        value = (value ^ np.uint64(lower[code] if code < _KNOWN else code)) * np.uint64(_PRIME)
    return mix(value)


@njit(cache=True, nogil=True)
def _tokenize(codes, classes, lower, kinds, abbreviations):  # type: ignore[no-untyped-def]
    """The fields of Tokens.

    Letters alone, or with one mark behind, are nearly all that stands between white space and make their tokens here.
    """
    num_codes, count, here = len(codes), 0, 0
    starts, ends, kind_of = np.empty(num_codes, np.int32), np.empty(num_codes, np.int32), np.empty(num_codes, np.uint8)
    hashes, cased = np.empty(num_codes, np.uint64), np.empty(num_codes, np.uint64)
    groups = np.empty(num_codes + 2, np.uint8)
    groups[num_codes:] = _SPACE
    for place in range(num_codes):
        groups[place] = classes[min(codes[place], np.uint32(_KNOWN))]
    behind = np.empty((_MOST_SUFFIXES, 2), np.int64)
    prime, known = np.uint64(_PRIME), np.uint32(_KNOWN)
    while here < num_codes:
        if groups[here] == _SPACE:
            here += 1
            continue
        first, before = here, count
        value, as_it_is = np.uint64(_FNV), np.uint64(_FNV)
        while groups[here] <= _UPPER:
            value = (value ^ np.uint64(lower[codes[here]])) * prime
            as_it_is = (as_it_is ^ np.uint64(codes[here])) * prime
            here += 1
        width, group = here - first, groups[here]
        is_word = width > 0 and not (width == 6 and _is_cannot(codes, first))
        if is_word and group != _SPACE:
            is_word = groups[here + 1] == _SPACE and group in (_MARK, _QUOTE, _STOP)
            if group == _STOP and is_word:
                is_word = groups[here - 1] == _LOWER or (width > 1 and groups[here - 2] == _UPPER)
                is_short = width < _LONGEST_ABBREVIATION
                is_word &= not (is_short and is_abbreviation(codes, first, here + 1, lower, abbreviations))
        if is_word:
            starts[count], ends[count], kind_of[count] = first, here, LETTER
            hashes[count], cased[count] = mix(value), mix(as_it_is)
            before = count = count + 1
            first = here
        while groups[here] != _SPACE:
            here += 1
        if is_word and first < here:
            starts[count], ends[count] = first, here
            count += 1
        elif not is_word:
            count = _split(codes, groups, lower, abbreviations, first, here, behind, starts, ends, count)
        for token in range(before, count):
            kind, value, as_it_is = SYMBOL, np.uint64(_FNV), np.uint64(_FNV)
            for place in range(starts[token], ends[token]):
                code = codes[place]
                new, small = kinds[min(code, known)], lower[code] if code < known else code
                kind = new if new > kind or new == LETTER else kind
                value = (value ^ np.uint64(small)) * prime
                as_it_is = (as_it_is ^ np.uint64(code)) * prime
            kind_of[token], hashes[token], cased[token] = kind, mix(value), mix(as_it_is)
    totals = np.zeros((2, CHARACTER + 1), np.int64)
    lengths = ends[:count] - starts[:count]
    for token in range(count):
        totals[0, kind_of[token]] += 1
        totals[1, kind_of[token]] += lengths[token]
    return starts[:count].copy(), lengths, kind_of[:count].copy(), hashes[:count].copy(), cased[:count].copy(), totals


@leaf
def _split(codes, groups, lower, abbreviations, first, last, behind, starts, ends, count):  # type: ignore[no-untyped-def]
    """Cut what stands between white space, codes[first:last]; the number of tokens so far."""
    num_behind, goes_on = 0, True
    while goes_on and first < last:
        may_stay = groups[last - 1] == _STOP or last - first == _LONGEST_ABBREVIATION
        if may_stay and is_abbreviation(codes, first, last, lower, abbreviations):
            starts[count], ends[count] = first, last
            count, first = count + 1, last
            break
        front = 0 if _is_letter(groups[first]) else _front(codes, groups, first, last)
        if front:
            starts[count], ends[count] = first, first + front
            count, first = count + 1, first + front
        is_plain = _is_letter(groups[last - 1]) and not _is_s(codes[last - 1])
        back = 0 if is_plain or num_behind == _MOST_SUFFIXES else _back(codes, groups, first, last)
        if back:
            behind[num_behind, 0], behind[num_behind, 1] = last - back, last
            num_behind, last = num_behind + 1, last - back
        goes_on = front + back > 0
    if first < last:
        count = _split_inside(codes, groups, lower, first, last, starts, ends, count)
    while num_behind:
        num_behind -= 1
        starts[count], ends[count] = behind[num_behind, 0], behind[num_behind, 1]
        count += 1
    return count


@leaf
def _is_letter(group):  # type: ignore[no-untyped-def]
    return group <= _UPPER


@leaf
def _is_s(code):  # type: ignore[no-untyped-def]
    return (code | 32) == 115


@leaf
def _is_apostrophe(code):  # type: ignore[no-untyped-def]
    return code == 0x27 or code == 0x2019


@leaf
def _num_stops(codes, place, last):  # type: ignore[no-untyped-def]
    count = 0
    while place + count < last and codes[place + count] == 46:
        count += 1
    return count


@leaf
def is_abbreviation(codes, first, last, lower, abbreviations):  # type: ignore[no-untyped-def]
    """Whether codes[first:last] is a word that keeps its full stop; `lower` and `abbreviations` are the tables."""
    is_either = last - first == 6 and codes[first + 3] == 47  # and/or
    if not (codes[last - 1] == 46 or is_either) or not 2 <= last - first <= _LONGEST_ABBREVIATION:
        return False
    if last - first == 2:
        return 97 <= codes[first] | 32 <= 122  # the letter of a list, an initial
    key = _hash(codes, first, last, lower)
    place = np.searchsorted(abbreviations, key)
    return place < len(abbreviations) and abbreviations[place] == key


@leaf
def _front(codes, groups, first, last):  # type: ignore[no-untyped-def]
    """Characters to take off in front."""
    group = groups[first]
    if group == _STOP:
        stops = _num_stops(codes, first, last)
        return stops if stops > 1 else 0
    if group in (_MARK, _QUOTE, _CURRENCY, _ICON, _HAN):
        return 1
    is_sign = first + 1 < last and groups[first + 1] == _NUMBER
    return 1 if codes[first] == 43 and not is_sign else 0


@leaf
def _back(codes, groups, first, last):  # type: ignore[no-untyped-def]
    """Characters to take off behind."""
    if last - first < 2:
        return 0
    code, group, before = codes[last - 1], groups[last - 1], groups[last - 2]
    if group == _STOP:
        stops = 1
        while last - 1 - stops >= first and codes[last - 1 - stops] == 46:
            stops += 1
        if stops > 1:
            return stops
        ends_word = before in (_NUMBER, _LOWER, _MARK, _QUOTE, _HAN)
        ends_capitals = before == _UPPER and last - first > 2 and groups[last - 3] == _UPPER
        return 1 if ends_word or ends_capitals or codes[last - 2] == 45 or codes[last - 2] == 43 else 0
    if group in (_MARK, _QUOTE, _ICON):
        return 1
    if (code == 43 or group == _CURRENCY) and before == _NUMBER:
        return 1
    return 2 if _is_s(code) and _is_apostrophe(codes[last - 2]) and last - first > 2 else 0  # 's


@leaf
def _is_address(codes, groups, first, last):  # type: ignore[no-untyped-def]
    for place in range(first + 1, last - 2):
        if codes[place] == 58 and codes[place + 1] == 47 and codes[place + 2] == 47:
            return _is_letter(groups[place - 1])
    if last - first < 6 or codes[first + 3] != 46:
        return False
    return (codes[first] | 32) == 119 and (codes[first + 1] | 32) == 119 and (codes[first + 2] | 32) == 119


@leaf
def _split_inside(codes, groups, lower, first, last, starts, ends, count):  # type: ignore[no-untyped-def]
    """Cut codes[first:last] at what stands between letters or digits; the number of tokens so far."""
    here = first
    while here < last and _is_letter(groups[here]):
        here += 1
    if here == last:
        return _word(codes, groups, first, last, starts, ends, count)
    if _is_address(codes, groups, first, last):
        starts[count], ends[count] = first, last
        return count + 1
    begin = first
    while here < last:
        width = 0 if _is_letter(groups[here]) else _between(codes, groups, first, here, last)
        if width:
            if here > begin:
                count = _word(codes, groups, begin, here, starts, ends, count)
            starts[count], ends[count] = here, here + width
            count += 1
            begin = here + width
        here += max(1, width)
    return _word(codes, groups, begin, last, starts, ends, count) if last > begin else count


@leaf
def _between(codes, groups, first, here, last):  # type: ignore[no-untyped-def]
    """Length of the token that stands at `here` between two others, or 0."""
    code, group = codes[here], groups[here]
    before = groups[here - 1] if here > first else _SPACE
    after = groups[here + 1] if here + 1 < last else _SPACE
    if group in (_LOWER, _UPPER, _NUMBER):
        return 0
    if group in (_HAN, _ICON) or code == 0x2026:
        return 1
    if code == 46:
        stops = _num_stops(codes, here, last)
        if stops > 1:
            return stops
        return 1 if (before in (_LOWER, _QUOTE)) and (after in (_UPPER, _QUOTE)) else 0
    if code == 44:
        return 1 if _is_letter(before) and _is_letter(after) else 0
    if code == 45 or code == 126 or code == 0x2013 or code == 0x2014:
        width = 1
        while width < 3 and here + width < last and codes[here + width] == code:
            width += 1
        behind = groups[here + width] if here + width < last else _SPACE
        if (_is_letter(before) or before == _NUMBER) and _is_letter(behind):
            return width
        return 1 if code == 45 and before == _NUMBER and after == _NUMBER else 0
    if code == 58 or code == 60 or code == 62 or code == 61 or code == 47:  # : < > = /
        return 1 if (_is_letter(before) or before == _NUMBER) and _is_letter(after) else 0
    is_sum = code == 43 or code == 42 or code == 94  # + * ^
    return 1 if is_sum and before == _NUMBER and after == _NUMBER else 0


@leaf
def _word(codes, groups, first, last, starts, ends, count):  # type: ignore[no-untyped-def]
    """A word, or two: a contraction, a number with its unit."""
    width, cut = last - first, 0
    a, b = codes[last - 1] | 32, codes[last - 2] | 32 if width > 1 else 0
    if width >= 4 and _is_apostrophe(codes[last - 2]) and a == 116 and (codes[last - 3] | 32) == 110:
        cut = 3  # n't
    elif 3 <= width <= 7 and _is_apostrophe(codes[last - 2]) and (a == 109 or a == 100):
        cut = 2  # 'm, 'd
    elif 4 <= width <= 8 and _is_apostrophe(codes[last - 3]):
        pair = (b == 108 and a == 108) or (b == 118 and a == 101) or (b == 114 and a == 101)
        cut = 3 if pair else 0  # 'll, 've, 're
    elif width == 6 and _is_cannot(codes, first):
        cut = 3
    elif groups[first] == _NUMBER and _is_letter(groups[last - 1]):
        cut = _unit(codes, groups, first, last)
    if 0 < cut < width:
        starts[count], ends[count] = first, last - cut
        count, first = count + 1, last - cut
    starts[count], ends[count] = first, last
    return count + 1


@leaf
def _is_cannot(codes, first):  # type: ignore[no-untyped-def]
    a, b, c = codes[first] | 32, codes[first + 1] | 32, codes[first + 2] | 32
    d, e, f = codes[first + 3] | 32, codes[first + 4] | 32, codes[first + 5] | 32
    return a == 99 and b == 97 and c == 110 and d == 110 and e == 111 and f == 116


@leaf
def _unit(codes, groups, first, last):  # type: ignore[no-untyped-def]
    """Letters of a unit behind a number: km, cm, mm, kg, mg, ml, kb, mb, gb, tb, am, pm; k, m, g, t; or 0."""
    width = 0
    while last - width > first and _is_letter(groups[last - width - 1]):
        width += 1
    if groups[last - width - 1] != _NUMBER:
        return 0
    a, b = codes[last - 1] | 32, codes[last - 2] | 32 if width > 1 else 0
    if width == 1:
        return 1 if a == 107 or a == 109 or a == 103 or a == 116 else 0
    if width != 2:
        return 0
    if a == 109:
        return 2 if b == 107 or b == 99 or b == 109 or b == 100 or b == 110 or b == 97 or b == 112 else 0
    if a == 103:
        return 2 if b == 107 or b == 109 else 0
    if a == 98:
        return 2 if b == 107 or b == 109 or b == 103 or b == 116 else 0
    return 2 if a == 108 and b == 109 else 0

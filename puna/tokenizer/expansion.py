"""More tokens for another language: every text without its letters keeps exactly the ids it had.

Training goes on where it stopped: the new language's text, encoded as before, is joined further, and each new token
ranks after all old ones. A new token must hold a letter of the new scripts S, whole, or end with the first bytes of a
letter whose every completion is in S. Why no other text changes:

- A token can only be used where its bytes occur in a piece of the text. UTF-8 is self-synchronising: the bytes of a
  letter, or its first bytes, occur in valid UTF-8 only where such a letter stands. So in a text without letters of S
  no new token occurs, neither as the union of a pair nor as a piece taken whole.
- The pieces are cut as before, the old tokens keep their ranks and therefore their order, and a pair whose union is new
  never arises. So each step of encoding is the one it was.

Text with letters of S gets other ids, and that is the purpose. In a script that an old language shares (Latin for
Latin) S is its letters beyond ASCII: ASCII text keeps its ids, other text of the old language need not.
"""

import functools
import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import regex

from puna.base.errors import ArtifactError, ConfigError, DataError
from puna.tokenizer.bpe import Tokenizer

SCRIPTS = (
    *("Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Syriac", "Thaana", "Devanagari", "Bengali"),
    *("Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao"),
    *("Tibetan", "Myanmar", "Georgian", "Hangul", "Ethiopic", "Cherokee", "Khmer", "Mongolian", "Hiragana"),
    *("Katakana", "Bopomofo", "Han", "Yi", "Nko", "Tifinagh", "Canadian_Aboriginal"),
)
"""Unicode's names of the scripts that are recognised in a text."""
_LEAST_SHARE = 0.01
_LEAST_COUNT = 2


@dataclass(frozen=True)
class Expansion:
    """The larger tokenizer, and for each of its ids the old ids that it stands for: one, or the pieces of a new token.

    The special tokens follow the ranks, so theirs have moved: rows[new id of <|eot_id|>] is [its old id].
    """

    tokenizer: Tokenizer
    rows: list[list[int]]
    scripts: tuple[str, ...]


def expand(tokenizer: Tokenizer, texts: Iterable[str], num_tokens: int, scripts: Collection[str] = ()) -> Expansion:
    """Add `num_tokens` tokens of `scripts`; by default those of the texts' letters (at least 1% of them, not Latin).

    Raises DataError if the texts hold too few repeated pairs, ConfigError for an unknown script.
    """
    if min(tokenizer.special.values()) < len(tokenizer.ranks):
        raise ArtifactError("expected a tokenizer whose special tokens follow its ranks, came another")
    texts = list(texts)
    chars = Counter(itertools.chain.from_iterable(texts))
    chosen = _checked_scripts(scripts) or scripts_of(chars)
    belongs = _Belonging(chosen)
    pieces: Counter[str] = Counter()
    new_letters = {char for char in chars if belongs.has(char)}
    for text in texts:
        pieces.update(piece for piece in regex.findall(tokenizer.pattern, text) if not new_letters.isdisjoint(piece))
    first = len(tokenizer.ranks)
    merges = list(itertools.islice(_merges(tokenizer, pieces, belongs), num_tokens))
    if len(merges) < num_tokens:
        raise DataError(
            f"expected text enough for {num_tokens} new tokens of {', '.join(chosen)}, came enough for {len(merges)}; "
            "give more text or ask for fewer"
        )
    rows = [[token] for token in range(first)] + [ids for _, ids in merges]
    by_id = sorted(tokenizer.special.items(), key=lambda item: item[1])
    rows += [[token] for _, token in by_id]
    ranks = tokenizer.ranks | {token: first + number for number, (token, _) in enumerate(merges)}
    special = {name: len(ranks) + number for number, (name, _) in enumerate(by_id)}
    return Expansion(Tokenizer(ranks, special, tokenizer.pattern), rows, chosen)


def scripts_of(chars: Counter[str]) -> tuple[str, ...]:
    """Scripts with at least 1% of the letters, the commonest first; Latin only where it is the commonest.

    Raises DataError if there are no letters of a known script.
    """
    counts: Counter[str] = Counter()
    for char, count in chars.items():
        counts.update({script: count for script in SCRIPTS if _of_script(script).match(char)})
    if not counts:
        raise DataError("expected text with letters of a script of Unicode, came none")
    common = [name for name, count in counts.most_common() if count >= _LEAST_SHARE * counts.total()]
    return tuple(name for number, name in enumerate(common) if name != "Latin" or number == 0)


def _checked_scripts(scripts: Collection[str]) -> tuple[str, ...]:
    for script in scripts:
        if script not in SCRIPTS:
            raise ConfigError(f"scripts: expected names of {', '.join(SCRIPTS)}, came {script!r}")
    return tuple(scripts)


@functools.cache
def _of_script(script: str) -> "regex.Pattern[str]":
    return regex.compile(rf"\p{{Script={script}}}")


class _Belonging:
    """Whether characters and tokens are the new scripts' (never ASCII): the condition at the head of this file."""

    def __init__(self, scripts: Collection[str]) -> None:
        self._pattern = regex.compile("[" + "".join(rf"\p{{Script={script}}}" for script in scripts) + "]")
        self._heads: dict[bytes, bool] = {}
        self._chars: dict[str, bool] = {}

    def has(self, char: str) -> bool:
        """Whether a character is in S."""
        if char not in self._chars:
            self._chars[char] = char >= "\x80" and self._pattern.match(char) is not None
        return self._chars[char]

    def holds(self, token: bytes) -> bool:
        """Whether a token has a whole character of S, or ends with the head of one."""
        whole = token.decode("utf-8", errors="ignore")
        return any(map(self.has, whole)) or self._head_belongs(_head(token))

    def _head_belongs(self, head: bytes) -> bool:
        if head not in self._heads:
            self._heads[head] = bool(head) and all(map(self.has, _completions(head)))
        return self._heads[head]


def _head(token: bytes) -> bytes:
    """The bytes of the character that has begun at the end of `token` and is not whole; empty if there is none."""
    for size in range(1, min(3, len(token)) + 1):
        byte = token[-size]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return token[-size:] if size < length else b""
        if byte < 0x80:
            return b""
    return b""


def _completions(head: bytes) -> Iterator[str]:
    """All characters whose UTF-8 begins with `head`."""
    length = 2 if head[0] < 0xE0 else 3 if head[0] < 0xF0 else 4
    missing = 6 * (length - len(head))
    bits = head[0] & (0x7F >> length)
    for byte in head[1:]:
        bits = bits << 6 | byte & 0x3F
    for code in range(bits << missing, (bits + 1) << missing):
        yield chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\x00"


def _merges(tokenizer: Tokenizer, pieces: Counter[str], belongs: _Belonging) -> Iterator[tuple[bytes, list[int]]]:
    """New tokens in the order of training, each with the old ids that it joins.

    Textbook BPE on words of old ids: the commonest pair first, of a tie the smaller bytes. A pair whose union is a
    token already is joined at once and gives none, because encoding would join it first.
    """
    names = {rank: token for token, rank in tokenizer.ranks.items()}
    known = dict(tokenizer.ranks)
    parts: dict[int, list[int]] = {}
    words = tokenizer.encode_batch(list(pieces))
    counts = list(pieces.values())
    pairs: Counter[tuple[int, int]] = Counter()
    places: dict[tuple[int, int], set[int]] = defaultdict(set)
    heap: list[tuple[float, bytes, tuple[int, int]]] = []

    def push(pair: tuple[int, int]) -> None:
        union = names[pair[0]] + names[pair[1]]
        if union in known:
            heapq.heappush(heap, (float("-inf"), union, pair))
        elif pairs[pair] >= _LEAST_COUNT and belongs.holds(union):
            heapq.heappush(heap, (-pairs[pair], union, pair))

    for number, word in enumerate(words):
        for pair in itertools.pairwise(word):
            pairs[pair] += counts[number]
            places[pair].add(number)
    for pair in list(pairs):
        push(pair)
    while heap:
        priority, union, pair = heapq.heappop(heap)
        is_known = union in known
        if not pairs[pair] or (not is_known and -priority != pairs[pair]):
            continue  # the count has changed since; the pair was pushed again with its new one
        if not is_known:
            number = len(known)
            known[union], names[number] = number, union
            parts[number] = [old for half in pair for old in parts.get(half, [half])]
            for cut in range(1, len(union)):  # other pairs of the same bytes are now joined at once
                left, right = known.get(union[:cut]), known.get(union[cut:])
                if left is not None and right is not None and pairs[left, right]:
                    push((left, right))
            yield union, parts[number]
        changed = set()
        for place in places.pop(pair):
            word = words[place]
            words[place] = _joined(word, pair, known[union])
            for sign, version in ((-1, word), (1, words[place])):
                for other in itertools.pairwise(version):
                    pairs[other] += sign * counts[place]
                    changed.add(other)
                    if sign > 0:
                        places[other].add(place)
        pairs[pair] = 0
        for other in changed - {pair}:
            push(other)


def _joined(word: list[int], pair: tuple[int, int], union: int) -> list[int]:
    """`word` with each `pair`, from the left, as `union`."""
    joined: list[int] = []
    at = 0
    while at < len(word):
        is_pair = at + 1 < len(word) and (word[at], word[at + 1]) == pair
        joined.append(union if is_pair else word[at])
        at += 1 + is_pair
    return joined

"""A word n-gram language model with interpolated Kneser-Ney smoothing, counted with sorted numpy arrays.

What copying of word sequences alone can achieve; the baseline beside every exam score. Q queries, N words of the text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)?|\n|\S")


def split_words(text: str) -> list[str]:
    """Words, numbers, signs and line ends; case is kept."""
    return _WORD.findall(text)


@dataclass
class _Level:
    """The n-grams of one length, sorted by key = (number of the first n - 1 words) * V + last word.

    counts: how often each occurs in the longest length, else how many words it follows (Kneser-Ney). By prefix:
    total and num_followers of these counts, and the follower with the highest.
    """

    keys: Ids
    counts: Ids
    total: Ids
    num_followers: Ids
    best: Ids
    discount: float


class NgramModel:
    """P(word | up to order - 1 words before) of some texts; n-grams do not cross from text to text.

    With c the counts of `_Level` and D = n1 / (n1 + 2 n2) a length's discount (Ney 1994, Chen and Goodman 1999 eq. 21):

        P(w | h) = max(c(h w) - D, 0) / c(h) + D followers(h) / c(h) * P(w | h without its first word)

    down to the uniform distribution over the vocabulary with one place for unknown words.
    """

    def __init__(self, texts: Iterable[str], order: int = 5) -> None:
        self.order = order
        self.vocabulary: dict[str, int] = {}
        ids, first = self._read(texts)
        self.words = list(self.vocabulary)
        self._base = len(self.words) + 1
        self._levels = self._count(ids, first)

    def encode(self, words: Iterable[str]) -> Ids:
        """Numbers of words; -1 for unknown ones."""
        return np.array([self.vocabulary.get(word, -1) for word in words], np.int64)

    def probability(self, context: Ids, word: Ids) -> npt.NDArray[np.float64]:
        """P(word[q] | context[q]) for context [Q, order - 1], padded with -1 on the left, and word [Q]."""
        p = np.full(len(word), 1 / self._base)
        for length, level in enumerate(self._levels):
            prefix = self._find(context[:, context.shape[1] - length :])
            known = prefix >= 0
            at = np.where(known, prefix, 0)
            total = level.total[at]
            known &= total > 0
            gram = _lookup(level.keys, np.where(known & (word >= 0), at * self._base + word, -1))
            count = np.where(gram >= 0, level.counts[gram], 0)
            smoothed = np.maximum(count - level.discount, 0) + level.discount * level.num_followers[at] * p
            p = np.where(known, smoothed / np.maximum(total, 1), p)
        return p

    def logprob(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """log P in nats of the words of the second text after the first, for each pair."""
        contexts, words, owners = [], [], []
        for owner, (before, after) in enumerate(pairs):
            ids = self.encode(split_words(before) + split_words(after)).tolist()
            num_before = len(split_words(before))
            padded = [-1] * (self.order - 1) + ids
            for i in range(num_before, len(ids)):
                contexts.append(padded[i : i + self.order - 1])
                words.append(ids[i])
                owners.append(owner)
        shaped = np.array(contexts, np.int64).reshape(-1, self.order - 1)
        logs = np.log(self.probability(shaped, np.array(words, np.int64)))
        return np.bincount(np.array(owners, np.int64), logs, minlength=len(pairs)).astype(np.float64)

    def complete(self, prompts: Sequence[str], max_words: int, end: str = "\n") -> list[str]:
        """Greedy continuations: word by word the commonest follower of the longest context that was seen before."""
        width = self.order - 1
        context = np.full((len(prompts), width), -1, np.int64)
        for row, prompt in enumerate(prompts):
            last = self.encode(split_words(prompt))[-width:]
            context[row, width - len(last) :] = last
        written = np.full((len(prompts), max_words), -1, np.int64)
        for step in range(max_words):
            written[:, step] = self._likeliest(context)
            context = np.concatenate([context[:, 1:], written[:, step : step + 1]], axis=1)
        texts = []
        for numbers in written.tolist():
            words = [self.words[i] for i in numbers]
            texts.append(" ".join(words[: words.index(end)] if end in words else words))
        return texts

    def _likeliest(self, context: Ids) -> Ids:
        chosen = np.full(len(context), self._levels[0].best[0])
        for length, level in enumerate(self._levels):
            prefix = self._find(context[:, context.shape[1] - length :])
            seen = (prefix >= 0) & (level.total[np.maximum(prefix, 0)] > 0)
            chosen = np.where(seen, level.best[np.maximum(prefix, 0)], chosen)
        return chosen

    def _find(self, words: Ids) -> Ids:
        """Numbers of the n-grams words [Q, n] among those of their length, -1 for unseen; 0 for the empty n-gram."""
        found = np.zeros(len(words), np.int64)
        for column in range(words.shape[1]):
            valid = (found >= 0) & (words[:, column] >= 0)
            found = _lookup(self._levels[column].keys, np.where(valid, found * self._base + words[:, column], -1))
        return found

    def _read(self, texts: Iterable[str]) -> tuple[Ids, npt.NDArray[np.bool_]]:
        """All words as numbers, and where a text begins."""
        ids: list[int] = []
        starts: list[int] = []
        for text in texts:
            starts.append(len(ids))
            ids.extend(self.vocabulary.setdefault(word, len(self.vocabulary)) for word in split_words(text))
        first = np.zeros(len(ids) + 1, bool)
        first[starts] = True
        return np.array(ids, np.int64), first[: len(ids)]

    def _count(self, ids: Ids, first: npt.NDArray[np.bool_]) -> list[_Level]:
        grams = np.zeros(len(ids), np.int64)  # number of the n-gram that starts at each word; n = 0 at first
        whole = np.ones(len(ids), bool)  # whether it lies within one text
        found: list[tuple[Ids, Ids, Ids, Ids]] = []
        for length in range(self.order):
            stop = max(0, len(ids) - length)
            if length:
                grams, whole = grams[:stop], whole[:stop] & ~first[length:]
            keys = np.where(whole, grams * self._base + ids[length:], -1)
            unique, places, numbers, counts = np.unique(keys, True, True, True)  # first place, number, count of each
            skip = int(len(unique) > 0 and unique[0] == -1)
            grams = numbers.reshape(-1) - skip
            found.append((unique[skip:], places[skip:], counts[skip:], grams))
        levels = []
        for length, (keys, _, counts, grams) in enumerate(found):
            if length + 1 < self.order:
                following = grams[found[length + 1][1] + 1]  # each longer n-gram ends in one of this length
                counts = np.bincount(following, minlength=len(keys))
            num_prefixes = len(found[length - 1][0]) if length else 1
            levels.append(self._level(keys, counts, num_prefixes))
        return [level for level in levels if len(level.keys)]  # texts shorter than the order have no longest n-grams

    def _level(self, keys: Ids, counts: Ids, num_prefixes: int) -> _Level:
        prefix, word = keys // self._base, keys % self._base
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        best = np.zeros(num_prefixes, np.int64)
        ascending = np.lexsort((-word, counts))  # the last write wins: highest count, then the first word
        best[prefix[ascending]] = word[ascending]
        return _Level(
            keys=keys,
            counts=counts,
            total=np.bincount(prefix, counts, minlength=num_prefixes).astype(np.int64),
            num_followers=np.bincount(prefix, counts > 0, minlength=num_prefixes).astype(np.int64),
            best=best,
            discount=once / (once + 2 * twice) if once else 0.5,
        )


def _lookup(keys: Ids, wanted: Ids) -> Ids:
    """Positions of `wanted` in sorted `keys`, -1 where missing."""
    if len(keys) == 0:
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)

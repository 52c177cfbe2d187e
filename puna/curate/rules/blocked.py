"""Words and phrases that a page must not hold, such as a list of dirty words."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from puna.curate.text.words import Hashes, Words, hash_words, ngram_hashes


class BlockedWords:
    """A list of words and phrases. Made once, asked for every page."""

    def __init__(self, entries: Iterable[str]):
        by_length: dict[int, list[int]] = defaultdict(list)
        for hashes in hash_words([entry for entry in entries if entry.strip()]):
            if len(hashes):
                by_length[len(hashes)].append(int(ngram_hashes(hashes, len(hashes))[0]))
        self._by_length: dict[int, Hashes] = {
            n: np.array(sorted(set(keys)), np.uint64) for n, keys in by_length.items()
        }

    def count(self, words: Words) -> int:
        """How many times a blocked word or phrase occurs in `words`, at word borders."""
        return sum(int(np.isin(ngram_hashes(words.hashes, n), keys).sum()) for n, keys in self._by_length.items())

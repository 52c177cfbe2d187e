"""A corpus, or a plan over it, as sequences to be packed."""

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError
from puna.pretrain.mix.corpus import Corpus

Int64 = npt.NDArray[np.int64]


class CorpusSequences:
    """Documents of a corpus, each as often as `copies` says (once, without), pass by pass.

    In each of the `parts` a document stands once at most, so that copies packed part by part never share a row.
    """

    def __init__(self, corpus: Corpus, copies: npt.NDArray[np.integer] | None = None) -> None:
        shards = list(corpus.shards.values())
        self._shards = shards
        self._first = np.cumsum([0, *(len(one) for one in shards)])
        times = np.ones(int(self._first[-1]), np.int64) if copies is None else np.asarray(copies, np.int64)
        passes = [np.flatnonzero(times > number) for number in range(int(times.max(initial=0)))]
        self.parts = [len(one) for one in passes]
        self._order: Int64 = np.concatenate([np.zeros(0, np.int64), *passes])
        self.lengths: Int64 = (corpus.sizes + 1)[self._order]

    def piece(self, index: int, start: int, size: int) -> tuple[Int64, Int64]:
        """`size` tokens from `start` of sequence `index` and the tokens that follow each."""
        document = int(self._order[index])
        shard = int(np.searchsorted(self._first, document, side="right")) - 1
        ids = self._shards[shard].document(document - int(self._first[shard]))
        tokens = ids[start : start + size + 1].astype(np.int64)
        return tokens[:-1], tokens[1:]


def check_enough(num_tokens: int, planned: int) -> None:
    """Raises ConfigError if a run wants more tokens than its mix has: what is missing would be repeated unseen."""
    if num_tokens > planned:
        raise ConfigError(
            f"pretrain.num_tokens: expected at most the {planned:,} tokens of the rows that the mix fills, came "
            f"{num_tokens:,}; raise num_tokens of the mix, or its max_epochs"
        )

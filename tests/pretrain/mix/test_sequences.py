"""What is learned follows the plan, row by row."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from puna.base.errors import ConfigError
from puna.pretrain.loader import IGNORED
from puna.pretrain.mix.corpus import Corpus, token_folders
from puna.pretrain.mix.sequences import CorpusSequences
from puna.pretrain.run import PretrainConfig, new_loader
from tests.pretrain.mix.conftest import ALL, MakeTokens

CONFIG = PretrainConfig(num_tokens=64, row_tokens=64, batch_rows=2, micro_batch=2)


def targets(loader) -> Counter:  # type: ignore[no-untyped-def]
    """Every target token of one pass over the loader's rows."""
    batch = loader.gather(list(range(loader.packing.num_rows)))
    return Counter(batch.targets[batch.targets != IGNORED].tolist())


def test_a_pass_over_the_rows_holds_each_document_as_often_as_planned(tokens: Path) -> None:
    corpus = Corpus({"tokens": tokens})
    copies = np.random.default_rng(0).integers(0, 4, len(corpus.sizes))
    loader = new_loader(corpus, CONFIG, 1, copies)
    shards = corpus.shards["tokens"]
    expected: Counter[int] = Counter()
    for number, count in enumerate(copies.tolist()):
        for token in shards.document(number)[1:].tolist():
            expected[token] += count
    assert targets(loader) == expected
    packing, parts = loader.packing, CorpusSequences(corpus, copies).parts
    assert parts == [int((copies > n).sum()) for n in range(3)]
    order = np.concatenate([np.flatnonzero(copies > n) for n in range(3)])
    for row in range(packing.num_rows):
        inside = order[packing.documents[packing.row_offsets[row] : packing.row_offsets[row + 1]]]
        starts = packing.starts[packing.row_offsets[row] : packing.row_offsets[row + 1]]
        assert len(set(zip(inside.tolist(), starts.tolist(), strict=True))) == len(inside)  # no copy beside its twin


def test_without_a_plan_every_document_is_learned_once(tokens: Path) -> None:
    corpus = Corpus({"tokens": tokens})
    every, ones = (new_loader(corpus, CONFIG, 1, copies) for copies in (None, np.ones(len(corpus.sizes), np.uint16)))
    assert (every.batch(5).tokens == ones.batch(5).tokens).all()
    assert sum(targets(every).values()) == corpus.sizes.sum()


def test_folders_are_one_corpus_in_any_order(make_tokens: MakeTokens) -> None:
    folders = [make_tokens(ALL[:20]), make_tokens(ALL[20:])]
    one, other = (new_loader(Corpus(token_folders(paths)), CONFIG, 1) for paths in (folders, folders[::-1]))
    assert (one.batch(3).tokens == other.batch(3).tokens).all()
    assert targets(one) == targets(new_loader(Corpus({"all": make_tokens(ALL)}), CONFIG, 1))
    with pytest.raises(ConfigError, match="expected different token folders"):
        token_folders([folders[0], folders[0]])


def test_a_run_longer_than_its_mix_is_refused(tokens: Path) -> None:
    corpus = Corpus({"tokens": tokens})
    copies = np.zeros(len(corpus.sizes), np.uint16)
    copies[:3] = 1
    longer = CONFIG.model_copy(update={"num_tokens": 100_000})
    with pytest.raises(ConfigError, match=r"at most the \d+ tokens of the rows that the mix fills, came 100,000"):
        new_loader(corpus, longer, 1, copies)
    new_loader(corpus, longer, 1)  # without a mix the rows come again, as ever

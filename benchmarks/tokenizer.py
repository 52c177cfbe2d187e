"""Tokenizer training beside `tokenizers`, and bulk encoding beside tiktoken: same text, same result.

python -m benchmarks.tokenizer --data DIR [--case train-32k|encode] [--quick] [--json]
"""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import tiktoken
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, trainers

from benchmarks.interleave import compare, peak_gflops, publish
from puna.base.config import num_cores
from puna.base.records import open_text, read_jsonl
from puna.tokenizer import huggingface
from puna.tokenizer.bpe import split_pattern
from puna.tokenizer.train import TokenizerConfig, train

_SOURCES = ("text-books-en", "text-zh-wikipedia", "text-zh-classics", "text-tatoeba", "text-c4-en")
_NUM_TOKENS = 32_000


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True, help="a folder with the texts of data/README.md")
    parser.add_argument("--case", choices=["train-32k", "encode"], help="one case only")
    parser.add_argument("--quick", action="store_true", help="fewer runs on less text, nothing recorded")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(num_cores())
    texts = _texts(options.data, 4_000_000 if options.quick else 20_000_000)
    cases: dict[str, Callable[..., dict[str, Any]]] = {"train-32k": _training, "encode": _encoding}
    names = [options.case] if options.case else list(cases)
    publish([cases[name](texts, 2 if options.quick else 5) for name in names], options.quick)


def _training(texts: list[str], runs: int) -> dict[str, Any]:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    results: dict[str, list[bytes]] = {}

    def ours() -> float:
        config = TokenizerConfig(vocab_size=_NUM_TOKENS + 256)
        results["ours"] = _ordered(train(texts, config, num_cores()).ranks)
        return megabytes

    def peer() -> float:
        fast = FastTokenizer(models.BPE())
        fast.pre_tokenizer = huggingface.pieces(split_pattern())
        spelling = huggingface.byte_spelling()
        alphabet = list(spelling.values())
        fast.train_from_iterator(
            texts,
            trainers.BpeTrainer(
                vocab_size=_NUM_TOKENS, initial_alphabet=alphabet, special_tokens=[], show_progress=False
            ),
        )
        byte_of = {char: byte for byte, char in spelling.items()}
        vocabulary = fast.get_vocab().items()
        results["peer"] = _ordered({bytes(byte_of[char] for char in name): rank for name, rank in vocabulary})
        return megabytes

    measured = compare(ours, peer, runs)
    names = {"bench": "tokenizer", "case": "train-32k", "peer_name": "tokenizers", "unit": "kB/s"}
    return _row(names, measured, results["ours"] == results["peer"])


def _encoding(texts: list[str], runs: int) -> dict[str, Any]:
    tokenizer = train(texts[:2000], TokenizerConfig(vocab_size=8192))
    encoding = tiktoken.Encoding(
        "peer", pat_str=tokenizer.pattern, mergeable_ranks=tokenizer.ranks, special_tokens=tokenizer.special
    )
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    results: dict[str, list[list[int]]] = {}

    def ours() -> float:
        results["ours"] = tokenizer.encode_batch(texts, num_cores())
        return megabytes

    def peer() -> float:
        results["peer"] = encoding.encode_ordinary_batch(texts, num_threads=num_cores())
        return megabytes

    measured = compare(ours, peer, runs)
    names = {"bench": "tokenizer", "case": "encode", "peer_name": "tiktoken", "unit": "kB/s"}
    return _row(names, measured, results["ours"] == results["peer"])


def _row(names: dict[str, str], measured: dict[str, Any], same: bool) -> dict[str, Any]:
    """Rates in kB/s; the matmul peak says nothing of these, and is given so that the machine's minute is known."""
    rates = {name: 1000 * measured[name] for name in ("ours", "peer")}
    return {**names, **measured, **rates, "same_result": same, "peak_fraction": 0.0, "peak_gflops": peak_gflops()}


def _ordered(ranks: dict[bytes, int]) -> list[bytes]:
    return sorted(ranks, key=ranks.__getitem__)


def _texts(folder: Path, num_bytes: int) -> list[str]:
    """About `num_bytes` of text, an equal share of each source as far as it goes."""
    sources = [_parts(folder / name) for name in _SOURCES]
    texts, size = [], 0
    while sources and size < num_bytes:
        for source in list(sources):
            several = list(islice(source, 20))
            if not several:
                sources.remove(source)
            texts += several
            size += sum(len(text.encode()) for text in several)
    return texts


def _parts(folder: Path) -> Iterator[str]:
    """The texts of a folder's files, cut into parts of some kB, as pages are."""
    for file in sorted(folder.glob("*.gz")) + sorted(folder.glob("*.xz")):
        if ".jsonl" in file.name:
            texts: Iterable[str] = (row["text"] for row in read_jsonl(file))
        else:
            with open_text(file) as opened:
                texts = [opened.read()]
        for text in texts:
            yield from (text[start : start + 4000] for start in range(0, len(text), 4000))


if __name__ == "__main__":
    main()

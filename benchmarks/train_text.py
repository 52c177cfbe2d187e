"""Training on real documents of mixed length, and what longer rows cost: our packed rows beside transformers.

`packed`: the same pieces of the same documents for both. We pack them best-fit under the document mask; the peer pads
each batch to its longest piece, as a plain loop with a data collator does, in random order or, as transformers' Trainer
does with `group_by_length`, in batches of about equal length. Speeds are in learned targets, padding counts for none.

B rows, T tokens.
"""

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.interleave import compare, compare_all, peak_gflops
from benchmarks.trainers import Kind, Ours, Theirs, agree, drawn, flops_per_token, row, write_batches, write_model
from puna.base.config import num_cores
from puna.base.records import read_jsonl
from puna.model import Llama, LlamaConfig
from puna.pretrain.loader import IGNORED, Loader
from puna.pretrain.loop import mean_loss
from puna.tokenizer.train import TokenizerConfig, train

SOURCES = ("text-tinystories/stories.jsonl.gz", "text-c4-en/docs.jsonl.gz", "text-wikipedia-en/articles.jsonl.gz")
ROW_TOKENS = 512
ROWS = 8
LENGTHS = (512, 1024, 2048, 4096, 8192)
_BATCH_TOKENS = 8192
_AT_ONCE = 2048
"""Tokens that go through our model at once."""
_GROUP = 50
"""Batches within which `group_by_length` sorts."""

Int64 = npt.NDArray[np.int64]
Padded = tuple[Tensor, Tensor, Tensor]
"""Tokens, targets and the mask of real tokens, each [B, T]."""


class Documents:
    """Documents as what a loader packs: ids with a begin and an end."""

    def __init__(self, ids: list[list[int]]) -> None:
        self._ids = [np.array(one, np.int64) for one in ids]
        self.lengths: Int64 = np.array([len(one) for one in self._ids], np.int64)

    def piece(self, index: int, start: int, size: int) -> tuple[Int64, Int64]:
        """`size` tokens from `start`, and those that follow each."""
        part = self._ids[index][start : start + size + 1]
        return part[:-1], part[1:]


def packed(shape: LlamaConfig, data: Path, quick: bool) -> list[dict[str, Any]]:
    """Useful targets per second of packed rows beside padded ones."""
    documents, model, peaks = read_documents(data, shape.vocab_size), Llama(shape), list[float]()
    loader = Loader(documents, ROW_TOKENS, ROWS, seed=0)
    orders = {"padded": padded(documents, loader, grouped=False), "by length": padded(documents, loader, grouped=True)}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_model(model, folder)
        peers = {
            order: stack.enter_context(contextlib.closing(Theirs(Kind("transformers"), folder, num_cores())))
            for order in orders
        }
        same = _same_loss(model, loader, documents, peers["padded"], folder)
        for order, batches in orders.items():
            torch.save(batches, folder / order)
            peers[order].read(folder / order)
        rows = [loader.batch(step) for step in range(int(loader.epoch_batches))]
        ours, eager = (Ours(model, rows, _AT_ONCE // ROW_TOKENS, compiled) for compiled in (True, False))
        steps, turns = (2, 2) if quick else (8, 7)
        works: dict[str, Callable[[], float]] = {"ours, eager": lambda: eager.train(steps)}
        works |= {f"transformers {order}": (lambda peer=peer: peer.train(steps)) for order, peer in peers.items()}
        found = compare_all(lambda: ours.train(steps), works, turns, after_turn=lambda: peaks.append(peak_gflops()))
    sizes = loader.packing.sizes
    fills = {"packed": loader.packing.fill} | {order: _fill(batches) for order, batches in orders.items()}
    said = ", ".join(f"{fill:.1%} {name}" for name, fill in fills.items())
    print(f"# {len(documents.lengths)} documents, {len(sizes)} pieces of {sizes.mean():.0f} tokens; text is: {said}")
    share = flops_per_token(shape, _seen(loader)) / 1e9 / statistics.median(peaks)
    return [row("packed", peer, rates, same, share * rates["ours"], "targets/s") for peer, rates in found.items()]


def length(shape: LlamaConfig, data: Path, quick: bool) -> list[dict[str, Any]]:
    """Tokens per second as rows grow at equal tokens a batch: documents packed, and one document a row, beside
    transformers, whose rows are whole."""
    documents, rows = read_documents(data, shape.vocab_size), []
    for tokens in LENGTHS[:3] if quick else LENGTHS:
        model = Llama(LlamaConfig(**{**shape.to_dict(), "max_position": tokens}))
        loader = Loader(documents, tokens, _BATCH_TOKENS // tokens, seed=0, piece_tokens=ROW_TOKENS)
        whole = drawn(shape, _BATCH_TOKENS // tokens, tokens, count=4)
        kinds = {"whole": (whole, float(tokens)), "packed": ([loader.batch(step) for step in range(4)], _seen(loader))}
        with tempfile.TemporaryDirectory() as name:
            write_model(model, Path(name))
            write_batches(whole, Path(name) / "batches")
            theirs = Theirs(Kind("transformers"), Path(name), num_cores())
            is_same = _same_loss(model, loader, documents, theirs, Path(name))
            theirs.read(Path(name) / "batches")
            for kind, (batches, seen) in kinds.items():
                ours = Ours(model, batches, max(1, _AT_ONCE // tokens), compiled=False)
                works = (lambda ours=ours: ours.train(1), lambda theirs=theirs: theirs.train(1))
                found = compare(*works, 1 if quick else 5)
                share = flops_per_token(shape, seen) * found["ours"] / 1e9 / peak_gflops()
                same = is_same if kind == "packed" else agree(ours.losses, theirs.losses)
                rows.append(row(f"length {tokens} {kind}", "transformers whole", found, same, share, "targets/s"))
            theirs.close()
    return rows


def read_documents(data: Path, vocab_size: int) -> Documents:
    """Stories, web pages and encyclopedia articles, by a tokenizer that is trained on them."""
    texts = [row["text"] for source in SOURCES for row in read_jsonl(data / source)]
    tokenizer = train(texts, TokenizerConfig(vocab_size=vocab_size))
    return Documents([tokenizer.encode(text, bos=True, eos=True) for text in texts])


def padded(documents: Documents, loader: Loader, grouped: bool) -> list[Padded]:
    """The pieces of a packing in random batches of `ROWS`, each padded to its longest.

    grouped: sorted by length within `_GROUP` batches before they are cut.
    """
    packing = loader.packing
    order = np.random.default_rng(0).permutation(len(packing.sizes))
    if grouped:
        size = _GROUP * ROWS
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        order = np.concatenate([part[np.argsort(-packing.sizes[part], kind="stable")] for part in parts])
    batches = [order[i : i + ROWS] for i in range(0, len(order) - ROWS + 1, ROWS)]
    if grouped:  # they come in random order, as from the Trainer
        batches = [batches[i] for i in np.random.default_rng(1).permutation(len(batches))]
    return [pad(list(_pieces(documents, loader, batch))) for batch in batches]


def pad(pieces: list[tuple[Int64, Int64]]) -> Padded:
    """Tokens and targets of pieces as one batch, padded on the right to the longest."""
    shape = (len(pieces), max(len(tokens) for tokens, _ in pieces))
    tokens, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    targets = np.full(shape, IGNORED, np.int64)
    for number, (inputs, wanted) in enumerate(pieces):
        span = (number, slice(len(inputs)))
        tokens[span], targets[span], mask[span] = inputs, wanted, 1
    return torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(mask)


def _pieces(documents: Documents, loader: Loader, numbers: Int64) -> Iterator[tuple[Int64, Int64]]:
    packing = loader.packing
    for j in numbers:
        yield documents.piece(int(packing.documents[j]), int(packing.starts[j]), int(packing.sizes[j]))


def _same_loss(model: Llama, loader: Loader, documents: Documents, peer: Theirs, folder: Path) -> bool:
    """Whether packed rows have, before training, the mean loss that the peer has of their pieces, each alone."""
    offsets = loader.packing.row_offsets
    rows = range(loader.packing.num_rows // 2, loader.packing.num_rows // 2 + 4)
    numbers = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])
    torch.save([pad(list(_pieces(documents, loader, numbers)))], folder / "pieces")
    (theirs,) = peer.read(folder / "pieces").measure(1)
    return abs(mean_loss(model, [loader.gather(list(rows))]) - theirs) <= 1e-4 * theirs


def _fill(batches: list[Padded]) -> float:
    return sum(int(mask.sum()) for _, _, mask in batches) / sum(mask.numel() for _, _, mask in batches)


def _seen(loader: Loader) -> float:
    """How long the piece is that a token stands in, on average over tokens."""
    sizes = loader.packing.sizes
    return float((sizes**2).sum() / sizes.sum())

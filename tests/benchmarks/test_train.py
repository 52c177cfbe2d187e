"""What training is compared on: the same steps for both, the same documents packed and padded, ranks that add up."""

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from benchmarks import train_processes, train_text, trainers
from puna.model import Llama, LlamaConfig
from puna.pretrain.loader import IGNORED, Loader
from puna.pretrain.loop import mean_loss
from tests.parallel.ranks import Ranks

SHAPE = LlamaConfig(16, 2, 4, 2, 24, 61, max_position=32)
PEERS = Path(trainers.__file__).with_name("peers")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The worker of transformers, in this process."""
    monkeypatch.syspath_prepend(str(PEERS))
    return importlib.import_module("transformers_worker")


def test_a_peer_takes_the_steps_that_we_take(worker: ModuleType, tmp_path: Path) -> None:
    model, batches = Llama(SHAPE, seed=1), trainers.drawn(SHAPE, rows=4, tokens=8, count=3)
    trainers.write_model(model, tmp_path)
    trainers.write_batches(batches, tmp_path / "batches")
    theirs = worker.training.Training(worker.build)
    shape = torch.load(tmp_path / "shape")
    assert theirs.load(**shape, weights=str(tmp_path / "weights"), compiled=False) == SHAPE.num_parameters()
    assert theirs.batches(str(tmp_path / "batches")) == 3
    ours = trainers.Ours(model, batches, micro_batch=2, compiled=False)
    answer = theirs.train(5)
    assert (ours.train(5), answer["targets"]) == (160.0, 160)
    assert ours.losses == pytest.approx(answer["losses"], rel=1e-5)
    assert trainers.agree(ours.losses, answer["losses"])
    assert ours.losses[3] < ours.losses[0] - 0.01  # batch 0 again, and it was learned from


def test_a_peer_computes_in_bf16_as_we_do(worker: ModuleType, tmp_path: Path) -> None:
    model, batches = Llama(SHAPE, seed=1), trainers.drawn(SHAPE, rows=4, tokens=8, count=3)
    trainers.write_model(model, tmp_path)
    trainers.write_batches(batches, tmp_path / "batches")
    found = list[list[float]]()
    for half in (False, True):
        theirs = worker.training.Training(worker.build)
        theirs.load(**torch.load(tmp_path / "shape"), weights=str(tmp_path / "weights"), compiled=False, half=half)
        theirs.batches(str(tmp_path / "batches"))
        found.append(theirs.train(3)["losses"])
    assert found[0] != found[1] and found[1] == pytest.approx(found[0], rel=1e-2)
    ours = trainers.Ours(model, batches, micro_batch=2, compiled=False, dtype=torch.bfloat16)
    ours.train(3)
    assert ours.losses != found[0] and trainers.agree(ours.losses, found[1], 1e-2)


def test_other_losses_do_not_agree() -> None:
    assert trainers.agree([2.0, 1.5], [2.001, 1.5, 1.0])
    assert not trainers.agree([2.0, 1.5], [2.0, 1.503])
    assert not trainers.agree([2.0], [math.nan])
    assert not trainers.agree([], [])


def _documents() -> train_text.Documents:
    rng = np.random.default_rng(0)
    return train_text.Documents([rng.integers(1, 61, size).tolist() for size in rng.integers(2, 40, 90)])


@pytest.mark.parametrize("grouped", [False, True])
def test_padded_batches_hold_the_pieces_of_the_packing(grouped: bool) -> None:
    documents = _documents()
    loader = Loader(documents, 16, 4, seed=0)
    batches = train_text.padded(documents, loader, grouped)
    packed = loader.gather(list(range(loader.packing.num_rows)))
    known = [
        tuple(zip(packed.tokens[row][of].tolist(), packed.targets[row][of].tolist()))
        for row in range(loader.packing.num_rows)
        for number in packed.documents[row].unique().tolist()
        for of in [packed.documents[row] == number]
        if number >= 0
    ]
    found = [
        tuple(zip(tokens[row][real].tolist(), targets[row][real].tolist()))
        for tokens, targets, mask in batches
        for row in range(len(tokens))
        for real in [mask[row] == 1]
    ]
    left_out = len(known) % train_text.ROWS  # the last, smaller batch
    assert len(found) == len(known) - left_out
    for piece in found:
        known.remove(piece)
    for _, targets, mask in batches:
        assert ((targets == IGNORED) == (mask == 0)).all() and mask[:, 0].all()
        assert mask.shape[1] == int(mask.sum(1).max())


def test_batches_of_like_length_hold_less_padding() -> None:
    documents = _documents()
    loader = Loader(documents, 32, 4, seed=0)
    fills = [train_text._fill(train_text.padded(documents, loader, grouped)) for grouped in (False, True)]
    assert fills[0] < fills[1] - 0.1


def test_a_padded_peer_has_the_loss_of_packed_rows(worker: ModuleType, tmp_path: Path) -> None:
    documents, model = _documents(), Llama(SHAPE, seed=1)
    loader = Loader(documents, 16, 4, seed=0)
    trainers.write_model(model, tmp_path)
    peer = worker.training.Training(worker.build)
    peer.load(**torch.load(tmp_path / "shape"), weights=str(tmp_path / "weights"), compiled=False)
    numbers = np.arange(loader.packing.row_offsets[3])
    torch.save([train_text.pad(list(train_text._pieces(documents, loader, numbers)))], tmp_path / "pieces")
    peer.batches(str(tmp_path / "pieces"))
    assert peer.losses(1)[0] == pytest.approx(mean_loss(model, [loader.gather([0, 1, 2])]), rel=1e-5)


def test_ranks_take_the_step_of_one_process() -> None:
    ranks = Ranks(2)
    try:
        losses, weights = zip(*ranks.call(_two_steps))
    finally:
        ranks.close()
    batches = trainers.drawn(SHAPE, rows=4, tokens=8, count=2)
    ours = trainers.Ours(Llama(SHAPE), batches, micro_batch=4, compiled=False)
    ours.train(2)
    assert losses[0] == losses[1] == pytest.approx(ours.losses, rel=1e-6)
    assert torch.equal(*weights)
    torch.testing.assert_close(weights[0], torch.cat([p.detach().flatten() for p in ours.model.parameters()]))


def _two_steps() -> tuple[list[float], torch.Tensor]:
    """What a rank does: two steps on its half of the rows."""
    rank = train_processes.Rank(2, SHAPE, row_tokens=8, micro_batch=1)
    losses = [rank.step(batch) for batch in trainers.drawn(SHAPE, rows=4, tokens=8, count=2)]
    return losses, torch.cat([p.detach().flatten() for p in rank.model.parameters()])

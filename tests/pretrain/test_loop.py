"""The loop: exact resume, gradients that do not depend on micro-batches or packing, learning at all."""

import dataclasses
import math
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException

from puna.base.errors import DiskFullError, RunError
from puna.base.output import Progress, StageOutput
from puna.model import Llama, LlamaConfig
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.loader import IGNORED, Batch, Loader
from puna.pretrain.loop import LoopConfig, language_modelling, train, train_step
from puna.pretrain.loss import cross_entropy_sum
from puna.pretrain.optim import Optimizer, OptimizerConfig
from puna.pretrain.schedule import ScheduleConfig, factor

VOCABULARY = 31
LEARN = language_modelling(micro_batch=2)


class Counting:
    """Sequences that count upwards modulo the vocabulary: easy to learn."""

    def __init__(self, lengths: list[int]):
        self.lengths = np.array(lengths, dtype=np.int64)

    def piece(self, index: int, start: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        tokens = (np.arange(start, start + size + 1) + index) % VOCABULARY
        return tokens[:-1], tokens[1:]


def _model(seed: int = 0) -> Llama:
    config = LlamaConfig(dim=16, layers=2, heads=2, kv_heads=1, ffn_dim=32, vocab_size=VOCABULARY, max_position=64)
    return Llama(config, seed=seed)


def _loader() -> Loader:
    return Loader(Counting([5, 17, 9, 30, 12, 8, 3, 22]), row_tokens=16, rows=4, seed=1)


def _config(**changes: object) -> LoopConfig:
    schedule = ScheduleConfig(warmup_steps=2)
    return LoopConfig(
        lr=1e-2,
        schedule=schedule,
        **{"micro_batch": 2, "checkpoint_interval_s": 0.0, **changes},
    )


def _weights(model: Llama) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


class Stopped(Exception):
    """Thrown by a watcher in the middle of a run, as a kill would."""


@pytest.mark.parametrize(
    "stop_at, changes",
    [(1, {}), (4, {}), (9, {}), (5, {"optimizer": "muon"}), (4, {"average_share": 0.5}), (8, {"average_share": 0.5})],
)
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path: Path, stop_at: int, changes: dict[str, object]) -> None:
    whole, config = _model(), _config(**changes)
    log = train(whole, _loader().batch, 10, config, StageOutput(tmp_path / "whole"), LEARN)

    def stop(look: Progress) -> None:
        if look.done == stop_at:
            raise Stopped

    with pytest.raises(Stopped):
        train(_model(), _loader().batch, 10, config, StageOutput(tmp_path / "killed", watch=stop), LEARN)
    resumed = _model(seed=99)  # other initial weights: everything must come from the checkpoint
    steps: list[float] = []
    out = StageOutput(tmp_path / "killed", watch=lambda look: steps.append(look.done))
    again = train(resumed, _loader().batch, 10, config, out, LEARN)
    if stop_at > 1:
        assert steps[0] == stop_at  # went on after step stop_at - 1, whose checkpoint was the last
        assert [row["loss"] for row in again] == [row["loss"] for row in log]
        for name, tensor in _weights(whole).items():
            assert torch.equal(tensor, _weights(resumed)[name]), name


@pytest.mark.parametrize("share, count", [(0.5, 5), (0.01, 1), (1.0, 10)])
def test_the_mean_of_the_last_weights_comes_out_and_is_what_is_measured_last(
    tmp_path: Path, share: float, count: int
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    measured: list[dict[str, torch.Tensor]] = []

    def keep(into: list[dict[str, torch.Tensor]]) -> Callable[[torch.nn.Module], float]:
        def validate(model: torch.nn.Module) -> float:
            into.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            return 0.0

        return validate

    plain, averaged = _model(), _model()
    train(plain, _loader().batch, 10, _config(), StageOutput(tmp_path / "plain"), LEARN, keep(seen))
    config = _config(average_share=share)
    train(averaged, _loader().batch, 10, config, StageOutput(tmp_path / "averaged"), LEARN, keep(measured))
    for name, tensor in _weights(averaged).items():
        mean = torch.stack([weights[name].double() for weights in seen[10 - count :]]).mean(0)
        assert torch.allclose(tensor.double(), mean, rtol=0, atol=1e-6), name
        assert torch.equal(measured[-1][name], tensor)
        assert torch.equal(measured[-2][name], seen[-2][name])  # before the end nothing differs


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    whole = _model()
    train(whole, _loader().batch, 6, _config(), StageOutput(tmp_path / "run"), LEARN)
    newest = tmp_path / "run/state/step-6"
    victim = next(path for path in newest.iterdir() if path.suffix == ".distcp")
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    steps: list[float] = []
    resumed = _model(seed=5)
    train(
        resumed,
        _loader().batch,
        6,
        _config(),
        StageOutput(tmp_path / "run", watch=lambda look: steps.append(look.done)),
        LEARN,
    )
    assert steps == [6]  # only the last step again
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))


def test_gradients_do_not_depend_on_micro_batches() -> None:
    batch = _loader().batch(0)
    grads = []
    for rows in (1, 2, 4):
        model = _model()
        targets = batch.num_targets
        for part in batch.split(rows):
            logits = model(part.tokens, positions=part.positions, documents=part.documents)
            (cross_entropy_sum(logits, part.targets) / targets).backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in grads[1:]:
        assert torch.linalg.norm(other - grads[0]) <= 1e-5 * torch.linalg.norm(grads[0])


def test_packed_loss_equals_documents_one_by_one() -> None:
    loader, model = _loader(), _model()
    batch = loader.gather(list(range(loader.packing.num_rows)))
    logits = model(batch.tokens, positions=batch.positions, documents=batch.documents)
    packed = cross_entropy_sum(logits, batch.targets).item()
    alone, packing = 0.0, loader.packing
    for document, start, size in zip(packing.documents, packing.starts, packing.sizes):
        tokens, targets = loader.sequences.piece(int(document), int(start), int(size))
        logits = model(torch.from_numpy(tokens)[None])
        alone += torch.nn.functional.cross_entropy(logits[0], torch.from_numpy(targets), reduction="sum").item()
    assert packed == pytest.approx(alone, rel=1e-5)


def test_without_the_mask_a_row_is_one_document() -> None:
    loader = Loader(Counting([5, 17, 9, 30, 12, 8, 3, 22]), 16, 4, seed=1, is_masked=False)
    batch, masked = loader.batch(0), _loader().batch(0)
    assert torch.equal(batch.tokens, masked.tokens) and torch.equal(batch.targets, masked.targets)
    model = _model()
    logits = model(batch.tokens, batch.positions, batch.documents)
    for row, real in enumerate((batch.documents == 0).sum(1).tolist()):
        torch.testing.assert_close(logits[row, :real], model(batch.tokens[row : row + 1, :real])[0])
    assert not torch.allclose(logits, model(masked.tokens, masked.positions, masked.documents))


def test_loss_of_a_step_is_the_mean_over_learned_targets() -> None:
    batch = _loader().batch(0)
    half = batch.targets.clone()
    half[:, ::2] = IGNORED
    batch = dataclasses.replace(batch, targets=half)
    model = _model()
    with torch.no_grad():
        logits = model(batch.tokens, positions=batch.positions, documents=batch.documents)
        logp = torch.log_softmax(logits.double(), -1)
    picked = [logp[b, t, half[b, t]].item() for b in range(4) for t in range(16) if half[b, t] != IGNORED]
    optimizer = Optimizer(model, OptimizerConfig())
    assert train_step(model, optimizer, batch, 0.0, _config(), LEARN)["loss"] == pytest.approx(
        -np.mean(picked), rel=1e-5
    )


def test_optimizer_step_equals_adamw_written_out() -> None:
    batch, model, config = _loader().batch(0), _model(), _config()
    before = _weights(model)
    optimizer = Optimizer(model, config)
    logits = model(batch.tokens, positions=batch.positions, documents=batch.documents)
    (cross_entropy_sum(logits, batch.targets) / batch.num_targets).backward()
    grads = {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}
    norm = math.sqrt(sum(float((g**2).sum()) for g in grads.values()))
    model.zero_grad()
    train_step(model, optimizer, batch, 1e-2, config, LEARN)
    for name, p in model.named_parameters():
        g = grads[name] * min(1.0, config.clip / norm)
        decay = config.weight_decay if p.dim() >= 2 else 0.0
        # After one step the bias-corrected moments are g and g^2.
        expected = before[name].double() * (1 - 1e-2 * decay) - 1e-2 * g / (g.abs() + 1e-8)
        assert torch.linalg.norm(p.double() - expected) <= 1e-4 * torch.linalg.norm(expected), name
    assert set(optimizer.tensors()) == set(grads)


def test_it_learns(tmp_path: Path) -> None:
    log = train(_model(), _loader().batch, 60, _config(checkpoint_interval_s=1e9), StageOutput(tmp_path), LEARN)
    assert log[0]["loss"] == pytest.approx(math.log(VOCABULARY), abs=0.3)
    assert log[-1]["loss"] < 0.5


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match="none of the 3 steps could be learned from: the loss is nan"):
        train(model, _loader().batch, 3, _config(), StageOutput(tmp_path), LEARN)


def test_padding_is_neither_seen_nor_learned() -> None:
    loader = Loader(Counting([4]), row_tokens=8, rows=1, seed=0)
    batch = loader.batch(0)
    assert batch.targets.tolist() == [[1, 2, 3] + [IGNORED] * 5]
    changed = Batch(batch.tokens.clone(), batch.targets, batch.positions, batch.documents)
    changed.tokens[0, 3:] = 7
    model = _model()
    a, b = (model(x.tokens, positions=x.positions, documents=x.documents)[:, :3] for x in (batch, changed))
    assert torch.equal(a, b)


def test_every_epoch_sees_every_row_once() -> None:
    loader = _loader()
    rows = loader.packing.num_rows
    seen = [loader._row(sample) for sample in range(2 * rows)]
    assert sorted(seen[:rows]) == sorted(seen[rows:]) == list(range(rows))
    assert seen[:rows] != seen[rows:]


@pytest.mark.parametrize("kind", ["wsd", "cosine"])
def test_schedules_by_hand(kind: str) -> None:
    config = ScheduleConfig(kind=kind, warmup_steps=10, decay=0.5, final=0.1)
    values = [factor(config, step, 100) for step in range(100)]
    assert values[0] == 0.1 and values[9] == 1.0
    if kind == "wsd":
        assert values[49] == 1.0 and values[75] == pytest.approx(0.1 + 0.9 * 0.5)
        assert values[99] == pytest.approx(0.1 + 0.9 / 50)
    else:
        assert values[55] == pytest.approx(0.55) and values[99] == pytest.approx(0.1, abs=1e-3)


def test_a_checkpoint_that_does_not_fit_is_a_full_disk_and_the_one_before_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model()
    tensors, checkpoints = {"model": dict(model.named_parameters())}, Checkpoints(tmp_path, background=False)
    checkpoints.save(1, tensors, {"log": []})

    def out_of_room(*arguments: object, **named: object) -> None:
        raise CheckpointException("no room", {})

    monkeypatch.setattr("torch.distributed.checkpoint.save", out_of_room)
    with pytest.raises(OSError, match="checkpoint of step 2 could not be written"):  # there is room: not a full disk
        checkpoints.save(2, tensors, {"log": []})
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DiskFullError, match="disk of .* is full"):
        checkpoints.save(2, tensors, {"log": []})
    assert checkpoints.load(tensors) == (1, {"log": []})


def test_a_checkpoint_that_no_longer_fits_halfway_is_a_full_disk(tmp_path: Path) -> None:
    """Its file then cannot be closed rightly, which is what is raised."""
    tensors = {"model": {f"weight{i}": torch.ones(100, 1000) for i in range(3)}}
    checkpoints = Checkpoints(tmp_path, background=False)
    checkpoints.save(1, tensors, {"log": []})
    try:
        for limit in (1, 5000, 1_000_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            with pytest.raises(DiskFullError, match="disk of .* is full"):
                checkpoints.save(2, tensors, {"log": []})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert checkpoints.load(tensors) == (1, {"log": []})


def test_batch_number_s_holds_the_samples_from_s_times_b() -> None:
    loader = _loader()
    for step in (0, 1, 5):
        rows = [loader._row(sample) for sample in range(4 * step, 4 * step + 4)]
        assert torch.equal(_loader().batch(step).tokens, loader.gather(rows).tokens)
    assert not torch.equal(loader.batch(0).tokens, loader.batch(1).tokens)

"""Pretraining by several processes: what comes out is what one process would have made."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from puna.base.output import Inputs, Progress, StageOutput
from puna.base.records import read_jsonl
from puna.model import load_model
from puna.pretrain.run import PretrainConfig, run
from tests.parallel.conftest import ranks
from tests.parallel.ranks import Ranks
from tests.parallel.test_layouts import mesh_of
from tests.pretrain.test_loop import Stopped
from tests.pretrain.test_run import SHAPE, inputs_of

__all__ = ["ranks"]

SETTINGS: dict[str, Any] = {
    "model": {**SHAPE, "layers": 4, "heads": 4, "kv_heads": 2},
    "num_tokens": 32 * 8 * 6,
    "row_tokens": 32,
    "batch_rows": 8,
    "micro_batch": 2,
    "checkpoint_interval_s": 0,
    "lr": 0.01,
    "schedule": {"warmup_steps": 2},
}
EXPERTS = {"num_experts": 4, "experts_per_token": 2}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Shards of a few pages, with a vocabulary that two ranks can divide."""
    return inputs_of(tmp_path_factory.mktemp("inputs"), b"th", b"at")


def stage(given: dict[str, Path], folder: Path, layout: str, until: int, changes: dict[str, Any]) -> None:
    """The pretrain stage, on each rank of a world or in one process; killed, as it were, after step `until`."""

    def watch(look: Progress) -> None:
        if look.done == until and until < 6:
            raise Stopped

    is_alone = not dist.is_initialized()
    writes = is_alone or dist.get_rank() == 0
    if not is_alone and not writes:
        dist.barrier()
    out = StageOutput(folder, seed=5, watch=watch, mesh=mesh_of(layout), writes=writes)
    if not is_alone and writes:
        dist.barrier()
    inputs = Inputs({name: given[name] for name in ("tokens", "tokenizer")})
    with contextlib.suppress(Stopped):
        run(PretrainConfig(**{**SETTINGS, **changes}), inputs, out)


def alone(given: dict[str, Path], folder: Path, changes: dict[str, Any]) -> list[dict[str, float]]:
    stage(given, folder, "", 6, changes)
    return list(read_jsonl(folder / "files" / "log.jsonl"))


def is_as_alone(folder: Path, other: Path, rows: list[dict[str, float]]) -> None:
    came = list(read_jsonl(folder / "files" / "log.jsonl"))
    assert [row["step"] for row in came] == list(range(1, len(rows) + 1))
    for row, expected in zip(came, rows, strict=True):
        assert row == pytest.approx(expected, rel=2e-4, abs=1e-6)
    theirs = dict(load_model(other / "files").named_parameters())
    for name, weight in load_model(folder / "files").named_parameters():
        assert (weight - theirs[name]).norm() <= 2e-3 * theirs[name].norm(), name


@pytest.mark.parametrize(
    ("size", "layout", "changes"),
    [
        (2, "data 2", {"optimizer": "muon", "average_share": 0.5}),
        (2, "replicas 2", {}),
        (2, "tensor 2", {"optimizer": "muon"}),
        (2, "pipeline 2 stages 2 interleaved-1f1b", {"optimizer": "muon", "batch_ramp": {512: 4}}),
        (2, "experts 2", {"model": {**SETTINGS["model"], **EXPERTS}, "experts": {"balance_weight": 0.01}}),
        (4, "data 2 tensor 2", {"loss": {"z_weight": 1e-4, "chunk_tokens": 16}}),
        (4, "context 2 pipeline 2", {}),
    ],
)
def test_a_divided_run_learns_what_one_process_learns(
    ranks: Callable[[int], Ranks],
    inputs: dict[str, Path],
    tmp_path: Path,
    size: int,
    layout: str,
    changes: dict[str, Any],
) -> None:
    rows = alone(inputs, tmp_path / "alone", changes)
    ranks(size).call(stage, inputs, tmp_path / "divided", layout, 6, changes)
    is_as_alone(tmp_path / "divided", tmp_path / "alone", rows)


def test_a_run_goes_on_at_another_layout_and_learns_every_row_once(
    ranks: Callable[[int], Ranks], inputs: dict[str, Path], tmp_path: Path
) -> None:
    rows = alone(inputs, tmp_path / "alone", {"optimizer": "muon"})
    changes = {"optimizer": "muon"}
    stage(inputs, tmp_path / "moved", "", 1, changes)
    ranks(2).call(stage, inputs, tmp_path / "moved", "data 2", 2, changes)
    ranks(2).call(stage, inputs, tmp_path / "moved", "tensor 2", 3, changes)
    ranks(4).call(stage, inputs, tmp_path / "moved", "pipeline 2 data 2", 4, changes)
    stage(inputs, tmp_path / "moved", "", 6, changes)
    is_as_alone(tmp_path / "moved", tmp_path / "alone", rows)


def test_a_run_killed_and_started_again_at_the_same_layout_is_the_same_to_the_bit(
    ranks: Callable[[int], Ranks], inputs: dict[str, Path], tmp_path: Path
) -> None:
    for name, stops in (("whole", [6]), ("killed", [2, 5, 6])):
        for until in stops:
            ranks(4).call(stage, inputs, tmp_path / name, "data 2 tensor 2", until, {})
    for name, weight in load_model(tmp_path / "whole" / "files").named_parameters():
        assert torch.equal(weight, dict(load_model(tmp_path / "killed" / "files").named_parameters())[name])
    logs = [(tmp_path / name / "files" / "log.jsonl").read_bytes() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("layout", "changes", "reason"),
    [
        ("tensor 2", {"model": {**SHAPE, "kv_heads": 1}}, "mesh.tensor: expected a divisor of kv_heads = 1"),
        ("data 2", {"batch_rows": 3}, "batch_rows: expected a multiple of the 2 ranks"),
        ("pipeline 2 zigzag", {}, 'mesh.schedule: expected one of gpipe, .*, came "zigzag"'),
        ("pipeline 2", {"micro_batch": 8}, "micro_batch: expected 2 micro-batches"),
        ("experts 2", {}, "mesh.experts: expected"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused_in_one_line(
    ranks: Callable[[int], Ranks],
    inputs: dict[str, Path],
    tmp_path: Path,
    layout: str,
    changes: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(AssertionError, match=reason):
        ranks(2).call(stage, inputs, tmp_path, layout, 6, changes)


def test_a_layout_for_another_number_of_processes_is_refused(
    ranks: Callable[[int], Ranks], inputs: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=r"mesh: expected a product of 2.*came 4 \(data 4\)"):
        ranks(2).call(stage, inputs, tmp_path, "data 4", 6, {})

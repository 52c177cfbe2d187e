"""The preflight: fit nodes pass, each kind of unfit one is named, put in quarantine and replaced by a spare."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.base.errors import MachineError
from puna.parallel import preflight as module
from puna.parallel.preflight import (
    Figures,
    PreflightConfig,
    fit_slots,
    judge,
    measure,
    preflight,
    quarantine,
    quarantined,
    slot_name,
)
from tests.parallel.ranks import Ranks

FIT = Figures("a", disk_gb=100.0, memory_gb=10.0, clock_s=1000.0, gflops=100.0, is_right=True, peer_gb_per_s=2.0)


def nodes(**changes: Any) -> list[Figures]:
    """Four nodes, of which c is other than the rest."""
    four = [dataclasses.replace(FIT, node=name, clock_s=1000.0 + place / 10) for place, name in enumerate("abcd")]
    four[2] = dataclasses.replace(four[2], **changes)
    return four


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"disk_gb": 0.5}, "disk"),
        ({"memory_gb": 0.1}, "memory"),
        ({"clock_s": 1010.0}, "clock"),
        ({"clock_s": 990.0}, "clock"),
        ({"gflops": 40.0}, "matrix speed"),
        ({"is_right": False}, "matrix product"),
        ({"peer_gb_per_s": 0.1}, "peers"),
    ],
)
def test_the_one_that_differs_is_named(changes: dict[str, Any], name: str) -> None:
    assert [(one.node, one.name) for one in judge(nodes(**changes)) if not one.is_good] == [("c", name)]


def test_alike_nodes_pass_and_one_alone_is_compared_with_nobody() -> None:
    assert all(one.is_good for one in judge(nodes()))
    assert [one.name for one in judge([FIT])] == ["disk", "memory", "matrix product", "matrix speed"]


def test_this_machine_computes_right(tmp_path: Path) -> None:
    found = measure(tmp_path)
    assert found.is_right and found.gflops > 0.1 and found.disk_gb > 0 and found.memory_gb > 0


def test_a_product_that_is_wrong_in_one_element_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.Tensor.double

    def broken(tensor: torch.Tensor) -> torch.Tensor:
        value = before(tensor)
        if tensor.shape == (256, 256) and tensor.max() > 7:  # the product, not what it is made of
            value[17, 3] += 1
        return value

    monkeypatch.setattr(torch.Tensor, "double", broken)
    assert not measure(tmp_path).is_right
    with pytest.raises(MachineError, match="matrix product: expected the exact result, came another"):
        preflight(tmp_path, tmp_path)
    assert list(quarantined(tmp_path)) == [module.node_name()]


def test_a_spare_takes_the_place_of_a_bad_slot(tmp_path: Path) -> None:
    assert fit_slots(4, 3, tmp_path) == [0, 1, 2]
    quarantine(tmp_path, slot_name(1), "slot 1: its clock is wrong")
    assert fit_slots(4, 3, tmp_path) == [0, 2, 3]
    quarantine(tmp_path, slot_name(3), "slot 3: slow")
    with pytest.raises(
        MachineError, match="expected 3 fit slots of 4, came 2: slot 1: its clock is wrong; slot 3: slow"
    ):
        fit_slots(4, 3, tmp_path)


def test_ranks_together_put_the_bad_one_in_quarantine_and_it_leaves(
    tmp_path: Path, ranks: Callable[[int], Ranks]
) -> None:
    sound = ranks(2).call(_look, tmp_path / "sound", 0.0)
    assert [one[0] for one in sound] == ["fit", "fit"] and sound[0][1] == sound[1][1]
    bad = ranks(2).call(_look, tmp_path / "bad", 1e9)
    assert bad[0][0] == "fit" and "test:1: disk: expected" in bad[1][1]
    assert list(quarantined(tmp_path / "bad")) == ["test:1"]
    again = ranks(2).call(_look_alone, tmp_path / "bad")
    assert again[0] == "" and "test:1 is in quarantine" in again[1]


def _look(run: Path, missing_gb: float) -> tuple[str, str]:
    """A preflight where rank 1 lacks so much disk."""
    os.environ["PUNA_NODE"] = f"test:{os.environ['RANK']}"
    run.mkdir(exist_ok=True)
    plain = module.measure

    def measured(folder: Path) -> Figures:
        found = plain(folder)
        return dataclasses.replace(found, disk_gb=found.disk_gb - missing_gb * int(os.environ["RANK"]))

    module.measure = measured
    try:
        checks = preflight(run, run, PreflightConfig(disk_gb=0.0, memory_gb=0.0, clock_s=60.0, speed_share=0.0))
    except MachineError as error:
        return "unfit", str(error)
    finally:
        module.measure = plain
    return "fit", " ".join(one.line() for one in checks)


def _look_alone(run: Path) -> str:
    try:
        held = quarantined(run)
        if module.node_name() in held:
            preflight(run, run)
    except MachineError as error:
        return str(error)
    return ""

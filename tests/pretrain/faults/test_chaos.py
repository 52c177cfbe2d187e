"""Chaos: every kind of fault strikes for real, is found, and the same bytes come out; and it would say if not."""

import json
from collections import Counter
from pathlib import Path

import pytest

from puna.base.config import Mesh
from puna.base.errors import ConfigError
from puna.base.output import Inputs, StageOutput
from puna.parallel.watchdog import Limits
from puna.pretrain.faults.chaos import CAUSES, Kind, Planned, Result, chaos, plan, rate_beside_llama
from tests.pretrain.small_training import SmallConfig, undisturbed

FUNCTION = "tests.pretrain.small_training:train_small"
QUICK = Limits(silence_s=60.0, pause_s=600.0, first_s=600.0, stopped_s=1.0)


def disturb(tmp_path: Path, faults: list[Planned], **spoiled: str) -> Result:
    config = SmallConfig(num_steps=150, step_s=0.02, micro_batch=2)
    expected = undisturbed(config, StageOutput(tmp_path / "undisturbed")) | spoiled
    settings = (Inputs({}), tmp_path / "chaos", 0, 1, Mesh(threads=1), expected, 0.02)
    return chaos(FUNCTION, config, *settings, faults, limits=QUICK)


def test_all_kinds_are_found_and_leave_the_same_bytes(tmp_path: Path) -> None:
    result = disturb(tmp_path, [Planned(kind, 0.2, 7) for kind in CAUSES])
    assert result.differing == []
    assert [(row[0], row[1], row[2]) for row in result.table()] == [(kind, 1, 1) for kind in CAUSES]
    assert result.steps == 150 * result.laps
    assert result.effective_time == pytest.approx(result.steps * result.step_s / result.wall_s)
    lost = {row[0]: row[3] for row in result.table()}
    # Told 20 ms before; an undisturbed step is measured again at the end, and its pause alone is as long.
    assert result.step_s > 0.02 and result.calm_wall_s > 0
    assert result.beside_calm == pytest.approx(result.laps * result.calm_wall_s / result.wall_s)
    assert lost["freeze"] > QUICK.stopped_s and lost["kill"] > 0 and lost["truncate"] > 0


def test_other_bytes_would_be_told(tmp_path: Path) -> None:
    result = disturb(tmp_path, [Planned("nan", 0.0, 1)], **{"weights.bin": "0" * 64})
    assert result.differing == ["lap-1/weights.bin", "calm/weights.bin"]


def test_a_lap_with_a_fault_that_was_not_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CAUSES, "nan", ("never",))
    result = disturb(tmp_path, [Planned("nan", 0.0, 1)])
    assert [one.is_found for one in result.struck] == [False] and result.differing == []
    kept = (tmp_path / "chaos/lap-1/state/incidents.jsonl").read_text().splitlines()
    assert [json.loads(line)["cause"] for line in kept] == ["not a number"]


@pytest.mark.parametrize("failures", [6, 20, 25])
def test_a_plan_has_all_kinds_and_its_rate(failures: int) -> None:
    faults = plan(3, failures, 60.0)
    assert plan(3, failures, 60.0) == faults != plan(4, failures, 60.0)
    assert sum(one.wait_s for one in faults) == pytest.approx(60.0 * failures)
    counts = Counter(one.kind for one in faults)
    assert set(counts) == set(CAUSES) and max(counts.values()) - min(counts.values()) <= 1
    kinds: list[Kind] = ["kill", "nan"]
    assert {one.kind for one in plan(3, failures, 60.0, kinds)} == {"kill", "nan"}


def test_no_failures_prove_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one failure"):
        disturb(tmp_path, [])


def test_the_rate_is_told_beside_llamas() -> None:
    """54 days x 16,384 GPUs / 419 = 2,111.5 days a GPU."""
    text = rate_beside_llama(60.0, 2)
    assert "one failure in 60 s on 2 devices" in text and "one in 2,112 days a GPU" in text
    assert "3,040,620 of them, 1,520,310 times theirs" in text

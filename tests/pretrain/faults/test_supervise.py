"""A stage under the supervisor: what it makes is taken over, and what befalls it leaves no trace but incidents."""

from pathlib import Path

import pytest

from puna.base.errors import ConfigError
from puna.base.output import Inputs, Progress, StageOutput
from puna.base.records import read_jsonl
from puna.parallel.watchdog import Limits
from puna.pretrain.faults.policy import INCIDENTS
from puna.pretrain.faults.supervise import is_supervised, supervise
from tests.pretrain.small_training import SmallConfig, undisturbed

FUNCTION = "tests.pretrain.small_training:train_small"
QUICK = Limits(silence_s=60.0, pause_s=600.0, first_s=600.0, stopped_s=1.0)


@pytest.mark.parametrize("fault, cause", [("", None), ("kill", "killed"), ("freeze", "frozen")])
def test_what_the_ranks_make_is_taken_over(tmp_path: Path, fault: str, cause: str | None) -> None:
    looks: list[Progress] = []
    out = StageOutput(tmp_path / "run", watch=looks.append)
    config = SmallConfig(fault=fault, checkpoint_interval_s=0.0, checkpoint_in_background=False, micro_batch=2)
    expected = undisturbed(config, StageOutput(tmp_path / "undisturbed"))
    supervise(FUNCTION, config, config.faults, Inputs({}), out, QUICK)
    assert {name: record["sha256"] for name, record in out.records().items()} == expected
    assert out.metrics["num_steps"] == 12 and out.metrics["tokens_per_s"] > 0
    assert out.panels[-1]["title"] == "It is done" and looks[-1].done == looks[-1].total == 12
    if cause is None:
        assert not (out.path / INCIDENTS).exists()
        return
    [row] = read_jsonl(out.path / INCIDENTS)
    assert (row["step"], row["cause"], row["action"], row["attempt"]) == (5, cause, "started again", 1)
    assert 0 < row["lost_s"] < out.seconds and 0 < out.metrics["effective_time"] < 1
    assert out.panels[0]["rows"][0][:3] == [cause, "started again", 1]


def test_what_a_rank_refuses_is_refused(tmp_path: Path) -> None:
    config = SmallConfig(fault="refuse")
    with pytest.raises(ConfigError, match="lr: expected less, came more"):
        supervise(FUNCTION, config, config.faults, Inputs({}), StageOutput(tmp_path), QUICK)


def test_a_machine_that_is_not_fit_is_not_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from puna.base.errors import MachineError
    from puna.pretrain.faults import supervise as module

    plain = module.measure
    monkeypatch.setattr(module, "measure", lambda folder: plain(folder).__class__("me", 0.0, 9.0, 0.0, 9.0, True))
    with pytest.raises(MachineError, match="not fit to go on: me: disk: expected 1 GB, came 0.0 GB"):
        supervise(FUNCTION, SmallConfig(), SmallConfig().faults, Inputs({}), StageOutput(tmp_path))


def test_torchrun_supervises_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = SmallConfig(faults={"supervised": True}).faults
    assert not is_supervised(SmallConfig().faults, StageOutput(tmp_path))
    assert is_supervised(asked, StageOutput(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_supervised(asked, StageOutput(tmp_path))

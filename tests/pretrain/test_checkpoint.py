"""Checkpoints of one process: what comes back is what was there when `save` was called, whatever happened since."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from puna.base.output import Progress, StageOutput
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.loop import train
from tests.pretrain.test_loop import LEARN, Stopped, _config, _loader, _model


def tensors_of(value: float) -> dict[str, Any]:
    return {"model": {"weight": torch.full((3, 5), value)}, "optimizer": {"weight": {"step": torch.tensor(value)}}}


def values(tensors: dict[str, Any]) -> set[float]:
    return {*tensors["model"]["weight"].flatten().tolist(), tensors["optimizer"]["weight"]["step"].item()}


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def saves_and_stops(folder: Path) -> None:
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(4, tensors_of(4.0), {})
        raise Stopped


class Held:
    """Holds every write of a checkpoint back until `go` is set; `reached` says that one has begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.reached = threading.Event(), threading.Event()
        plain = FileSystemWriter.write_data

        def write_data(*arguments: Any, **named: Any) -> Any:
            self.reached.set()
            self.go.wait()
            return plain(*arguments, **named)

        monkeypatch.setattr(FileSystemWriter, "write_data", write_data)


def test_training_goes_on_while_it_is_written_and_changes_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, tensors, state = Held(monkeypatch), tensors_of(1.0), {"log": [{"loss": 3.0}]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tensors, state)
        held.reached.wait()
        tensors["model"]["weight"].fill_(9.0)
        tensors["optimizer"]["weight"]["step"].fill_(9.0)
        state["log"].append({"loss": 9.0})
        assert steps_in(tmp_path) == []
        held.go.set()
    assert Checkpoints(tmp_path).load(tensors) == (1, {"log": [{"loss": 3.0}]})
    assert values(tensors) == {1.0}


def test_the_next_waits_for_the_one_before_and_uses_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, tensors = Held(monkeypatch), tensors_of(1.0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tensors, {})
        held.reached.wait()
        later = threading.Thread(target=checkpoints.save, args=(2, tensors_of(2.0), {}))
        later.start()
        later.join(0.05)
        assert later.is_alive()  # or the first would hold what the second copied
        copies = [copy.data_ptr() for copy in checkpoints._copies.values()]
        held.go.set()
        later.join()
        assert [copy.data_ptr() for copy in checkpoints._copies.values()] == copies
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load(tensors) == (2, {}) and values(tensors) == {2.0}
    assert checkpoints.load(tensors, below=2) == (1, {}) and values(tensors) == {1.0}


def test_an_error_in_the_background_is_raised_at_the_next_call_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **named: Any) -> Any:
        raise OSError("no such disk")

    tensors = tensors_of(1.0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tensors, {})
        checkpoints.wait()
        monkeypatch.setattr(FileSystemWriter, "write_data", broken)
        checkpoints.save(2, tensors, {})
        with pytest.raises(OSError, match="checkpoint of step 2 could not be written.*no such disk"):
            checkpoints.save(3, tensors, {})
        checkpoints.wait()  # it is raised once
    assert steps_in(tmp_path) == [1]
    with pytest.raises(OSError, match="step 4 could not be written"):
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(4, tensors, {})
    with pytest.raises(Stopped):  # another error on its way out is not hidden
        saves_and_stops(tmp_path)
    with pytest.raises(OSError, match="step 5 could not be written"):
        Checkpoints(tmp_path, background=False).save(5, tensors, {})


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("kept, every, left", [(2, 0, [6, 7]), (1, 3, [3, 6, 7]), (3, 2, [2, 4, 5, 6, 7])])
def test_the_last_ones_stay_and_every_nth_for_good(
    tmp_path: Path, kept: int, every: int, left: list[int], background: bool
) -> None:
    with Checkpoints(tmp_path / "state", kept, every, background) as checkpoints:
        for step in range(1, 8):
            checkpoints.save(step, tensors_of(step), {})
    assert steps_in(tmp_path / "state") == left
    checkpoints.hand_over(tmp_path / "out")
    assert steps_in(tmp_path / "out") == [step for step in left if every and step % every == 0]
    for step in steps_in(tmp_path / "out"):
        tensors = tensors_of(0.0)
        assert Checkpoints(tmp_path / "out").load(tensors, below=step + 1) == (step, {}) and values(tensors) == {step}


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "state.json", "checksums.json"])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_any_damaged_file_falls_back_to_the_one_before(tmp_path: Path, name: str, damage: str) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tensors_of(1.0), {"log": [1.25]})
        checkpoints.save(2, tensors_of(2.0), {"log": [1.25, 2.25]})
    victim, tensors = tmp_path / "step-2" / name, tensors_of(0.0)
    whole = victim.read_bytes()
    victim.write_bytes(whole.replace(whole[-8:], b"?" * 8)) if damage == "flipped" else victim.unlink()
    assert checkpoints.load(tensors) == (1, {"log": [1.25]})
    assert values(tensors) == {1.0} and steps_in(tmp_path) == [1]


_KILLED_WHILE_WRITING = """
import os, signal, sys, threading
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from puna.pretrain import checkpoint
from tests.pretrain.test_checkpoint import tensors_of

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

from pathlib import Path
with checkpoint.Checkpoints(Path(sys.argv[1])) as checkpoints:
    checkpoints.save(1, tensors_of(1.0), {"log": [1]})
    checkpoints.wait()
    exec(sys.argv[2])
    checkpoints.save(2, tensors_of(2.0), {"log": [1, 2]})
"""


@pytest.mark.parametrize(
    "moment, step",
    [
        ("FileSystemWriter.write_data = die", 1),
        ("FileSystemWriter.finish = die", 1),
        ("checkpoint.write_json = die", 1),
        ("os.rename = die", 1),
        ("checkpoint.steps = die", 2),
    ],
)
def test_a_kill_in_the_background_leaves_a_whole_one(tmp_path: Path, moment: str, step: int) -> None:
    command = [sys.executable, "-c", _KILLED_WHILE_WRITING, str(tmp_path), moment]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    tensors, checkpoints = tensors_of(0.0), Checkpoints(tmp_path)
    assert checkpoints.load(tensors) == (step, {"log": [1, 2][:step]}) and values(tensors) == {step}
    checkpoints.save(3, tensors_of(3.0), {})
    checkpoints.wait()
    assert checkpoints.load(tensors) == (3, {}) and values(tensors) == {3.0}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_resumes_from_its_background_checkpoint_to_the_bit(tmp_path: Path, optimizer: str) -> None:
    def stop(look: Progress) -> None:
        if look.done == 4:
            raise Stopped

    ends = []
    for background in (False, True):
        out = tmp_path / str(background)
        config = _config(checkpoint_in_background=background, optimizer=optimizer, checkpoint_every_steps=2)
        with pytest.raises(Stopped):
            train(_model(), _loader().batch, 6, config, StageOutput(out, watch=stop), LEARN)
        seen: list[float] = []
        model, resumed = _model(seed=9), StageOutput(out, watch=lambda look, seen=seen: seen.append(look.done))
        log = train(model, _loader().batch, 6, config, resumed, LEARN)
        assert seen == [4, 5, 6] and steps_in(out / "files/checkpoints") == [2, 4, 6]
        ends.append((json.dumps(log), model.state_dict()))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(ends[0][1][name], tensor) for name, tensor in ends[1][1].items())


def test_those_kept_for_good_are_made_though_no_time_has_passed(tmp_path: Path) -> None:
    config = _config(checkpoint_interval_s=1e9, checkpoints_kept=1, checkpoint_every_steps=4)
    train(_model(), _loader().batch, 10, config, StageOutput(tmp_path), LEARN)
    assert steps_in(tmp_path / "state") == [4, 8, 10]
    assert config.resolved(hardware=False) == _config().resolved(hardware=False)  # no other artifact

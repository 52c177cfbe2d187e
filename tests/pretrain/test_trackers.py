"""Trackers: what is read back with their own libraries is the log, each step once, also after a kill."""

import importlib.util
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import ConfigError
from puna.base.output import Progress, StageOutput
from puna.pretrain.loop import train
from puna.pretrain.trackers import Name, package
from tests.pretrain.test_loop import LEARN, Stopped, _config, _loader, _model

NAMES = ("loss", "lr", "grad_norm", "tokens", "validation")


def read_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def read_mlflow(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(folder.resolve().as_uri())
    [experiment] = [one for one in client.search_experiments() if one.name == "puna"]
    [run] = client.search_runs([experiment.experiment_id])
    return {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def read_wandb(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from wandb.proto import wandb_internal_pb2

    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, list[tuple[int, float]]] = {}
    for data in leveldb_records(file.read_bytes()[7:], first=7):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            for item in record.history.item:
                name = item.key or item.nested_key[0]
                found.setdefault(name, []).append((record.history.step.num, json.loads(item.value_json)))
    return found


def leveldb_records(content: bytes, first: int) -> Iterator[bytes]:
    """Records of a LevelDB log whose `first` bytes are not in `content`: blocks of 32 KiB, parts with a head of 7."""
    at, data = 0, b""
    while at + 7 <= len(content):
        left = 32768 - (first + at) % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        data, at = data + content[at + 7 : at + 7 + size], at + 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield data
            data = b""


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> Any:
        inside = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost")
        assert inside, f"connects to {address}"
        return plain(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.filterwarnings("ignore")  # of the trackers' own packages
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("killed", [False, True])
def test_a_tracker_holds_the_log_each_step_once(tmp_path: Path, name: Name, killed: bool) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'puna[{name}]'")
    config = _config(track=[name], checkpoint_every_steps=3, checkpoint_interval_s=1e9)

    def stop(look: Progress) -> None:
        if killed and look.done == 5:  # two steps behind the last checkpoint, and told to the tracker
            raise Stopped

    def run(**named: Any) -> list[dict[str, float]]:
        out = StageOutput(tmp_path, **named)
        return train(_model(), _loader().batch, 7, config, out, LEARN, lambda model: 0.25, 2)

    if killed:
        with pytest.raises(Stopped):
            run(watch=stop)
    log = run()
    found = READERS[name](tmp_path / "files/tracking" / name)
    for value in NAMES:
        expected = [(row["step"], row[value]) for row in log if value in row]
        assert [step for step, _ in found[value]] == [step for step, _ in expected], value
        assert [one for _, one in found[value]] == pytest.approx([one for _, one in expected], rel=1e-6)


def test_a_missing_package_is_told_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"expected the package no_such, found none; pip install 'puna\[no_such\]'"):
        package("no_such")


def test_without_trackers_nothing_is_written_and_the_fingerprint_does_not_know_them(tmp_path: Path) -> None:
    train(_model(), _loader().batch, 2, _config(), StageOutput(tmp_path), LEARN)
    assert not (tmp_path / "state/tracking").exists() and not (tmp_path / "files/tracking").exists()
    assert _config(track=["mlflow"]).resolved(hardware=False) == _config().resolved(hardware=False)

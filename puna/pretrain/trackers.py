"""The training log in TensorBoard, Weights & Biases or MLflow, for those who look at their runs there.

None of them is needed: the report has the same curves. Rows go by their step, each once: what a resumed run learns
again is the same to the bit. Everything stays on this machine unless the user names a server in the tracker's own way:
WANDB_MODE=online, or MLFLOW_TRACKING_URI.

    <state>/tracking/tensorboard | wandb | mlflow      while it runs; afterwards beside the manifest
"""

import importlib
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import torch.distributed as dist

from puna.base.errors import ConfigError
from puna.base.output import StageOutput

Name = Literal["tensorboard", "wandb", "mlflow"]
Row = Mapping[str, float]


class Tracker(Protocol):
    """One of them. `add` passes over a step that the tracker has already."""

    def add(self, row: Row) -> None: ...
    def close(self) -> None: ...


class Trackers:
    """Those that are asked for, as one; `log` is what an earlier attempt has learned. Only rank 0 has any.

    Raises ConfigError if the package of one is not installed.
    """

    def __init__(self, names: Sequence[Name], out: StageOutput, log: Sequence[Row]) -> None:
        self._folder, self._out = out.state / "tracking", out
        is_first = not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
        self._each = [_KINDS[name](self._folder / name, out.path.parent.name) for name in names if is_first]
        for row in log:
            self.add(row)

    def add(self, row: Row) -> None:
        """A row of the log, when nothing will be added to it."""
        for one in self._each:
            one.add(row)

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one in self._each:
            one.close()
        if error is None and self._each:
            place = self._out.path / "tracking"
            shutil.copytree(self._folder, place, symlinks=True, copy_function=os.link, dirs_exist_ok=True)


class TensorBoard:
    """An event file, written anew from the log when a run goes on: what a kill left of the old one is not known."""

    def __init__(self, folder: Path, run: str) -> None:
        package("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer, self._last = SummaryWriter(str(folder)), 0.0

    def add(self, row: Row) -> None:
        if row["step"] > self._last:
            for name, value in _values(row).items():
                self._writer.add_scalar(name, value, int(row["step"]))
            self._last = row["step"]

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of Weights & Biases, offline unless WANDB_MODE says otherwise: `wandb sync FOLDER` uploads it.

    Offline it is written anew from the log when a run goes on, under the same id; online W&B knows the last step.
    """

    def __init__(self, folder: Path, run: str) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        identity = _identity(folder)
        if mode == "offline":
            shutil.rmtree(folder / "wandb", ignore_errors=True)
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which would go to another server
        self._wandb = package("wandb")
        settings = {"project": os.environ.get("WANDB_PROJECT", "puna"), "name": run, "id": identity, "mode": mode}
        self._run = self._wandb.init(**settings, dir=str(folder), resume="allow" if mode == "online" else None)
        self._last = float(self._run.step - 1 if self._run.resumed else 0)

    def add(self, row: Row) -> None:
        if row["step"] > self._last:
            self._run.log(_values(row), step=int(row["step"]))
            self._last = row["step"]

    def close(self) -> None:
        self._run.finish()
        self._wandb.teardown()  # which waits until its own process has written everything


class Mlflow:
    """A run of MLflow, in a folder unless MLFLOW_TRACKING_URI names a server; what it has already is asked of it."""

    def __init__(self, folder: Path, run: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        package("mlflow")
        from mlflow.entities import Metric
        from mlflow.tracking import MlflowClient

        self._metric = Metric
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or folder.resolve().as_uri())
        mark = folder.with_name(f"{folder.name}-run")
        if mark.exists():
            self._id = mark.read_text()
        else:
            found = self._client.get_experiment_by_name("puna")
            experiment = found.experiment_id if found else self._client.create_experiment("puna")
            self._id = self._client.create_run(experiment, run_name=run).info.run_id
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(self._id)
        names = self._client.get_run(self._id).data.metrics
        self._lasts = {name: self._client.get_metric_history(self._id, name)[-1].step for name in names}

    def add(self, row: Row) -> None:
        step = int(row["step"])
        new = {name: value for name, value in _values(row).items() if step > self._lasts.get(name, 0)}
        if new:
            now = int(1000 * time.time())
            metrics = [self._metric(name, value, now, step) for name, value in new.items()]
            self._client.log_batch(self._id, metrics)
            self._lasts |= dict.fromkeys(new, step)

    def close(self) -> None:
        self._client.set_terminated(self._id)


_KINDS: dict[Name, Any] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": Mlflow}


def package(name: str) -> Any:
    """A tracker's package. Raises ConfigError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"track: expected the package {name}, found none; pip install 'puna[{name}]', or take it out of track"
        ) from None


def _values(row: Row) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name != "step"}


def _identity(folder: Path) -> str:
    """The name of a run in its tracker, the same for all attempts."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder.with_name(f"{folder.name}-run")
    if not mark.exists():
        mark.write_text(uuid.uuid4().hex[:12])
    return mark.read_text()

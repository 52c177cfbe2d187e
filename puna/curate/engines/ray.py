"""Actors of a Ray cluster, each with a worker process of local.py: a lost node costs the chunks that it was at.

Ray starts a lost actor again and repeats its task. Where RAY_ADDRESS names no cluster, a local one is started. Files of
exams and languages must lie where every node finds them; parts come back to the driver, so nodes share no disk.
"""

import os
import sys
from typing import Any

from puna.base.errors import ConfigError, RunError
from puna.curate.engines.local import WorkerProcess
from puna.curate.engines.pool import Cleaned, Job
from puna.curate.read.records import Record

_RETRIES = 5


class RayActor:
    """What runs on a node: a worker process, and nothing else, so that a record can't take the actor with it."""

    def __init__(self, job: Job):
        self._worker = WorkerProcess(job)

    def clean(self, records: list[Record]) -> Cleaned:
        return self._worker.clean(records)

    def pid(self) -> int:
        """Of the actor's process."""
        return os.getpid()


class RayCleaner:
    """The driver's side of an actor."""

    def __init__(self, job: Job):
        self._ray = _connect()
        options = {"max_restarts": -1, "max_task_retries": _RETRIES, "num_cpus": 1}
        self.actor: Any = self._ray.remote(RayActor).options(**options).remote(job)

    def clean(self, records: list[Record]) -> Cleaned:
        """Raises RunError if the actor fails again and again."""
        try:
            return self._ray.get(self.actor.clean.remote(records))  # type: ignore[no-any-return]
        except self._ray.exceptions.RayError as error:
            raise RunError(f"a Ray actor of curation failed: {str(error).strip().splitlines()[-1]}") from None

    def close(self, at_once: bool) -> None:
        self._ray.kill(self.actor)


def start_ray(workers: int) -> None:
    """Join the cluster that RAY_ADDRESS names, or start a local one of `workers` cores.

    Raises ConfigError if ray is not installed.
    """
    ray = _connect()
    if not ray.is_initialized():
        cores = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        path = os.pathsep.join(path or os.getcwd() for path in sys.path)
        ray.init(log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}}, **cores)


def stop_ray() -> None:
    """Leave the cluster; a local one ends."""
    _connect().shutdown()


def _connect() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing phones home
    try:
        import ray
    except ImportError:
        raise ConfigError("engine: ray: the package is not installed; pip install 'puna[ray]'") from None
    return ray

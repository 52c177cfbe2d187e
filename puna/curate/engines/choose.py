"""The pool that the settings ask for."""

from puna.curate.engines.local import WorkerProcess
from puna.curate.engines.pool import ChunkCleaner, InProcess, Job, Pool
from puna.curate.engines.ray import RayCleaner, start_ray, stop_ray


def open_pool(job: Job, workers: int) -> Pool:
    """`workers` cleaners of `job.config.engine`; a single local one without a time limit works in this process.

    Raises ConfigError if the engine is not installed.
    """
    if job.config.engine == "ray":
        start_ray(workers)
        return Pool([RayCleaner(job) for _ in range(workers)], stop_ray)
    if workers == 1 and not job.config.record_seconds:
        return Pool([InProcess(job)])
    cleaners: list[ChunkCleaner] = [WorkerProcess(job) for _ in range(workers)]
    return Pool(cleaners)

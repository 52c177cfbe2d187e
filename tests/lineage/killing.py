"""Run a recipe in forked children that kill themselves with SIGKILL at chosen moments.

    python tests/lineage/killing.py RECIPE.json OUT JOB...

Jobs: `count` prints the number of boundaries of a clean run; `sweep FIRST STRIDE` kills a fresh run at boundary FIRST,
FIRST + STRIDE, ... and each time runs it again; `chain SEED TIMES` kills one run TIMES times and finishes it.
Every job prints one JSON object with the checksums of the finished artifacts. A boundary is the moment before or after
any fsync, rename, replace, symlink or unlink. This is a program of its own because it forks: it must have one thread.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from puna.lineage import Recipe, run
from puna.stages import STAGES

_CALLS = ("fsync", "rename", "replace", "symlink", "unlink")


def main() -> None:
    """Read the job from the command line and print its result."""
    recipe = Recipe.from_values(json.loads(Path(sys.argv[1]).read_text()))
    out, job, *numbers = Path(sys.argv[2]), sys.argv[3], *sys.argv[4:]
    torch.set_num_threads(1)
    for spec in recipe.stages.values():
        STAGES[spec.kind].function()  # imported once, before any fork
    result = {"count": _count, "sweep": _sweep, "chain": _chain}[job](recipe, out, *map(int, numbers))
    print(json.dumps(result))


def _count(recipe: Recipe, out: Path) -> dict[str, Any]:
    counter = out.with_name("count.txt")
    assert _child(recipe, out, kill_at=None, counter=counter) == 0
    return {"boundaries": int(counter.read_text()), **_checksums(recipe, out)}


def _sweep(recipe: Recipe, out: Path, first: int, stride: int) -> dict[str, Any]:
    results, boundary = [], first
    while True:
        shutil.rmtree(out, ignore_errors=True)
        status = _child(recipe, out, kill_at=boundary)
        if status == 0:  # the run has fewer boundaries than this
            return {"killed": len(results), "results": results}
        assert status == -signal.SIGKILL, f"boundary {boundary}: exit {status}"
        assert _child(recipe, out, kill_at=None) == 0, f"resuming after boundary {boundary} failed"
        results.append({"boundary": boundary, **_checksums(recipe, out)})
        boundary += stride


def _chain(recipe: Recipe, out: Path, seed: int, times: int) -> dict[str, Any]:
    rng, killed = random.Random(seed), 0
    started = time.monotonic()
    assert _child(recipe, out, kill_at=None) == 0
    seconds = time.monotonic() - started
    shutil.rmtree(out)
    for _ in range(times):
        killed += _child(recipe, out, kill_after_s=rng.uniform(0, seconds / 2)) == -signal.SIGKILL
    assert _child(recipe, out, kill_at=None) == 0
    return {"killed": killed, **_checksums(recipe, out)}


def _child(
    recipe: Recipe,
    out: Path,
    kill_at: int | None = None,
    counter: Path | None = None,
    kill_after_s: float | None = None,
) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with _killing(kill_at) as boundaries:
                run(recipe, STAGES, out)
            if counter:
                counter.write_text(str(boundaries[0]))
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def _killing(kill_at: int | None) -> Iterator[list[int]]:
    """Count boundaries, and die at number `kill_at`."""
    seen = [0]

    def boundary() -> None:
        if seen[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen[0] += 1

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **named: Any) -> Any:
            boundary()
            result = call(*arguments, **named)
            boundary()
            return result

        return inner

    originals = {name: getattr(os, name) for name in _CALLS}
    try:
        for name, call in originals.items():
            setattr(os, name, wrapped(call))
        yield seen
    finally:
        for name, call in originals.items():
            setattr(os, name, call)


def _checksums(recipe: Recipe, out: Path) -> dict[str, Any]:
    """SHA-256 of every file of every finished artifact, by stage."""
    return {
        "stages": {
            name: {
                file: record["sha256"]
                for file, record in json.loads((out / name / "manifest.json").read_text())["files"].items()
            }
            for name in recipe.stages
        }
    }


if __name__ == "__main__":
    main()

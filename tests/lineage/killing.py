"""Run a recipe in forked children that kill themselves with SIGKILL at chosen moments.

    python tests/lineage/killing.py RECIPE.json OUT JOB...

`count` makes a clean run and prints its boundaries; `sweep CLEAN FIRST STRIDE` takes each stage of the recipe, its
inputs from the clean run, kills it at boundary FIRST, FIRST + STRIDE, ... and each time runs it again; `chain SEED
TIMES` kills a run at TIMES random moments and finishes it. Every job prints one JSON object with the checksums
of the finished artifacts. A boundary is the moment before or after any fsync, rename, replace or symlink. This is a
program of its own because it forks: it must have one thread.
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
import torch._dynamo  # the optimizers import it when first used: a second of work in every child

from puna.lineage import Recipe, run
from puna.lineage.runner import plan
from puna.stages import STAGES

_CALLS = ("fsync", "rename", "replace", "symlink")


def main() -> None:
    """Read the job from the command line and print its result."""
    recipe = Recipe.from_values(json.loads(Path(sys.argv[1]).read_text()))
    out, job, arguments = Path(sys.argv[2]), sys.argv[3], sys.argv[4:]
    torch.set_num_threads(1)
    for spec in recipe.stages.values():
        STAGES[spec.kind].function()  # imported once, before any fork
    plan(recipe, STAGES, out)  # so is what the sources import
    jobs: dict[str, Callable[..., dict[str, Any]]] = {"count": _count, "sweep": _sweep, "chain": _chain}
    print(json.dumps(jobs[job](recipe, out, *arguments)))


def _count(recipe: Recipe, out: Path) -> dict[str, Any]:
    counter = out.with_name("count.txt")
    assert _child(recipe, out, counter=counter) == 0
    return {"boundaries": int(counter.read_text()), **_checksums(recipe, out)}


def _sweep(recipe: Recipe, out: Path, clean: str, first: str, stride: str) -> dict[str, Any]:
    results = []
    names = list(recipe.stages)
    for place, name in enumerate(names):
        part, boundary = recipe.until(name), int(first)
        while True:
            _inputs_of(Path(clean), out, names[:place])
            status = _child(part, out, kill_at=boundary)
            if status == 0:  # the stage has fewer boundaries than this
                break
            assert status == -signal.SIGKILL, f"{name}, boundary {boundary}: exit {status}"
            assert _child(part, out) == 0, f"running {name} again after a kill at boundary {boundary} failed"
            results.append({"stage": name, "boundary": boundary, "files": _checksums(part, out)["stages"][name]})
            boundary += int(stride)
    return {"killed": len(results), "results": results}


def _inputs_of(clean: Path, out: Path, stages: list[str]) -> None:
    """A run folder that holds just the artifacts of `stages`, linked from the clean run."""
    shutil.rmtree(out, ignore_errors=True)
    for name in stages:
        artifact = (clean / name).resolve()
        shutil.copytree(artifact, out / "artifacts" / artifact.name, copy_function=os.link)


def _chain(recipe: Recipe, out: Path, seed: str, times: str) -> dict[str, Any]:
    rng, killed, finished = random.Random(int(seed)), 0, []
    started = time.monotonic()
    assert _child(recipe, out) == 0
    seconds = time.monotonic() - started
    shutil.rmtree(out)
    while killed < int(times):
        if _child(recipe, out, kill_after_s=rng.uniform(0, seconds / 2)) == -signal.SIGKILL:
            killed += 1
        else:  # it came to its end before the kill: one more to compare, and a fresh start
            finished.append(_checksums(recipe, out)["stages"])
            shutil.rmtree(out)
    assert _child(recipe, out) == 0
    return {"killed": killed, "finished": [*finished, _checksums(recipe, out)["stages"]]}


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

"""Run a recipe: plan every stage's fingerprint, reuse what exists, make what does not, in order.

for stage in planned:  reuse | lock -> partial folder -> run(config, inputs, out) -> commit (one rename)
"""

import datetime
import functools
import importlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from puna.base import ranks
from puna.base.config import Config, did_you_mean, validate
from puna.base.errors import ArtifactError, ConfigError, PunaError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, Place, Progress, StageOutput
from puna.base.remote import is_url, remote_fingerprint
from puna.base.rng import hash64
from puna.lineage.fingerprint import difference, fingerprint, path_fingerprint, source_hashes
from puna.lineage.memory import PeakMemory
from puna.lineage.recipe import Recipe, StageSpec
from puna.lineage.report import build_report, write_report
from puna.lineage.rounds import round_of
from puna.lineage.store import Store, read_manifest

_POLL_S = 0.5


@dataclass(frozen=True)
class Stage:
    """A kind of stage: the module with its `run` and the name of its settings class.

    The module is imported when a recipe uses it. `seeded` says that the recipe's seed can change its artifact. handed:
    by the name of a setting, the module of a part that the stage's own may not import; where the setting is given,
    `run` is handed its function `make` under that name, and its source counts as the stage's. together: where torchrun
    started several processes, all of them run it; other stages are made by the first one.
    """

    module: str
    config: str
    seeded: bool = False
    handed: Mapping[str, str] = field(default_factory=dict)
    together: bool = False

    def settings(self) -> type[Config]:
        """The class of the stage's settings."""
        return getattr(importlib.import_module(self.module), self.config)  # type: ignore[no-any-return]

    def function(self, config: Config | None = None) -> Callable[[Config, Inputs, StageOutput], None]:
        """The stage itself, with what it is handed for these settings."""
        run = importlib.import_module(self.module).run
        given = self.given(config)
        return functools.partial(run, **given) if given else run  # type: ignore[no-any-return]

    def given(self, config: Config | None) -> dict[str, Any]:
        """What the stage is handed for these settings, by name."""
        return {name: importlib.import_module(one).make for name, one in self._handed(config).items()}

    def source(self, config: Config) -> dict[str, str]:
        """Hashes of the source that can change the artifact."""
        hashes = source_hashes(self.module)
        for module in self._handed(config).values():
            hashes |= source_hashes(module)
        return dict(sorted(hashes.items()))

    def _handed(self, config: Config | None) -> dict[str, str]:
        return {name: one for name, one in self.handed.items() if getattr(config, name, None) is not None}


@dataclass
class Planned:
    """A stage of the recipe with everything that names its artifact."""

    name: str
    spec: StageSpec
    stage: Stage
    config: Config
    inputs: dict[str, Place | list[Place]]
    made_of: dict[str, Any]
    fingerprint: str
    seed: int
    reasons: list[str] = field(default_factory=list)
    reused: bool = False


class Watcher(Protocol):
    """What a live view is told; every call returns at once."""

    def planned(self, stages: list[Planned]) -> None: ...
    def started(self, stage: Planned) -> None: ...
    def progressed(self, stage: Planned, look: Progress) -> None: ...
    def finished(self, stage: Planned, manifest: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class RunResult:
    """What a run made: the manifests in lap order, the report and its path, and the names of stages that ran."""

    folder: Path
    manifests: list[dict[str, Any]]
    report: dict[str, Any]
    report_path: Path
    ran: list[str]


def run(
    recipe: Recipe,
    stages: Mapping[str, Stage],
    out: Path,
    replica: bool = False,
    watch: Watcher | None = None,
) -> RunResult:
    """Run `recipe` into the run folder `out`; with `replica` into `out/seed-N`, sharing artifacts.

    Raises InputError for anything wrong with recipe, data or artifacts, RunError if the run failed.
    """
    folder = out / f"seed-{recipe.seed}" if replica else out
    planned = plan(recipe, stages, out, folder)
    if ranks.rank() > 0:
        return _follow(planned, recipe, Store(out), folder)
    if watch:
        watch.planned(planned)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "recipe.json", recipe.model_dump(mode="json"))
    store, manifests = Store(out), []
    for one in planned:
        manifest = _reuse_or_make(store, one, recipe, watch)
        store.link(folder, one.name, one.fingerprint)
        manifests.append(manifest)
        if watch:
            watch.finished(one, manifest)
    located = [
        {**m, "artifact": os.path.relpath(store.folder(m["stage"], m["fingerprint"]), folder)} for m in manifests
    ]
    report = build_report(located, recipe.model_dump(mode="json"))
    path = write_report(report, located, folder)
    return RunResult(folder, manifests, report, path, [one.name for one in planned if not one.reused])


def _follow(planned: list[Planned], recipe: Recipe, store: Store, folder: Path) -> RunResult:
    """What every process but the first one of several does: take part in stages that all run, and wait for others."""
    for one in planned:
        while not store.has(one.name, one.fingerprint):
            if not one.stage.together:
                time.sleep(_POLL_S)
                continue
            partial = store.partial(one.name, one.fingerprint)
            threads = recipe.mesh.num_threads(together=True)
            settings = (threads, recipe.mesh.num_workers(), None, recipe.mesh)
            out = StageOutput(partial, one.seed, *settings, writes=False)
            one.stage.function(one.config)(one.config, Inputs(one.inputs), out)
            while not store.has(one.name, one.fingerprint):
                time.sleep(_POLL_S)
    manifests = [store.manifest(one.name, one.fingerprint) for one in planned]
    return RunResult(folder, manifests, {}, folder / "report.html", [])


def plan(recipe: Recipe, stages: Mapping[str, Stage], out: Path, folder: Path | None = None) -> list[Planned]:
    """Every stage with its checked settings, its inputs and its fingerprint; nothing is written.

    Raises ConfigError or DataError before anything is spent.
    """
    store, planned = Store(out), dict[str, Planned]()
    for name, spec in recipe.stages.items():
        if spec.kind not in stages:
            raise ConfigError(
                f'{name}.kind: no kind "{spec.kind}"{did_you_mean(spec.kind, stages)}; known: {", ".join(stages)}'
            )
        stage = stages[spec.kind]
        config = validate(stage.settings(), spec.config, name)
        inputs, input_prints = _resolve_inputs(recipe, spec, planned, store)
        made_of: dict[str, Any] = {
            "source": stage.source(config),
            "config": config.resolved(hardware=False),
            "inputs": input_prints,
            "seed": _seed(recipe, name) if stage.seeded else None,
        }
        # A stage that is not seeded always gets seed 0, so that replicas can share its artifact.
        seed = _seed(recipe, name) if stage.seeded else 0
        one = Planned(name, spec, stage, config, inputs, made_of, fingerprint(**made_of), seed)
        one.reused = store.has(name, one.fingerprint)
        if not one.reused:
            one.reasons = _why(folder or out, one)
        planned[name] = one
    return list(planned.values())


def _seed(recipe: Recipe, stage: str) -> int:
    """The recipe's seed, in round n one made of it and n: after a roll-back, a round must not draw the same again."""
    number = round_of(stage)
    return hash64(recipe.seed, "round", number) >> 1 if number else recipe.seed


def _reuse_or_make(store: Store, one: Planned, recipe: Recipe, watch: Watcher | None) -> dict[str, Any]:
    if store.has(one.name, one.fingerprint):
        one.reused = True
        store.sweep(one.name, one.fingerprint)
        return store.manifest(one.name, one.fingerprint)
    if watch:
        watch.started(one)
    with store.lock(one.name, one.fingerprint):
        if store.has(one.name, one.fingerprint):  # another process finished it while we waited
            one.reused = True
            return store.manifest(one.name, one.fingerprint)
        return _make(store, one, recipe, watch)


def _make(store: Store, one: Planned, recipe: Recipe, watch: Watcher | None) -> dict[str, Any]:
    partial = store.partial(one.name, one.fingerprint)
    threads = _resolved_once(partial, recipe, one.stage)
    started = datetime.datetime.now(datetime.UTC)
    out = StageOutput(
        partial,
        seed=one.seed,
        threads=threads,
        workers=recipe.mesh.num_workers(),
        watch=(lambda look: watch.progressed(one, look)) if watch else None,
        mesh=recipe.mesh,
    )
    with PeakMemory() as peak:
        one.stage.function(one.config)(one.config, Inputs(one.inputs), out)
    made_by = {
        "kind": one.spec.kind,
        "source": one.made_of["source"],
        "config": one.config.resolved(),
        "made_of": one.made_of,
        "inputs": _sources(recipe, one),
        "seed": one.seed,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(out.seconds, 3),
        "peak_memory_bytes": peak.bytes,
        "environment": environment(threads),
    }
    return store.commit(one.name, one.fingerprint, out, made_by)


def _resolved_once(partial: Path, recipe: Recipe, stage: Stage) -> int:
    """`auto` threads are settled when an artifact is begun and kept on resume: sums depend on their number."""
    path = partial / "resolved.json"
    if path.exists():
        return int(read_json(path)["threads"])
    partial.mkdir(parents=True, exist_ok=True)
    threads = recipe.mesh.num_threads(together=stage.together)
    write_json(path, {"threads": threads})
    return threads


def _resolve_inputs(
    recipe: Recipe, spec: StageSpec, planned: Mapping[str, Planned], store: Store
) -> tuple[dict[str, Place | list[Place]], dict[str, Any]]:
    """Places and fingerprints of a stage's inputs."""
    paths: dict[str, Place | list[Place]] = {}
    prints: dict[str, Any] = {}
    for name, value in spec.inputs.items():
        found = [
            _resolve(recipe, reference, planned, store) for reference in ([value] if isinstance(value, str) else value)
        ]
        paths[name] = found[0][0] if isinstance(value, str) else [path for path, _ in found]
        prints[name] = [one_print for _, one_print in found]
    return paths, prints


def _resolve(recipe: Recipe, reference: str, planned: Mapping[str, Planned], store: Store) -> tuple[Place, str]:
    if source := recipe.source_of(reference):
        stage, inside = source
        one = planned[stage]
        return store.folder(stage, one.fingerprint) / inside, f"{one.fingerprint}/{inside}"
    if is_url(reference):
        name = reference.partition("?")[0].rstrip("/").rpartition("/")[2]
        return reference, f"{name} {remote_fingerprint(reference)}"
    path = Path(reference).expanduser()
    return path, f"{path.name} {path_fingerprint(path)}"


def _sources(recipe: Recipe, one: Planned) -> dict[str, list[dict[str, str]]]:
    """Where each input came from, for the manifest and the lineage graph."""
    sources = {}
    for name, value in one.spec.inputs.items():
        rows = []
        for reference, print_ in zip([value] if isinstance(value, str) else value, one.made_of["inputs"][name]):
            source = recipe.source_of(reference)
            place = {"stage": source[0]} if source else {"path": reference}
            rows.append({**place, "fingerprint": print_.rpartition(" ")[2].partition("/")[0]})
        sources[name] = rows
    return sources


def _why(folder: Path, one: Planned) -> list[str]:
    """Why a stage must run: what changed since the artifact that the run used last."""
    try:
        old = read_manifest(folder / one.name)
    except PunaError:
        return ["never run"]
    reasons = difference(old["made_of"], one.made_of)
    return reasons or ["its artifact was deleted"]


def environment(threads: int) -> dict[str, Any]:
    """What a result may depend on beside the recipe: versions, machine, threads, commit."""
    versions = {}
    for name in ("torch", "numpy", "tokenizers", "tiktoken", "pyarrow"):
        if module := sys.modules.get(name):
            versions[name] = str(getattr(module, "__version__", "?"))
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "commit": _commit(),
        **versions,
    }


def _commit() -> str:
    """The commit the code is at, with + if changed; empty outside a checkout."""
    here = Path(__file__).resolve().parent
    if not (here.parents[1] / ".git").exists():
        return ""
    try:
        git = ["git", "-C", str(here), "describe", "--always", "--dirty=+"]
        return subprocess.run(git, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def last_manifests(folder: Path) -> list[dict[str, Any]]:
    """Manifests that a run folder's links lead to, in the order of its recipe; missing stages are left out."""
    recipe = read_json(folder / "recipe.json")
    manifests = []
    for name in recipe["stages"]:
        if (folder / name / "manifest.json").is_file():
            manifest = read_manifest(folder / name)
            manifests.append({**manifest, "artifact": os.path.relpath((folder / name).resolve(), folder.resolve())})
    return manifests


def rebuild_report(folder: Path) -> tuple[dict[str, Any], Path]:
    """Write the report of a run folder anew from its manifests. Raises ArtifactError if there are none."""
    recipe, manifests = read_json(folder / "recipe.json"), last_manifests(folder)
    if not manifests:
        raise ArtifactError(f"expected finished stages in {folder}, found none; `puna run` the recipe first")
    report = build_report(manifests, recipe)
    return report, write_report(report, manifests, folder)

"""A recipe -> what each of its stages will take: `puna plan RECIPE`, and the line that `puna run` begins with.

    references -> volumes -> work of each kind -> seconds on cores, or on accelerators -> sums

Where the run folder holds an earlier run, its times correct the estimates: a stage is as much slower as it was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from puna.base.config import Config, Mesh, validate
from puna.base.errors import ConfigError, PunaError
from puna.base.files import read_json
from puna.lineage.recipe import Recipe
from puna.lineage.runner import Planned, Stage, plan
from puna.lineage.store import Store, read_manifest
from puna.parallel.mesh import check_model, layout
from puna.scaling.devices import Device
from puna.scaling.forecast import forecast, of_text, read_ladders
from puna.scaling.law import FLOPS_PER_WEIGHT, REFIT
from puna.scaling.layout import USABLE, Layout, best_layout, estimate, fewest_gpus
from puna.scaling.memory import Split, training_memory
from puna.scaling.recipe.effort import Effort, Machine
from puna.scaling.recipe.kinds import WORK
from puna.scaling.recipe.volume import Volume, measure, together
from puna.scaling.recipe.work import WITH_TORCH, Given, Training, Unknown, Work

_LAW_FROM = 1e8
"""Parameters from which on Chinchilla's runs say something of a model; theirs begin at 44M."""
_COUNTED_WHEN_MADE = ("world", "curate", "semantic-dedup", "filter", "select", "annotate")
_SERVING_SHARE = 0.4
_RESAMPLES = 100


class _Loss(NamedTuple):
    loss: float
    interval: tuple[float, float] | None
    condition: str = ""


@dataclass(frozen=True)
class Devices:
    """Accelerators for what trains and generates; cores do the rest. gpus: 0 for the fewest that hold a model."""

    device: Device
    gpus: int = 0
    price: float | None = None

    @property
    def hour_price(self) -> float:
        """Dollars for an hour of one."""
        return self.device.dollars_per_hour if self.price is None else self.price


@dataclass(frozen=True)
class StagePlan:
    """One stage. seconds is None where nothing can be told, and `note` says why.

    basis: "made" (nothing to do), "last run", "estimate" or "unknown". flops: 6 N D of what it trains. memory_bytes:
    on a device if it uses one (gpus above 0), else on this machine.
    """

    name: str
    kind: str
    basis: str
    seconds: float | None = None
    memory_bytes: float = 0.0
    flops: float = 0.0
    num_parameters: int = 0
    num_tokens: int = 0
    gpus: int = 0
    gpu_hours: float = 0.0
    dollars: float = 0.0
    predicted_loss: float | None = None
    predicted_interval: tuple[float, float] | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        interval = self.predicted_interval
        return asdict(self) | {"predicted_interval": None if interval is None else list(interval)}


@dataclass(frozen=True)
class RecipePlan:
    """All stages of a recipe on a machine of `cores` and `machine_bytes` of memory."""

    recipe: str
    stages: list[StagePlan]
    cores: int
    machine_bytes: float
    device: str = ""

    @property
    def seconds(self) -> float:
        """Of all stages whose time is known."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    @property
    def unknown(self) -> list[str]:
        """Stages whose time is not."""
        return [stage.name for stage in self.stages if stage.seconds is None]

    @property
    def memory_bytes(self) -> float:
        """Of the stage that needs most on this machine."""
        return max((stage.memory_bytes for stage in self.stages if not stage.gpus), default=0.0)

    @property
    def too_large(self) -> list[str]:
        """Stages that this machine has not the memory for."""
        return [one.name for one in self.stages if not one.gpus and one.memory_bytes > self.machine_bytes]

    @property
    def main(self) -> StagePlan | None:
        """The stage that costs most FLOPs, usually pretraining."""
        return max(self.stages, key=lambda stage: stage.flops, default=None)

    def to_json(self) -> dict[str, Any]:
        """num_parameters, num_tokens and predicted_loss are of the main stage, flops, hours and dollars of all."""
        main = self.main
        on_devices = [stage.memory_bytes for stage in self.stages if stage.gpus]
        return {
            "recipe": self.recipe,
            "num_parameters": main.num_parameters if main else 0,
            "num_tokens": main.num_tokens if main else 0,
            "flops": sum(stage.flops for stage in self.stages),
            "seconds": self.seconds,
            "gpu_hours": sum(stage.gpu_hours for stage in self.stages),
            "dollars": sum(stage.dollars for stage in self.stages),
            "memory_per_device_bytes": max(on_devices, default=self.memory_bytes),
            "predicted_loss": main.predicted_loss if main else None,
            "fits": not self.too_large,
            "too_large": self.too_large,
            "unknown": self.unknown,
            "cores": self.cores,
            "machine_bytes": self.machine_bytes,
            "device": self.device,
            "stages": [stage.to_json() for stage in self.stages],
        }


def plan_recipe(
    recipe: Recipe,
    stages: Mapping[str, Stage],
    out: Path,
    machine: Machine,
    devices: Devices | None = None,
    folder: Path | None = None,
    assumed: Mapping[str, Volume] | None = None,
    planned: Sequence[Planned] | None = None,
) -> RecipePlan:
    """What `recipe` will take when it is run into `out`; `folder` holds the run that it is compared with (`out`).

    assumed: how much is under a reference that leads to no file yet. planned: the runner's plan, if it is made already.

    Raises ConfigError for a recipe that cannot be run. Data that are not there yet are no error.
    """
    made = _made(recipe, stages, out) if planned is None else {one.name: one for one in planned if one.reused}
    drafts = _drafts(recipe, stages, Store(out), made, machine, devices, assumed or {})
    factors = _last_run(folder or out, stages, machine) if not devices else {}
    rows = []
    for name, draft in drafts.items():
        if name in made:
            rows.append(StagePlan(name, draft.kind, "made", 0.0))
            continue
        rows.append(draft.row(factors.get(name)))
    cores = machine.cores
    return RecipePlan(recipe.name, rows, cores, machine.memory_bytes, devices.device.name if devices else "")


@dataclass(frozen=True)
class _Draft:
    name: str
    kind: str
    work: Work | None
    seconds: float | None = None
    gpus: int = 0
    memory_bytes: float = 0.0
    dollars: float = 0.0
    note: str = ""
    loss: _Loss | None = None
    known: Mapping[str, Volume] = field(default_factory=dict)

    @property
    def outputs(self) -> Mapping[str, Volume]:
        """What the stage makes, as far as that is known."""
        return self.work.outputs if self.work else self.known

    def row(self, factor: float | None) -> StagePlan:
        if self.work is None or self.seconds is None:
            return StagePlan(self.name, self.kind, "unknown", note=self.note)
        needs = self.work.training
        parameters = needs.model.num_met_parameters() if needs else 0
        tokens = needs.tokens if needs else 0.0
        seconds = self.seconds * (1.0 if factor is None else factor)
        loss, interval, condition = self.loss or (None, None, "")
        return StagePlan(
            self.name,
            self.kind,
            "estimate" if factor is None else "last run",
            seconds,
            self.memory_bytes,
            FLOPS_PER_WEIGHT * parameters * tokens,
            needs.model.num_parameters() if needs else 0,
            round(tokens),
            self.gpus,
            self.gpus * seconds / 3600,
            self.dollars * seconds / 3600,
            loss,
            interval,
            ", ".join(part for part in (condition, self.note) if part),
        )


def _made(recipe: Recipe, stages: Mapping[str, Stage], out: Path) -> dict[str, Planned]:
    """The stages that need not run. None, where data are missing: then no fingerprint can be told."""
    try:
        return {one.name: one for one in plan(recipe, stages, out) if one.reused}
    except ConfigError:
        raise
    except PunaError:
        return {}


def _drafts(
    recipe: Recipe,
    stages: Mapping[str, Stage],
    store: Store,
    made: Mapping[str, Planned],
    machine: Machine,
    devices: Devices | None,
    assumed: Mapping[str, Volume],
) -> dict[str, _Draft]:
    drafts: dict[str, _Draft] = {}
    if recipe.mesh.threads != "auto":
        machine = machine.with_threads(recipe.mesh.num_threads())

    def find(reference: str) -> Volume:
        source = recipe.source_of(reference)
        for place, volume in assumed.items():
            if reference == place or reference.startswith(f"{place}/"):
                return volume
        if source is None:
            return measure(Path(reference).expanduser())
        name, inside = source
        draft = drafts[name]
        if name in made and draft.kind in _COUNTED_WHEN_MADE:
            return _counted(store.folder(name, made[name].fingerprint), inside)
        outputs = draft.outputs
        if not outputs:
            return Volume(missing=f"what {name} makes")
        while inside not in outputs and "/" in inside:
            inside = inside.rpartition("/")[0]
        return outputs.get(inside) or outputs.get("") or Volume(missing=reference)

    for name, spec in recipe.stages.items():
        if spec.kind not in stages:
            raise ConfigError(f'{name}.kind: no kind "{spec.kind}"; known: {", ".join(stages)}')
        config = validate(stages[spec.kind].settings(), spec.config, name)
        references = {key: [value] if isinstance(value, str) else value for key, value in spec.inputs.items()}
        workers = machine.cores if recipe.mesh.workers == "auto" else recipe.mesh.num_workers()
        try:
            work = WORK[spec.kind](config, Given(references, find, workers))
            loss = _predicted(recipe, references, made, store, work)
            drafts[name] = _on_machine(name, spec.kind, work, config, machine, devices, workers, loss, recipe.mesh)
        except Unknown as missing:
            drafts[name] = _Draft(name, spec.kind, None, note=str(missing), known=missing.outputs)
    return drafts


def _counted(folder: Path, inside: str) -> Volume:
    if inside:
        return measure(folder / inside)
    return together(measure(path) for path in sorted(folder.glob("documents-*.parquet")))


def _on_machine(
    name: str,
    kind: str,
    work: Work,
    config: Config,
    machine: Machine,
    devices: Devices | None,
    workers: int,
    loss: _Loss | None,
    mesh: Mesh,
) -> _Draft:
    is_divided = mesh.world_size > 1 and work.training is not None and work.training.divides
    if is_divided:
        assert work.training is not None
        check_model(mesh, work.training.model, work.training.row_tokens)
    if devices is None or work.model is None:
        workers = getattr(config, "workers", None) or workers
        if is_divided:
            assert work.training is not None
            each = WITH_TORCH + _memory_each(work.training, mesh)
            note = f"{layout(mesh)}: {each / 1e6:,.0f} MB each"
            seconds, held = machine.seconds(work.effort, workers), each * mesh.world_size
            return _Draft(name, kind, work, seconds, 0, held, note=note, loss=loss)
        return _Draft(name, kind, work, machine.seconds(work.effort, workers), 0, work.memory_bytes, loss=loss)
    needs, device = work.training, devices.device
    if needs is None:
        gpus = devices.gpus or max(1, math.ceil(2 * work.model.num_parameters() / (0.9 * device.memory_bytes)))
        seconds = _serving_seconds(work.effort, device, gpus)
        held = 2.0 * work.model.num_parameters() / gpus
        return _Draft(name, kind, work, seconds, gpus, held, gpus * devices.hour_price, loss=loss)
    try:
        seconds, gpus, held, how = _training(needs, device, devices.gpus, mesh if is_divided else None)
    except ConfigError as error:
        return _Draft(name, kind, work, note=str(error))
    decoding = _serving_seconds(Effort(reads=work.effort.reads / 2), device, gpus) if work.effort.reads else 0.0
    return _Draft(name, kind, work, seconds + decoding, gpus, held, gpus * devices.hour_price, how, loss)


def _training(needs: Training, device: Device, gpus: int, mesh: Mesh | None) -> tuple[float, int, float, str]:
    """Seconds, devices, bytes on each, and the layout: the recipe's own (`mesh`), else the best one, of fewer devices
    if a batch has too few rows for `gpus`."""
    if mesh is not None:
        found = _laid_out(needs, device, mesh)
        mfu = found.mfu(needs.model, device, needs.row_tokens)
        note = f"{layout(mesh)}, MFU {mfu:.0%}"
        if found.memory.resident > USABLE * device.memory_bytes:
            there, needed = f"{device.memory_bytes / 1e9:.0f} GB", f"{found.memory.resident / 1e9:.3g} GB"
            raise ConfigError(
                f"mesh: expected at most {there} of each {device.name}, came {needed} ({layout(mesh)}); "
                "divide further, or make micro_batch smaller"
            )
        return needs.tokens / found.tokens_per_second, mesh.world_size, found.memory.resident, note
    fewest = fewest_gpus(needs.model, device, needs.row_tokens, needs.batch_rows, needs.optimizer)
    if fewest is None:
        raise ConfigError(f"no number of {device.name} holds this training")
    gpus = gpus or fewest
    while gpus // 2 >= fewest and not _is_laid_out(needs, device, gpus):
        gpus //= 2
    best = best_layout(needs.model, device, gpus, needs.row_tokens, needs.batch_rows, needs.optimizer)
    mfu = best.mfu(needs.model, device, needs.row_tokens)
    note = f"{' '.join(str(best).split()[:4])}, MFU {mfu:.0%}"
    return needs.tokens / best.tokens_per_second, gpus, best.memory.resident, note


def _memory_each(needs: Training, mesh: Mesh) -> float:
    """Bytes of each process on cores."""
    split, micro_batch, times = _divided(needs, mesh)
    options: dict[str, Any] = {"micro_batches": times, "split": split, "dtype": "fp32", "optimizer": needs.optimizer}
    return training_memory(needs.model, micro_batch, needs.row_tokens, **options).resident


def _laid_out(needs: Training, device: Device, mesh: Mesh) -> Layout:
    """Training in a recipe's own mesh."""
    split, micro_batch, times = _divided(needs, mesh)
    return estimate(needs.model, device, split, needs.row_tokens, micro_batch, times, optimizer=needs.optimizer)


def _divided(needs: Training, mesh: Mesh) -> tuple[Split, int, int]:
    """What each process has, rows of a micro-batch, and micro-batches of a step."""
    copies = mesh.data * mesh.replicas * mesh.experts
    split = Split(mesh.tensor, mesh.context, mesh.pipeline, copies, mesh.reshard, mesh.stages)
    micro_batch = min(needs.micro_batch, max(1, needs.batch_rows // copies))
    return split, micro_batch, max(1, needs.batch_rows // (micro_batch * copies))


def _is_laid_out(needs: Training, device: Device, gpus: int) -> bool:
    try:
        best_layout(needs.model, device, gpus, needs.row_tokens, needs.batch_rows, needs.optimizer)
    except ConfigError:
        return False
    return True


def _serving_seconds(effort: Effort, device: Device, gpus: int) -> float:
    """Whatever takes longer, products or reading the weights; both of `gpus` devices, at the shares that are usual."""
    compute = effort.flops / (device.peak(device.training_dtype) * _SERVING_SHARE)
    reading = effort.reads / 2 / (device.bandwidth * 2 * _SERVING_SHARE)  # bf16 on a device, fp32 on cores
    return max(compute, reading) / gpus


def _predicted(
    recipe: Recipe, references: Mapping[str, list[str]], made: Mapping[str, Planned], store: Store, work: Work
) -> _Loss | None:
    """The loss of pretraining from its forecast, written or still to be, else from a published law for large models."""
    needs = work.training
    if needs is None or "tokens" not in references or "model" in references:
        return None  # of a model that has learned before, tokens alone tell nothing
    parameters = needs.model.num_met_parameters()
    source = recipe.source_of((references.get("forecast") or ["/"])[0])
    if source and source[0] in made:
        written = read_json(store.folder(source[0], made[source[0]].fingerprint) / "forecast.json")
        return _per_token(written, written["unit"], written.get("text"))
    if source:
        spec = recipe.stages[source[0]]
        given, unit = spec.inputs["ladder"], spec.config.get("unit", "token")
        places = [Path(one).expanduser() for one in ([given] if isinstance(given, str) else given)]
        if all(place.exists() for place in places):
            found = forecast(read_ladders(places, unit), parameters, round(needs.tokens), _RESAMPLES)
            kept = not any(recipe.source_of(one) for one in ([given] if isinstance(given, str) else given))
            told = _per_token(found, unit, of_text(places, unit).get("text"))
            return told._replace(condition="on text like the ladder's") if kept else told
    if parameters < _LAW_FROM:
        return None
    return _Loss(REFIT.loss(parameters, needs.tokens), None)


def _per_token(found: dict[str, Any], unit: str, text: dict[str, Any] | None) -> _Loss:
    """A forecast in nats a token, with the bytes that a token of its ladders has if it is in nats a byte."""
    size = text["bytes_per_token"] if unit == "byte" and text else 1.0
    low, high = found["interval"]
    return _Loss(size * found["loss"], (size * low, size * high))


def _last_run(folder: Path, stages: Mapping[str, Stage], machine: Machine) -> dict[str, float]:
    """For each stage of the run in `folder` how many times its estimate it took."""
    path = folder / "recipe.json"
    if not path.is_file():
        return {}
    try:
        recipe = Recipe.model_validate(read_json(path))
        drafts = _drafts(recipe, stages, Store(folder), {}, machine, None, {})
    except (PunaError, ValueError):
        return {}  # of another version of the recipes
    factors = {}
    for name, draft in drafts.items():
        try:
            seconds = read_manifest(folder / name)["seconds"]
        except PunaError:
            continue
        if draft.seconds:
            factors[name] = seconds / draft.seconds
    return factors

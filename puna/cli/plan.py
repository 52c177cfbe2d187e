"""What a recipe will take: `puna plan RECIPE`, and the line that `puna run` begins with."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from puna.base.config import did_you_mean
from puna.base.errors import ConfigError, PunaError
from puna.cli.options import JsonOption, OutOption, RecipeArgument, SetOption
from puna.lineage.recipe import Recipe, parse_settings, unset_variables
from puna.lineage.report.formats import format_bytes, format_seconds
from puna.lineage.runner import Planned, Watcher
from puna.stages import STAGES

_FILE_WIDTH, _BUSY = 160, 0.7
_PAGE_BYTES, _ROW_CHARACTERS, _ANSWER_CHARACTERS = 60_000, 2_500, 1_200


def plan(
    recipe: RecipeArgument,
    set_: SetOption = [],
    until: Annotated[str | None, typer.Option(help="Stop after this stage")] = None,
    out: OutOption = None,
    crawl: Annotated[list[str], typer.Option(help="Your own crawl, as in `puna run`")] = [],
    cores: Annotated[int, typer.Option(help="Cores for what is done on cores (0: those of this machine)")] = 0,
    gpus: Annotated[
        int, typer.Option(help="Train and generate on so many devices (0: cores, or --device's fewest)")
    ] = 0,
    device: Annotated[str | None, typer.Option(help="A100-80G, H100-SXM, H200, B200, L40S, RTX-4090, MI300X")] = None,
    price: Annotated[float | None, typer.Option(help="Dollars an hour of one device (default: a typical one)")] = None,
    assume: Annotated[
        list[str], typer.Option(help="Of data that are not there yet, how many rows: --assume dialogs=2M")
    ] = [],
    json_: JsonOption = False,
) -> None:
    """What every stage of a recipe will take before it is run: time, memory, FLOPs, price, and predicted loss.

    Example: puna plan recipes/8b.yaml --device H100-SXM --gpus 1024 --assume crawl=30B --assume dialogs=2M
    """
    from puna.scaling.devices import find_device
    from puna.scaling.recipe.effort import measure_machine
    from puna.scaling.recipe.plan import Devices, plan_recipe

    for name, value in (("cores", cores), ("gpus", gpus), ("price", price or 0)):
        if value < 0:
            raise ConfigError(f"--{name}: expected 0 or more, came {value}")
    settings = parse_settings(set_) | ({"crawl": crawl} if crawl else {})
    unset = [name for name in unset_variables(recipe) if name not in settings]
    assumed = _assumed(assume, unset)
    loaded = Recipe.load(recipe, {name: _place(name) for name in unset} | settings)
    loaded = loaded.until(until) if until else loaded
    devices = Devices(find_device(device or "H100-SXM"), gpus, price) if device or gpus else None
    machine = measure_machine()
    machine = machine.with_cores(cores) if cores else machine
    made = plan_recipe(loaded, STAGES, out or Path("runs") / loaded.name, machine, devices, assumed=assumed)
    if json_:
        print(json.dumps(made.to_json()))
        return
    _print(made)


def _place(name: str) -> str:
    """What stands in a recipe for a variable without a value."""
    return f"{name} (--assume {name}=ROWS)"


def _assumed(items: list[str], unset: list[str]) -> dict[str, Any]:
    """Volumes of data that are not there yet: pages of a crawl, else rows of a page of text with an answer each."""
    from puna.scaling.numbers import read_quantity
    from puna.scaling.recipe.volume import Volume

    found = {}
    for item in items:
        name, _, amount = item.partition("=")
        if name not in unset:
            known = ", ".join(unset) or "none"
            raise ConfigError(
                f"--assume: expected a variable without a value ({known}), came {name!r}{did_you_mean(name, unset)}"
            )
        rows = read_quantity(f"--assume {name}", amount)
        crawl = Volume(rows, markup=_PAGE_BYTES * rows)
        found[_place(name)] = (
            crawl if name == "crawl" else Volume(rows, _ROW_CHARACTERS * rows, answer=_ANSWER_CHARACTERS)
        )
    return found


class Beforehand:
    """A view of a run that says first what the run will take."""

    def __init__(self, watch: Watcher, recipe: Recipe, out: Path, replica: bool):
        self._watch, self._recipe, self._out = watch, recipe, out
        self._folder = out / f"seed-{recipe.seed}" if replica else out
        self.started, self.progressed, self.finished = watch.started, watch.progressed, watch.finished

    def planned(self, stages: list[Planned]) -> None:
        """Say it, unless nothing is to be done or nothing can be told."""
        if not all(stage.reused for stage in stages):
            self._say(stages)
        self._watch.planned(stages)

    def _say(self, stages: list[Planned]) -> None:
        from puna.scaling.recipe.effort import measure_machine
        from puna.scaling.recipe.plan import plan_recipe

        try:
            made = plan_recipe(self._recipe, STAGES, self._out, measure_machine(), folder=self._folder, planned=stages)
        except (PunaError, OSError, ValueError):
            return  # what is wrong with the data the run itself says
        basis = "by the last run" if any(stage.basis == "last run" for stage in made.stages) else "estimated"
        line = f"About {format_seconds(made.seconds)} and {format_bytes(made.memory_bytes)} of memory, {basis}"
        line += f", without {', '.join(made.unknown[:3])}" if made.unknown else ""
        print(f"{line}{_busy()}; `puna plan` says more", file=sys.stderr)
        if made.too_large:
            have = format_bytes(made.machine_bytes)
            print(f"This machine has {have}, too little for {', '.join(made.too_large)} as planned", file=sys.stderr)


def _print(made: Any) -> None:
    from puna.scaling.numbers import short

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage", no_wrap=True)
    for name in ("time", "memory", "params", "tokens", "FLOPs"):
        table.add_column(name, justify="right", no_wrap=True)
    if made.device:
        table.add_column("GPUs", justify="right", no_wrap=True)
        table.add_column("price", justify="right", no_wrap=True)
    table.add_column("")
    for one in made.stages:
        if one.basis == "made":
            table.add_row(one.name, "made", style="dim")
            continue
        cells = [
            one.name,
            "?" if one.seconds is None else _time(one.seconds),
            format_bytes(one.memory_bytes) if one.memory_bytes else "",
            short(one.num_parameters) if one.num_parameters else "",
            short(one.num_tokens) if one.num_tokens else "",
            short(one.flops) if one.flops else "",
        ]
        if made.device:
            cells += [f"{one.gpus:,}" if one.gpus else "", f"${short(one.dollars)}" if one.dollars else ""]
        table.add_row(*cells, _said(one))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_FILE_WIDTH)
    console.print(table)
    for line in _sums(made):
        console.print(line, soft_wrap=True)


def _time(seconds: float) -> str:
    days = seconds / 86400
    return format_seconds(seconds) if days < 3 else f"{days:,.0f} days" if days < 1000 else f"{days / 365:,.1f} years"


def _busy() -> str:
    """That speeds were measured beside other work, if they were."""
    load = os.getloadavg()[0]
    return f" (measured while other work keeps {load:.1f} cores busy)" if load > _BUSY else ""


def _said(one: Any) -> str:
    """What is worth saying of a stage beside its numbers."""
    parts = []
    if one.predicted_loss is not None:
        interval = one.predicted_interval and " ({:.3f} to {:.3f})".format(*one.predicted_interval)
        parts.append(f"loss {one.predicted_loss:.3f}{interval or ''}")
    if one.basis == "last run":
        parts.append("by the last run")
    return ", ".join(part for part in (*parts, one.note) if part)


def _sums(made: Any) -> list[str]:
    from puna.scaling.numbers import short

    flops = sum(stage.flops for stage in made.stages)
    hours = sum(stage.gpu_hours for stage in made.stages)
    dollars = sum(stage.dollars for stage in made.stages)
    parts = [f"{_time(made.seconds)} in all", f"{short(flops)} FLOPs of training" if flops else ""]
    parts += [f"{short(hours)} hours of {made.device}" if hours else "", f"${short(dollars)}" if dollars else ""]
    lines = [", ".join(part for part in parts if part) + _busy()]
    if made.unknown:
        lines.append(f"Not counted, because nothing can be told: {', '.join(made.unknown)}")
    have = f"{made.cores} cores, {format_bytes(made.machine_bytes)} of memory"
    if made.too_large:
        lines.append(f"This machine ({have}) has too little memory for {', '.join(made.too_large)}")
    else:
        most = format_bytes(made.memory_bytes)
        lines.append(f"What runs on this machine ({have}) fits: at most {most}")
    return lines

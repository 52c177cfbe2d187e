"""The verb `chaos`: does training end with the same weights while all sorts of things go wrong?"""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from puna.base.config import did_you_mean
from puna.base.errors import ConfigError, RunError
from puna.base.output import Inputs, Progress
from puna.cli.options import JsonOption, OutOption, RecipeArgument, SetOption
from puna.cli.recipes import load_recipe, run_one, stage_of_kind
from puna.lineage.recipe import parse_settings
from puna.lineage.runner import plan as plan_recipe
from puna.lineage.store import Store
from puna.stages import STAGES

if TYPE_CHECKING:
    from puna.pretrain.faults.chaos import Result

_TELL_S = 10.0


def chaos(
    recipe: RecipeArgument,
    set_: SetOption = [],
    out: OutOption = None,
    seed: Annotated[int, typer.Option(help="Of the plan: which fault strikes when, and what")] = 0,
    every: Annotated[float, typer.Option(help="Mean seconds between failures")] = 60.0,
    failures: Annotated[int, typer.Option(help="How many; the stage is run again until all have struck")] = 20,
    kinds: Annotated[str, typer.Option(help="Some of kill,freeze,flip,nan,truncate,disk")] = "",
    json_: JsonOption = False,
) -> None:
    """Disturb a recipe's pretraining and see whether the same weights come out, and what it costs.

    Example: puna chaos recipes/nano.yaml --every 60 --failures 20
    """
    from puna.pretrain.computing import as_computed
    from puna.pretrain.faults.chaos import chaos as disturb
    from puna.pretrain.faults.chaos import plan, rate_beside_llama, undisturbed_step_s

    faults = plan(seed, failures, every, _kinds(kinds))
    loaded = load_recipe(recipe, parse_settings(set_), None)
    stage = stage_of_kind(loaded, "pretrain", recipe)
    loaded, folder = loaded.until(stage), out or Path("runs") / loaded.name
    undisturbed = run_one(loaded, folder, replica=False, quiet=json_).manifests[-1]
    one = plan_recipe(loaded, STAGES, folder)[-1]
    metrics, mesh = undisturbed["metrics"], loaded.mesh
    store, view = Store(folder), _View()
    view.say(rate_beside_llama(every, mesh.world_size))
    with store.lock(f"chaos-{stage}", one.fingerprint):
        result = disturb(
            "puna.pretrain.run:train_base",
            as_computed(one.config, metrics),  # type: ignore[type-var]
            Inputs(one.inputs),
            store.partial(f"chaos-{stage}", one.fingerprint),
            one.seed,
            int(undisturbed["environment"]["threads"]),
            mesh,
            {name: record["sha256"] for name, record in undisturbed["files"].items()},
            undisturbed_step_s(metrics),
            faults,
            watch=view,
            given=STAGES["pretrain"].given(one.config),
        )
    _show(result, every, json_)
    if result.differing:
        raise RunError(f"expected the undisturbed run's bytes, came others in {', '.join(result.differing)}")
    if not all(one.is_found for one in result.struck):
        raise RunError("expected every fault to be found, came some that were not; see the table")


class _View:
    """Lines on standard error: what strikes, what is found, and how far the stage is."""

    def __init__(self) -> None:
        self._told = self._began = time.monotonic()

    def __call__(self, text: str, look: Progress | None) -> None:
        if look is None:
            self.say(text)
        elif time.monotonic() - self._told >= _TELL_S:
            self._told = time.monotonic()
            self.say(f"{look.done:,.0f} of {look.total:,.0f} {look.unit}")

    def say(self, text: str) -> None:
        """One line, with the seconds since the start."""
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", file=sys.stderr, flush=True)


def _kinds(text: str) -> Any:
    from puna.pretrain.faults.chaos import CAUSES

    names = [name for name in text.split(",") if name] or list(CAUSES)
    for name in names:
        if name not in CAUSES:
            raise ConfigError(
                f'--kinds: expected some of {", ".join(CAUSES)}, came "{name}"{did_you_mean(name, CAUSES)}'
            )
    return names


def _show(result: "Result", every: float, as_json: bool) -> None:
    from puna.pretrain.faults.chaos import mean_lost

    if as_json:
        rows = [dict(zip(("kind", "times", "found", "mean_lost_s"), row)) for row in result.table()]
        print(
            json.dumps(
                {
                    "every_s": every,
                    "failures": len(result.struck),
                    "laps": result.laps,
                    "steps": result.steps,
                    "wall_s": result.wall_s,
                    "undisturbed_step_s": result.step_s,
                    "effective_time": result.effective_time,
                    "beside_calm": result.beside_calm,
                    "mean_lost_s": mean_lost(result),
                    "same_bytes": not result.differing,
                    "kinds": rows,
                }
            )
        )
        return
    table = Table("fault", "times", "found", "seconds lost", box=None, header_style="dim")
    for kind, times, found, lost in result.table():
        table.add_row(kind, str(times), str(found), f"{lost:.1f}")
    console = Console()
    console.print(table)
    same = "the same bytes as undisturbed" if not result.differing else "OTHER bytes than undisturbed"
    console.print(
        f"{len(result.struck)} failures in {result.wall_s:,.0f} s and {result.laps} runs, one in "
        f"{result.wall_s / max(1, len(result.struck)):,.0f} s: {same}"
    )
    console.print(
        f"effective training time {result.effective_time:.1%} ({result.steps:,} steps x {result.step_s * 1e3:,.0f} ms "
        f"undisturbed / {result.wall_s:,.0f} s); as many undisturbed laps with their start, measurements and end would "
        f"take {result.beside_calm:.1%} of it"
    )

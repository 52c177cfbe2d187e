"""`puna scaling run`: a ladder, a forecast, and the run that it is of."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from puna.base.errors import ConfigError
from puna.cli.options import JsonOption, OutOption, RecipeArgument, SetOption
from puna.cli.recipes import load_recipe, read_seeds, run_one
from puna.lineage.recipe import Recipe, parse_settings
from puna.lineage.runner import RunResult

if TYPE_CHECKING:
    from puna.pretrain.forecast.foretell import Cost, Foretold

_FEW_STEPS = 50
_NUMBERS = ("run", "parameters", "tokens", "FLOPs", "predicted", "95% interval", "measured", "error", "inside")


def run(
    recipe: RecipeArgument,
    set_: SetOption = [],
    sizes: Annotated[int | None, typer.Option(help="Sizes of a derived ladder, narrower than the run (5)")] = None,
    budgets: Annotated[int | None, typer.Option(help="Its budgets of compute, each twice the one before (4)")] = None,
    times: Annotated[float | None, typer.Option(help="The run's compute over the largest of them (10)")] = None,
    only_forecast: Annotated[bool, typer.Option("--only-forecast", help="Stop before the large run")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write the recipe with its ladder to this file, to be edited; run nothing")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Run replicas, for example 0,1,2")] = None,
    out: OutOption = None,
    json_: JsonOption = False,
) -> None:
    """Foretell a recipe's pretraining from small runs, then train it and compare.

    A recipe without stages of kind ladder and forecast gets them: small runs of its own first pretrain stage.

    Example: puna scaling run recipes/real.yaml --set data=DIR --only-forecast
    """
    from puna.pretrain.forecast.foretell import foretold_runs, ladder_costs

    wanted = {"sizes": sizes, "budgets": budgets, "times": times}
    given = {name: value for name, value in wanted.items() if value is not None}
    made = [_with_forecast(load_recipe(recipe, parse_settings(set_) | seed, None), given) for seed in read_seeds(seeds)]
    _say_costs(made[0], ladder_costs(made[0]))
    if save:
        _save(made[0], save)
        print(f"Recipe: {save}   Run it: puna scaling run {save}")
        return
    folder = out or Path("runs") / made[0].name
    rows: list[dict[str, Any]] = []
    for one in made:
        foretold = foretold_runs(one)
        result = run_one(_needed(one, foretold, only_forecast), folder, replica=seeds is not None)
        rows += [_row(result, each, one.seed, only_forecast) for each in foretold]
    if json_:
        print(json.dumps(rows))
        return
    _print(rows, seeds is not None)
    print(f"Report: {result.report_path}")


def _with_forecast(recipe: Recipe, given: dict[str, Any]) -> Recipe:
    """The recipe if it has forecasts of its own, otherwise with a ladder as `given` asks for it."""
    from puna.pretrain.forecast.foretell import foretold_runs, with_ladder

    if not (own := foretold_runs(recipe)):
        return with_ladder(recipe, given.get("sizes", 5), given.get("budgets", 4), given.get("times", 10.0))
    if given:
        raise ConfigError(
            f"--{next(iter(given))}: expected a recipe without forecasts, came one with {own[0].forecast}; change its "
            "ladder with --set, or in the file"
        )
    return recipe


def _needed(recipe: Recipe, foretold: "list[Foretold]", only_forecast: bool) -> Recipe:
    from puna.pretrain.forecast.foretell import only

    wanted = [one.forecast if only_forecast or one.run is None else one.run for one in foretold]
    return only(recipe, [*wanted, *(one.forecast for one in foretold)])


def _say_costs(recipe: Recipe, costs: "list[Cost]") -> None:
    """What is about to be spent, and what is to be known of it, on standard error."""
    from puna.scaling.numbers import short

    console = Console(stderr=True, highlight=False)
    for cost in costs:
        share = (
            f", {cost.share:.0%} of the {short(cost.target_flops)} of what it foretells" if cost.target_flops else ""
        )
        console.print(f"{cost.stage}: {cost.num_runs} runs, {short(cost.flops)} FLOPs{share}", soft_wrap=True)
        if cost.fewest_steps < _FEW_STEPS:
            console.print(
                f"{cost.stage}: its shortest run has {cost.fewest_steps} steps; runs so short say little of long ones; "
                "a smaller batch or fewer --times help",
                soft_wrap=True,
            )


def _save(recipe: Recipe, path: Path) -> None:
    from puna.base.files import write_atomic

    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--save: expected a file named .yaml, came {path}")
    # Variables are filled in and what was extended is laid in, so neither is written.
    values = recipe.model_dump(mode="json", exclude={"variables", "extends"})
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())


def _row(result: RunResult, foretold: "Foretold", seed: int, only_forecast: bool) -> dict[str, Any]:
    """What was foretold of a run, and what came."""
    from puna.base.files import read_json

    made = read_json(result.folder / foretold.forecast / "forecast.json")
    row = {
        "run": foretold.run or foretold.forecast,
        "seed": seed,
        **{name: made[name] for name in ("parameters", "tokens", "flops")},
        "predicted": made["loss"],
        "interval": made["interval"],
        "times_the_compute": made["times_the_compute"],
        "written": made["written"],
        "measured": None,
        "error": None,
        "inside": None,
    }
    if only_forecast or foretold.run is None:
        return row
    metrics = next(one["metrics"] for one in result.manifests if one["stage"] == foretold.run)
    return {
        **row,
        "measured": metrics["validation_loss"],
        "error": metrics["forecast_error"],
        "inside": bool(metrics["forecast_inside"]),
    }


def _print(rows: list[dict[str, Any]], with_seed: bool) -> None:
    from puna.scaling.numbers import short

    table = Table(*(("seed",) if with_seed else ()), *_NUMBERS, box=None, header_style="dim", pad_edge=False)
    for row in rows:
        came = ["", "", ""]
        if row["measured"] is not None:
            came = [f"{row['measured']:.4f}", f"{row['error']:+.2%}", "yes" if row["inside"] else "no"]
        low, high = row["interval"]
        numbers = [short(row[name]) for name in ("parameters", "tokens", "flops")]
        cells = [row["run"], *numbers, f"{row['predicted']:.4f}", f"{low:.4f} to {high:.4f}", *came]
        table.add_row(*([str(row["seed"])] if with_seed else []), *cells)
    Console(highlight=False).print(table)

"""`puna scaling fit`: a law from measured runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from puna.base.errors import ConfigError
from puna.cli.options import JsonOption
from puna.cli.scaling.options import PlotOption, check_plot, write_plot

if TYPE_CHECKING:
    from puna.scaling.fit.approaches import Fitted

_WORST = 5


def fit(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CSV, TSV, JSONL or Parquet with a run a row; a ladder.json, a ladder's folder, a run folder"
        ),
    ],
    approach: Annotated[
        str, typer.Option(help="parametric, isoflop, frontier, repeated (wants unique tokens) or overtrained")
    ] = "parametric",
    column: Annotated[
        list[str],
        typer.Option(
            help="Name a column: loss=NAME; also parameters, tokens, flops, unique, name (default: usual names)"
        ),
    ] = [],
    without_greatest: Annotated[int, typer.Option(help="Leave out so many points of the greatest losses")] = 0,
    budgets: Annotated[
        str | None, typer.Option(help="isoflop: take the points within 10% of these FLOPs, e.g. 6e18,1e19,3e19")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="repeated: the law of fresh text, as of --law (default: fitted to few epochs)")
    ] = None,
    parameters: Annotated[str | None, typer.Option(help="Predict a run of so many parameters, e.g. 8B")] = None,
    tokens: Annotated[str | None, typer.Option(help="and so many tokens, e.g. 15T")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of the points, for the intervals")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the law, for `puna scaling plan --law` and `predict`")] = None,
    plot: PlotOption = None,
    json_: JsonOption = False,
) -> None:
    """Fit a scaling law to measured runs: its numbers with 95% intervals, what it leaves, and the best sizes.

    Example: puna scaling fit runs.csv --parameters 8B --tokens 160B --out law.json --plot fit.svg
    """
    from puna.scaling.fit.approaches import FitOptions, fit_points
    from puna.scaling.fit.table import read_points
    from puna.scaling.law_file import read_law, write_law
    from puna.scaling.numbers import read_quantity

    check_plot(plot)
    for name, value, of in (("budgets", budgets, "isoflop"), ("base", base, "repeated")):
        if value and approach != of:
            raise ConfigError(f"--{name}: expected with --approach {of}, came with {approach}")
    if (parameters is None) != (tokens is None):
        raise ConfigError("--parameters: expected --tokens with it, or neither, came one alone")
    options = FitOptions(
        resamples,
        seed,
        without_greatest,
        tuple(read_quantity("--budgets", text) for text in budgets.split(",")) if budgets else (),
        read_law(base).law if base else None,
    )
    made = fit_points(approach, read_points(files, _columns(column)), options)
    if made.law is None and (out or parameters):
        raise ConfigError(
            f"{'--out' if out else '--parameters'}: expected an approach that has a law of the loss (parametric, "
            f"repeated, overtrained), came {approach}, which knows the best sizes alone"
        )
    found = _found(made)
    if parameters and tokens:
        found["prediction"] = _prediction(
            made, read_quantity("--parameters", parameters), read_quantity("--tokens", tokens)
        )
    if out and made.law:
        write_law(out, made.law, made.samples, **{key: value for key, value in found.items() if key != "law"})
    if plot:
        from puna.scaling.chart import fit_plane

        write_plot(plot, fit_plane(made))
    if json_:
        print(json.dumps(found, ensure_ascii=False))
        return
    _print(made, found)
    if out:
        print(f"Law: {out}")


def _columns(items: list[str]) -> dict[str, str]:
    columns = {}
    for item in items:
        meaning, equals, name = item.partition("=")
        if not equals or not name:
            raise ConfigError(f"--column: expected MEANING=NAME such as loss=val_loss, came {item!r}")
        columns[meaning] = name
    return columns


def _found(made: "Fitted") -> dict[str, Any]:
    """What is printed, as plain values."""
    points = made.points
    found: dict[str, Any] = {
        "approach": made.approach,
        "points": len(points.names),
        "left_out": points.left_out,
        "formula": made.formula,
        "law": made.law and {name: getattr(made.law, name) for name in ("floor", "a", "alpha", "b", "beta")},
        "constants": {one.name: {"value": one.value, "interval": one.interval} for one in made.constants},
        "best_parameters": {
            "factor": made.size.factor,
            "exponent": made.size.exponent,
            "exponent_interval": made.size_interval,
        },
        "best_tokens": {
            "factor": made.tokens.factor,
            "exponent": made.tokens.exponent,
            "exponent_interval": made.size_interval and (1 - made.size_interval[1], 1 - made.size_interval[0]),
        },
        "largest_flops": float(points.flops.max()),
        "notes": list(made.notes),
    }
    if made.residuals is not None and made.predicted is not None:
        off = abs(made.residuals)
        root = float((off**2).mean() ** 0.5)
        found["residuals"] = {"median": float(sorted(off)[len(off) // 2]), "rms": root, "max": float(off.max())}
        found["worst"] = [
            {
                "name": points.names[place],
                "parameters": float(points.parameters[place]),
                "tokens": float(points.tokens[place]),
                "loss": float(points.loss[place]),
                "predicted": float(made.predicted[place]),
                "residual": float(made.residuals[place]),
            }
            for place in made.worst(_WORST)
        ]
    return found


def _prediction(made: "Fitted", parameters: float, tokens: float) -> dict[str, Any]:
    from puna.scaling.fit.bootstrap import interval
    from puna.scaling.law import FLOPS_PER_WEIGHT

    assert made.law is not None
    floor, a, alpha, b, beta = made.samples.T
    flops = FLOPS_PER_WEIGHT * parameters * tokens
    return {
        "parameters": parameters,
        "tokens": tokens,
        "loss": made.law.loss(parameters, tokens),
        "interval": interval(floor + a * parameters**-alpha + b * tokens**-beta) if len(made.samples) else None,
        "times_the_compute": flops / float(made.points.flops.max()),
    }


def _print(made: "Fitted", found: dict[str, Any]) -> None:
    from puna.scaling.numbers import short

    console = Console(highlight=False)
    left = f"   {found['left_out']} rows without a number left out" if found["left_out"] else ""
    console.print(f"{made.approach}, {found['points']} points: {made.formula}{left}", soft_wrap=True)
    table = Table("", "value", "95% interval", box=None, header_style="dim", pad_edge=False)
    for one in made.constants:
        table.add_row(one.name, f"{one.value:.5g}", _between(one.interval))
    for name, letter in (("best_parameters", "N"), ("best_tokens", "D")):
        best = found[name]
        interval = _between(best["exponent_interval"])
        table.add_row(
            f"{letter}*(C)", f"{best['factor']:.4g} C^{best['exponent']:.4f}", interval and f"exponent {interval}"
        )
    console.print(table)
    for note in made.notes:
        console.print(note, soft_wrap=True)
    if "residuals" in found:
        left_over = found["residuals"]
        shares = ", ".join(f"{name} {left_over[name]:.2%}" for name in ("median", "rms", "max"))
        console.print(f"Measured off the law: {shares}")
        rows = Table(
            "worst", "parameters", "tokens", "loss", "law", "off", box=None, header_style="dim", pad_edge=False
        )
        for one in found["worst"]:
            size, learned = short(one["parameters"]), short(one["tokens"])
            rows.add_row(
                one["name"],
                size,
                learned,
                f"{one['loss']:.4f}",
                f"{one['predicted']:.4f}",
                f"{one['loss'] / one['predicted'] - 1:+.2%}",
            )
        console.print(rows)
    if "prediction" in found:
        one = found["prediction"]
        between = one["interval"] and f" (95% {one['interval'][0]:.4f} to {one['interval'][1]:.4f})"
        fresh = " that are all different" if made.approach == "repeated" else ""
        run = f"{short(one['parameters'])} parameters on {short(one['tokens'])} tokens{fresh}"
        times = f"{one['times_the_compute']:.3g} times the largest compute measured"
        console.print(f"Predicted: {one['loss']:.4f} nats a token{between or ''} for {run}, {times}", soft_wrap=True)


def _between(interval: Any) -> str:
    return f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else ""

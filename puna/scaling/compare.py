"""The stage `compare-forecasts`: ladders on two or more mixes -> which is the best at a larger run, and by how much.

A mix that is better when runs are small may be worse when they are large; that is what ladders see and a proxy of one
size does not. Every mix has the same runs, so their laws are resampled with the same weights, run by run, and what all
mixes have in common (a lucky seed, a hard size) falls out of the difference.

comparison.json    the mixes' losses at the run to come, each one's distance from the best with a 95% interval, and
                   where on the road from the smallest run to that one they change places

M mixes, P runs of a ladder, R resamples, X places on the road.
"""

import math
from typing import Any

import numpy as np
from pydantic import Field

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.files import write_json
from puna.base.output import Inputs, StageOutput
from puna.base.rng import generator
from puna.scaling.fit.bootstrap import interval
from puna.scaling.fit.parametric import ParametricFit, fit_parametric
from puna.scaling.fit.points import Float64
from puna.scaling.forecast import DELTA, Unit, read_ladders
from puna.scaling.law import FLOPS_PER_WEIGHT

_PARAMETERS_OF_LAW = 5
_PLACES = 200
_DRAWS = 10
"""Of two single runs' scatter, for each resample."""


class CompareConfig(Config):
    """The run to come: its parameters, the embedding once, and the tokens it learns, padding included.

    resamples: of the ladders' runs. unit: of the losses, as in the stage `forecast`.
    """

    parameters: int = Field(ge=1)
    num_tokens: int = Field(ge=1)
    resamples: int = Field(default=400, ge=50)
    unit: Unit = "token"


def run(config: CompareConfig, inputs: Inputs, out: StageOutput) -> None:
    """Compare mixes. Every input is a mix under its own name: a ladder, or several with other seeds.

    Raises DataError for fewer than two mixes and for ladders whose runs are not the same.
    """
    ladders = {name: read_ladders(inputs.many(name), config.unit) for name in inputs.names()}
    made = compare(ladders, config.parameters, config.num_tokens, config.resamples, out.seed)
    if not out.done("comparison.json"):
        with out.unit("comparison.json") as unit:
            write_json(unit.path, {"unit": config.unit, **made})
    for name, one in made["others"].items():
        low, high = one["interval"]
        numbers = {"behind": one["difference"], "low": low, "high": high, "crosses_in": one["crosses_in"]}
        out.metric(**{f"{name}/{what}": value for what, value in numbers.items()})
    out.panels.extend(_panels(made, config.unit))


def compare(
    ladders: dict[str, list[dict[str, Any]]], parameters: float, tokens: float, resamples: int = 400, seed: int = 0
) -> dict[str, Any]:
    """The mixes at a run of `parameters` on `tokens`: losses, and how far each is behind the best.

    The interval of a difference is that of two single runs: how far the laws' difference would move with other runs,
    and how far the differences of runs lie from it. The road goes straight, in logarithms, from the run of least
    compute to the one to come.
    """
    rows = _aligned(ladders)
    fits = {name: _fit(own, resamples, seed) for name, own in rows.items()}
    first = min(next(iter(rows.values())), key=lambda row: (row["flops"], row["parameters"]))
    road = np.geomspace([first["parameters"], first["tokens"]], [parameters, tokens], _PLACES)  # [X, 2]
    expected = {name: _losses(_law(fit)[None], road)[0] for name, fit in fits.items()}
    best = min(expected, key=lambda name: (expected[name][-1], name))
    flops = FLOPS_PER_WEIGHT * road.prod(1)
    return {
        "parameters": parameters,
        "tokens": tokens,
        "flops": float(flops[-1]),
        "best": best,
        "best_when_small": min(expected, key=lambda name: (expected[name][0], name)),
        "mixes": {name: _at_the_end(fit, road, seed) for name, fit in fits.items()},
        "others": {
            name: _behind(fit, fits[best], expected[name], expected[best], road, flops, seed)
            for name, fit in fits.items()
            if name != best
        },
        "road": {"flops": flops.tolist(), **{name: losses.tolist() for name, losses in expected.items()}},
        "runs": len(next(iter(rows.values()))),
    }


def _behind(
    fit: ParametricFit, best: ParametricFit, losses: Float64, best_losses: Float64, road: Float64, flops: Float64,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """How far a mix is behind the best at the end of the road, and where it was not."""
    ends = road[[0, -1]]
    apart = _losses(fit.samples, ends) - _losses(best.samples, ends)  # [R, 2]
    draws = apart[:, 1] + best_losses[-1] * _scatter(fit.residuals - best.residuals, len(apart), seed)
    difference = losses - best_losses
    changes = np.flatnonzero(np.sign(difference[:-1]) != np.sign(difference[1:]))
    return {
        "difference": float(difference[-1]),
        "interval": list(interval(draws.ravel())),
        "probability_worse": float((draws > 0).mean()),
        "crossing_flops": _crossing(flops, difference, int(changes[-1])) if len(changes) else None,
        "crosses_in": float((np.sign(apart[:, 0]) != np.sign(apart[:, 1])).mean()),
    }


def _at_the_end(fit: ParametricFit, road: Float64, seed: int) -> dict[str, Any]:
    """A mix's loss at the end of the road with the 95% interval of a single run, and its law."""
    logs = np.log(_losses(fit.samples, road[-1:])[:, 0]) + _scatter(fit.residuals, len(fit.samples), seed)
    law = fit.law
    return {
        "loss": law.loss(*road[-1]),
        "interval": list(interval(np.exp(logs).ravel())),
        "law": {"floor": law.floor, "a": law.a, "alpha": law.alpha, "b": law.b, "beta": law.beta},
    }


def _scatter(residuals: Float64, resamples: int, seed: int) -> Float64:
    """Draws of a single run's distance from its law, in logarithms; Student's t, since runs are few."""
    freedom = max(1, len(residuals) - _PARAMETERS_OF_LAW)
    deviation = math.sqrt(float((residuals**2).sum()) / freedom)
    draws: Float64 = deviation * generator(seed, "scatter").standard_t(freedom, (_DRAWS, resamples))
    return draws


def _crossing(flops: Float64, difference: Float64, place: int) -> float:
    """Where a difference is 0 between two places of the road, straight between them in log FLOPs."""
    share = difference[place] / (difference[place] - difference[place + 1])
    return float(flops[place] * (flops[place + 1] / flops[place]) ** share)


def _aligned(ladders: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Every ladder's runs in one order. Raises DataError if they are not the same runs."""
    if len(ladders) < 2:
        raise DataError(f"expected two mixes or more, an input each, came {', '.join(ladders) or 'none'}")
    rows = {name: sorted(own, key=_run_of) for name, own in ladders.items()}
    first, *others = rows
    for other in others:
        if [_run_of(row) for row in rows[first]] != [_run_of(row) for row in rows[other]]:
            raise DataError(
                f"expected ladders of the same sizes, tokens and seeds, came {len(rows[first])} runs of {first} and "
                f"{len(rows[other])} of {other} that differ; give both the same settings"
            )
    return rows


def _run_of(row: dict[str, Any]) -> tuple[float, float, int]:
    return row["parameters"], row["tokens"], row["seed"]


def _fit(rows: list[dict[str, Any]], resamples: int, seed: int) -> ParametricFit:
    columns = (np.array([row[name] for row in rows], np.float64) for name in ("parameters", "tokens", "loss"))
    return fit_parametric(*columns, delta=DELTA, resamples=resamples, seed=seed)


def _law(fit: ParametricFit) -> Float64:
    law = fit.law
    return np.array([law.floor, law.a, law.alpha, law.b, law.beta])


def _losses(laws: Float64, runs: Float64) -> Float64:
    """Of laws [R, 5] at runs [X, 2]: [R, X]."""
    floor, a, alpha, b, beta = (column[:, None] for column in laws.T)
    losses: Float64 = floor + a * runs[:, 0] ** -alpha + b * runs[:, 1] ** -beta
    return losses


def _panels(made: dict[str, Any], unit: str) -> list[dict[str, Any]]:
    best, rows, series = made["best"], [], []
    for name, mix in sorted(made["mixes"].items(), key=lambda item: item[1]["loss"]):
        low, high = mix["interval"]
        row = [name, f"{mix['loss']:.4f} ({low:.4f} to {high:.4f})"]
        if name == best:
            rows.append([*row, "the best", "", ""])
            continue
        one = made["others"][name]
        low, high = one["interval"]
        where = f"better below {one['crossing_flops']:.3g} FLOPs" if one["crossing_flops"] else "nowhere"
        rows.append([*row, f"+{one['difference']:.4f} ({low:+.4f} to {high:+.4f})", where, f"{one['crosses_in']:.0%}"])
        apart = np.array(made["road"][name]) - np.array(made["road"][best])
        series.append({"name": name, "x": made["road"]["flops"], "y": apart.tolist()})
    columns = ["mix", f"loss (nats a {unit})", f"behind {best}", "changes places", "in so many resamples"]
    note = f"a run of {made['parameters']:,} parameters on {made['tokens']:,} tokens, {made['runs']} small runs a mix"
    labels = {"x_label": "FLOPs of training", "x_scale": "log", "y_label": f"loss less that of {best} (nats a {unit})"}
    return [
        {"kind": "table", "title": "Mixes compared", "columns": columns, "rows": rows, "note": note},
        {"kind": "lines", "title": f"How far behind {best}, on the way there", **labels, "series": series},
    ]

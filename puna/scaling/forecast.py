"""The stage `forecast`: a ladder's runs -> the loss of a larger run, written down before that run is trained.

A law is fitted to the last losses (approach 3), and the way there to the losses between: at each share of the steps,
what is left to go falls as a power of tokens and of parameters. Runs of one ladder share a schedule, so shares of the
steps are comparable; the run to come must share it too.

forecast.json    the run that is foretold, its loss with a 95% interval, its curve with a band, the law and its
                 backtest; with exams of the ladder's models, likelihood and accuracy of each task (tasks.py)

P runs of the ladder, S shares of the steps.
"""

import datetime
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from puna.base.config import Config
from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.scaling.fit.parametric import ParametricFit, fit_parametric
from puna.scaling.fit.points import Float64
from puna.scaling.law import FLOPS_PER_WEIGHT
from puna.scaling.tasks import FirstStep, foretell_all, read_tasks, task_panels

Unit = Literal["token", "byte"]
DELTA = 1.0
"""Of the Huber loss of log losses: squares. Hoffmann's 0.001 is nearly that of absolute deviations, whose law hangs on
a few of a ladder's twenty runs: on two pilots of ladder-real it erred by 1.8% and 1.4%, squares by 0.5% and 0.7%."""
_PARAMETERS_OF_LAW = 5
_BACKTEST = 4.0
_Z = 1.959964


class ForecastConfig(Config):
    """The run to be foretold: its parameters, the embedding once, and the tokens it learns, padding included.

    resamples: of the ladder's runs, for the interval. unit: losses a token, of one tokenizer, or a byte, which compare
    between tokenizers on text of one kind. first_step: what the exams' likelihoods follow, a law of parameters and
    tokens or a line over log FLOPs.
    """

    parameters: int = Field(ge=1)
    num_tokens: int = Field(ge=1)
    resamples: int = Field(default=400, ge=50)
    unit: Unit = "token"
    first_step: FirstStep = "law"


def run(config: ForecastConfig, inputs: Inputs, out: StageOutput) -> None:
    """Foretell a run. Input: `ladder`, one artifact of that kind or several (other seeds), or their ladder.json.

    By choice `exams`, what `evaluate-ladder` made of them. Raises DataError if the ladders' tokens are of different
    tokenizers and losses are a token, or there are too few runs for a law.
    """
    runs = read_ladders(inputs.many("ladder"), config.unit)
    tasks = read_tasks(inputs.many("exams")) if inputs.has("exams") else {}
    run_to_come = (config.parameters, config.num_tokens)
    made = forecast(runs, *run_to_come, config.resamples, out.seed) | of_text(inputs.many("ladder"), config.unit)
    made["tasks"] = foretell_all(tasks, *run_to_come, config.first_step, config.resamples, out.seed)
    if not out.done("forecast.json"):
        with out.unit("forecast.json") as unit:
            time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            write_json(unit.path, {"written": time, **made})
    low, high = made["interval"]
    out.metric(predicted_loss=made["loss"], low=low, high=high, times_the_compute=made["times_the_compute"])
    if made["backtest"] is not None:
        out.metric(backtest_error=made["backtest"])
    label = {"y_label": f"held-out loss (nats a {config.unit})"}
    out.panels.extend(panel | label if panel["kind"] == "lines" else panel for panel in _panels(runs, made))
    if tasks:
        out.metric(
            **{f"{name}/predicted_accuracy": v["accuracy"] for name, v in made["tasks"].items() if "why" not in v}
        )
        out.panels.extend(task_panels(tasks, made["tasks"]))


def read_ladders(places: list[Path], unit: Unit = "token") -> list[dict[str, Any]]:
    """The runs of all ladders, losses in nats a `unit`.

    Raises DataError for a place that has none, and for losses a token of different tokenizers.
    """
    found = _load(places)
    if unit == "token" and len({ladder["tokenizer"] for ladder in found}) > 1:
        raise DataError(
            "expected ladders of one tokenizer, came of several; their losses a token do not compare: set unit to byte"
        )
    return [_in_unit(row, ladder, unit) for ladder in found for row in ladder["runs"]]


def forecast(
    runs: list[dict[str, Any]], parameters: int, tokens: int, resamples: int = 400, seed: int = 0
) -> dict[str, Any]:
    """What `runs` say of a run of `parameters` on `tokens`: loss and interval in nats a token, curve, law, backtest.

    The interval joins how far the law would move with other runs, and how far single runs lie from it.
    """
    sizes, counts, losses = (
        np.array([row[name] for row in runs], np.float64) for name in ("parameters", "tokens", "loss")
    )
    fit = fit_parametric(sizes, counts, losses, delta=DELTA, resamples=resamples, seed=seed)
    loss = fit.law.loss(parameters, tokens)
    spread = _spread(fit, parameters, tokens)
    interval = [loss * math.exp(-_Z * spread), loss * math.exp(_Z * spread)]
    flops = FLOPS_PER_WEIGHT * parameters * tokens
    law = fit.law
    return {
        "parameters": parameters,
        "tokens": tokens,
        "flops": flops,
        "times_the_compute": flops / float((FLOPS_PER_WEIGHT * sizes * counts).max()),
        "loss": loss,
        "interval": interval,
        "curve": _curve(runs, parameters, tokens, loss, spread),
        "law": {"floor": law.floor, "a": law.a, "alpha": law.alpha, "b": law.b, "beta": law.beta},
        "residuals": dict(zip((row["name"] for row in runs), fit.residuals.tolist(), strict=True)),
        "backtest": _backtest(sizes, counts, losses),
        "runs": len(runs),
    }


def _load(places: list[Path]) -> list[dict[str, Any]]:
    found = []
    for place in places:
        path = place / "ladder.json" if place.is_dir() else place
        if not path.is_file():
            raise DataError(f"expected a ladder or its ladder.json at {place}, came none; run a stage of kind ladder")
        found.append(read_json(path))
    return found


def _in_unit(row: dict[str, Any], ladder: dict[str, Any], unit: Unit) -> dict[str, Any]:
    row = {**row, "seed": ladder.get("seed", 0)}
    if unit == "token":
        return row
    if "text" not in ladder:
        raise DataError("expected ladders that say how many bytes a token has, came one that does not; run it again")
    size = ladder["text"]["bytes_per_token"]
    return {**row, "loss": row["loss"] / size, "curve": [[share, loss / size] for share, loss in row["curve"]]}


def of_text(places: list[Path], unit: Unit) -> dict[str, Any]:
    """What losses are a unit of: tokenizers, and the mean of the ladders' texts, by which a run is known as alike."""
    found = _load(places)
    texts = [ladder["text"] for ladder in found if "text" in ladder]
    made: dict[str, Any] = {"unit": unit, "tokenizers": sorted({ladder["tokenizer"] for ladder in found})}
    if texts:
        shares = np.mean([text["byte_shares"] for text in texts], 0).round(6).tolist()
        size = float(np.mean([text["bytes_per_token"] for text in texts]))
        made["text"] = {"bytes_per_token": size, "byte_shares": shares}
    return made


def _spread(fit: ParametricFit, parameters: float, tokens: float) -> float:
    """Standard deviation of the log of the loss: of the law there, and of a single run around it."""
    floor, a, alpha, b, beta = fit.samples.T
    of_law = float(np.log(floor + a * parameters**-alpha + b * tokens**-beta).std())
    freedom = max(1, len(fit.residuals) - _PARAMETERS_OF_LAW)
    return math.hypot(of_law, math.sqrt(float((fit.residuals**2).sum()) / freedom))


def _curve(
    runs: list[dict[str, Any]], parameters: float, tokens: float, loss: float, spread: float
) -> list[list[float]]:
    """Rows of share of the steps, loss, and the low and high end of a 95% band."""
    with_curve = [row for row in runs if len(row["curve"]) > 1]
    if len(with_curve) < 4:
        return [[1.0, loss, loss * math.exp(-_Z * spread), loss * math.exp(_Z * spread)]]
    shares = np.array([share for share, _ in min((row["curve"] for row in with_curve), key=len)])
    ways = np.array([np.interp(shares, *np.array(row["curve"]).T) for row in with_curve])  # [P, S]
    lasts = np.array([row["loss"] for row in with_curve])
    left = np.log(np.maximum(ways[:, :-1] - lasts[:, None], 1e-6))  # [P, S - 1]
    facts = _log_facts([row["parameters"] for row in with_curve], [row["tokens"] for row in with_curve])
    slopes, *_ = np.linalg.lstsq(facts, left, rcond=None)
    scatter = (left - facts @ slopes).std(0, ddof=min(3, len(left) - 1))
    expected = (_log_facts([parameters], [tokens]) @ slopes)[0]
    rows = []
    for share, to_go, apart in zip(shares[:-1], expected, scatter, strict=True):
        ends = [loss * math.exp(sign * _Z * spread) + math.exp(to_go + sign * _Z * apart) for sign in (-1, 1)]
        rows.append([float(share), loss + math.exp(to_go), *ends])
    rows.append([1.0, loss, loss * math.exp(-_Z * spread), loss * math.exp(_Z * spread)])
    return rows


def _log_facts(parameters: list[Any], tokens: list[Any]) -> Float64:
    logs = np.log(np.array([parameters, tokens], np.float64))
    return np.stack([np.ones(logs.shape[1]), *logs], axis=1)


def _backtest(sizes: Float64, counts: Float64, losses: Float64) -> float | None:
    """Mean relative error on the runs of most compute, foretold by those of less than a quarter of the most."""
    compute = sizes * counts
    is_small = compute < compute.max() / _BACKTEST
    try:
        fit = fit_parametric(sizes[is_small], counts[is_small], losses[is_small], delta=DELTA)
    except (DataError, ConfigError):
        return None  # too few runs to set some apart
    rest = zip(sizes[~is_small], counts[~is_small], losses[~is_small], strict=True)
    return float(np.mean([abs(fit.law.loss(n, d) / loss - 1) for n, d, loss in rest]))


def _panels(runs: list[dict[str, Any]], made: dict[str, Any]) -> list[dict[str, Any]]:
    series = []
    for size in sorted({row["parameters"] for row in runs}):
        mine = sorted((row for row in runs if row["parameters"] == size), key=lambda row: row["flops"])
        points = {"x": [row["flops"] for row in mine], "y": [row["loss"] for row in mine]}
        series.append({"name": f"{size:,} parameters", **points})
    series.append({"name": "foretold", "x": [made["flops"]], "y": [made["loss"]]})
    low, high = made["interval"]
    law = made["law"]
    rows = [
        ["law", f"{law['floor']:.3f} + {law['a']:.4g} / N^{law['alpha']:.3f} + {law['b']:.4g} / D^{law['beta']:.3f}"],
        ["foretold", f"{made['parameters']:,} parameters on {made['tokens']:,} tokens"],
        [f"loss (nats a {made.get('unit', 'token')})", f"{made['loss']:.3f} ({low:.3f} to {high:.3f})"],
        ["compute", f"{made['times_the_compute']:.1f} times the largest run's"],
    ]
    if made["backtest"] is not None:
        rows.append(["backtest", f"{100 * made['backtest']:.1f}% off on runs of more than a quarter of the compute"])
    labels = {
        "x_label": "FLOPs of training",
        "y_label": "held-out loss (nats a token)",
        "x_scale": "log",
        "y_scale": "log",
    }
    return [
        {"kind": "lines", "title": "Forecast", **labels, "series": series},
        {"kind": "table", "title": "Forecast", "columns": ["", ""], "rows": rows},
    ]

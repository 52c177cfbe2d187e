"""What `--plot` draws: a plan among the curves of equal loss, and a fit among the points it was made of."""

import math
from collections.abc import Sequence

import numpy as np

from puna.lineage.report.plane import Plane, Spot, Trace
from puna.scaling.fit.approaches import Fitted
from puna.scaling.fit.points import Float64
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw
from puna.scaling.numbers import short
from puna.scaling.plan import Plan
from puna.scaling.suboptimal import least_parameters

KNOWN = (
    ("Llama 3 8B", 8.03e9, 15e12),
    ("Llama 3 70B", 70.6e9, 15e12),
    ("Llama 3 405B", 405e9, 15.6e12),
    ("Llama 2 70B", 70e9, 2e12),
    ("Chinchilla 70B", 70e9, 1.4e12),
)
"""Models by others: parameters and tokens learned (Llama 2 and 3, Hoffmann 2022)."""
_NEAR = 100.0
_MOST_CURVES, _MOST_SIZES = 7, 7
_COLUMNS = ("", "parameters", "tokens", "tokens a parameter", "FLOPs", "loss by the law")
Place = tuple[str, float, float]
"""A name, parameters and tokens."""


def plan_plane(law: LossLaw, plan: Plan) -> Plane:
    """Parameters to the right, tokens up: curves of equal loss, the best for each FLOPs, and the plan.

    Beside the plan: the best of the same FLOPs, smaller and larger models of the same loss (`suboptimal`), and known
    models within a hundred times its parameters and tokens.
    """
    mine: Place = ("plan", plan.num_parameters, plan.num_tokens)
    best: Place = ("best of these FLOPs", plan.optimal_parameters, plan.optimal_tokens)
    roads = [
        [(f"{road.overhead:+.0%} FLOPs", road.parameters, road.tokens) for road in some]
        for some in (plan.smaller_models, plan.larger_models)
    ]
    known = [one for one in KNOWN if all(1 / _NEAR <= a / b <= _NEAR for a, b in zip(one[1:], mine[1:], strict=True))]
    is_best = abs(math.log(best[1] / mine[1])) < 0.05
    shown = [mine, *([] if is_best else [best]), *roads[0], *roads[1]]
    x_range = _range([one[1] for one in shown], [one[1] for one in known])
    y_range = _range([one[2] for one in shown], [one[2] for one in known])
    corners = (FLOPS_PER_WEIGHT * x_range[0] * y_range[0], FLOPS_PER_WEIGHT * x_range[1] * y_range[1])
    traces = [
        Trace(_equal_loss(law, loss, x_range[1]), "faint", label=f"{loss:.{_digits(corners)}f}")
        for loss in _losses(law, *corners)
    ]
    through = FLOPS_PER_WEIGHT * mine[1] * mine[2]
    line = [(n, through / (FLOPS_PER_WEIGHT * n)) for n in np.geomspace(*x_range, 50).tolist()]
    traces += [
        Trace(line, "dashed", f"{short(through)} FLOPs"),
        Trace([law.optimal(c) for c in np.geomspace(corners[0], corners[1], 60).tolist()], "c0", "best for each FLOPs"),
        Trace(_equal_loss(law, plan.predicted_loss, x_range[1]), "strong", f"loss {plan.predicted_loss:.4f}"),
    ]
    spots = [Spot(*mine[1:], "strong", mine[0], 6)]
    spots += [] if is_best else [Spot(*best[1:], "c0", best[0])]
    spots += [Spot(n, d, "c1", name) for name, n, d in roads[0]] + [Spot(n, d, "c2", name) for name, n, d in roads[1]]
    spots += [Spot(n, d, "hollow", name) for name, n, d in known]
    rows = [_row(law, *one) for one in (mine, best)]
    rows += [_row(law, f"smaller model, {name}", n, d) for name, n, d in roads[0]]
    rows += [_row(law, f"larger model, {name}", n, d) for name, n, d in roads[1]]
    rows += [_row(law, *one) for one in known]
    return Plane(
        f"{short(plan.num_parameters)} parameters on {short(plan.num_tokens)} tokens",
        "Grey curves: equal loss, in nats a token. Orange: smaller models of the plan's loss, with more tokens; blue: "
        "larger ones, with fewer; how many more FLOPs each takes than the least for it. Hollow: models by others, that "
        "stand where they are, not at the loss they reached.",
        "parameters",
        "tokens",
        x_range,
        y_range,
        traces,
        spots,
        _COLUMNS,
        rows,
        units="xy",
    )


def fit_plane(made: Fitted) -> Plane:
    """The points of a fit, and what was fitted to them, in the form that the approach has."""
    if made.approach == "isoflop":
        return _profiles(made)
    if made.approach == "repeated":
        return _against(made)
    return _over_compute(made)


def _over_compute(made: Fitted) -> Plane:
    """Loss over FLOPs, a colour for each size or group of sizes; the law's curves, or the envelope of approach 1."""
    points, law = made.points, made.law
    x_range, y_range = _span(points.flops, 1.3), _span(points.loss, 1.03)
    traces, spots = [], []
    for index, sizes in enumerate(size_groups(points.parameters)):
        mine = np.isin(points.parameters, sizes)
        middle = float(np.exp(np.log(sizes).mean()))
        many = f" ({len(sizes)} sizes)" if len(sizes) > 1 else ""
        reached = np.geomspace(*_span(points.flops[mine], 1.3), 60)
        curve = (
            [] if law is None else [(c, law.loss(middle, c / (FLOPS_PER_WEIGHT * middle))) for c in reached.tolist()]
        )
        traces.append(Trace(curve, f"c{index}", f"{short(middle)}{many}"))
        spots += _dots(points.flops[mine], points.loss[mine], f"c{index}")
    if law is not None:
        best = [(c, law.loss(*law.optimal(c))) for c in np.geomspace(*x_range, 60).tolist()]
        traces.append(Trace(best, "strong", "best for each FLOPs"))
    else:
        traces.append(Trace([(c, loss) for c, _, loss in made.best], "strong", "least of all curves"))
    return _fit_plane(made, "FLOPs", "loss (nats a token)", x_range, y_range, traces, spots)


def _profiles(made: Fitted) -> Plane:
    """Loss over parameters, a colour for each compute, with its parabola and the minimum of it."""
    points = made.points
    traces, spots = [], []
    for index, (compute, size, loss) in enumerate(made.best):
        mine = np.abs(np.log(points.flops / compute)) < 0.1
        n, css = points.parameters[mine], f"c{index % 8}"
        bend = np.polyfit(np.log(n), points.loss[mine], 2)
        across = np.geomspace(n.min(), n.max(), 60)
        curve = list(zip(across.tolist(), np.polyval(bend, np.log(across)).tolist(), strict=True))
        traces.append(Trace(curve, css, f"{short(compute)} FLOPs"))
        spots += _dots(n, points.loss[mine], css) + [Spot(size, loss, "hollow", radius=6)]
    traces.append(Trace([(size, loss) for _, size, loss in made.best], "strong", "best sizes"))
    x_range, y_range = _span(points.parameters, 1.3), _span(points.loss, 1.03)
    return _fit_plane(made, "parameters", "loss (nats a token)", x_range, y_range, traces, spots, "x")


def _against(made: Fitted) -> Plane:
    """Measured over predicted loss: a law of three columns has no single curve for a size."""
    assert made.predicted is not None
    both = _span(np.concatenate([made.points.loss, made.predicted]), 1.03)
    traces, spots = [Trace([(one, one) for one in np.geomspace(*both, 3).tolist()], "strong", "as predicted")], []
    for index, sizes in enumerate(size_groups(made.points.parameters)):
        mine = np.isin(made.points.parameters, sizes)
        middle = short(float(np.exp(np.log(sizes).mean())))
        traces.append(Trace([], f"c{index}", f"{middle}" + (f" ({len(sizes)} sizes)" if len(sizes) > 1 else "")))
        spots += _dots(made.predicted[mine], made.points.loss[mine], f"c{index}")
    return _fit_plane(made, "predicted loss", "measured loss (nats a token)", both, both, traces, spots)


def _fit_plane(
    made: Fitted,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    traces: Sequence[Trace],
    spots: Sequence[Spot],
    units: str = "",
) -> Plane:
    points, predicted = made.points, made.predicted
    columns = ["run", "parameters", "tokens", "FLOPs", "loss", *([] if predicted is None else ["by the law"])]
    rows = [
        [name, short(n), short(d), short(c), y, *([] if predicted is None else [float(predicted[place])])]
        for place, (name, n, d, c, y) in enumerate(
            zip(points.names, *(a.tolist() for a in (points.parameters, points.tokens, points.flops, points.loss)))
        )
    ]
    title = f"{made.approach}: {len(points.names)} points"
    return Plane(title, made.formula, x_label, y_label, x_range, y_range, traces, spots, columns, rows, units)


def size_groups(parameters: Float64) -> list[Float64]:
    """The different sizes, each for itself or, if they are many, neighbours together in seven groups."""
    sizes = np.unique(parameters)
    if len(sizes) <= _MOST_SIZES:
        return [sizes[place : place + 1] for place in range(len(sizes))]
    return [np.asarray(group, np.float64) for group in np.array_split(sizes, _MOST_SIZES)]


def _dots(x: Float64, y: Float64, css: str) -> list[Spot]:
    return [Spot(a, b, css, radius=3) for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _row(law: LossLaw, name: str, parameters: float, tokens: float) -> list[str | float]:
    flops = short(FLOPS_PER_WEIGHT * parameters * tokens)
    ratio = f"{tokens / parameters:,.3g}" if tokens / parameters < 100 else f"{tokens / parameters:,.0f}"
    return [name, short(parameters), short(tokens), ratio, flops, f"{law.loss(parameters, tokens):.4f}"]


def _equal_loss(law: LossLaw, loss: float, most: float) -> list[tuple[float, float]]:
    """(parameters, tokens) that reach the loss, from where hardly any tokens do up to `most` parameters."""
    least = least_parameters(law, loss)
    if least >= most:
        return []
    sizes = least * (1 + np.geomspace(1e-4, most / least - 1, 160))
    return [(n, d) for n in sizes.tolist() if math.isfinite(d := law.tokens_for(loss, n))]


def _losses(law: LossLaw, low: float, high: float) -> list[float]:
    """The least losses for every power of ten of FLOPs, or every second and so on, so that they are few."""
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    step = math.ceil(len(powers) / _MOST_CURVES) if powers else 1
    return [law.loss(*law.optimal(10.0**power)) for power in powers[::step]]


def _digits(corners: tuple[float, float]) -> int:
    return 2 if corners[1] < 1e26 else 3


def _range(shown: Sequence[float], known: Sequence[float]) -> tuple[float, float]:
    low, high = min(shown) / 4, max(shown) * 4
    return min([low, *(value / 2 for value in known)]), max([high, *(value * 3 for value in known)])


def _span(values: Float64, room: float) -> tuple[float, float]:
    return float(values.min()) / room, float(values.max()) * room

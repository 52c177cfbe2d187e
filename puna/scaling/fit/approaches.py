"""The fits behind one door: an approach by its name and a table of runs -> a law, its intervals, and what it leaves.

P points, R resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.bootstrap import Interval, interval
from puna.scaling.fit.frontier import fit_frontier
from puna.scaling.fit.isoflop import fit_isoflop
from puna.scaling.fit.overtrained import fit_overtrained
from puna.scaling.fit.parametric import fit_parametric, without_greatest
from puna.scaling.fit.points import Float64
from puna.scaling.fit.power import PowerLaw
from puna.scaling.fit.repeated import fit_repeated
from puna.scaling.fit.table import Points
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw
from puna.scaling.numbers import short

_NEAR_BUDGET = 0.1
_FEW_EPOCHS = 2.5
_NO_SAMPLES = np.empty((0, 5))


@dataclass(frozen=True)
class FitOptions:
    """How to fit.

    greatest: so many points of the greatest losses are left out first (Besiroglu 2024: 5, runs hardly begun). budgets:
    `isoflop` takes the points within 10% of these FLOPs, as those of one compute each. base: the law of fresh text that
    `repeated` goes out from; without it, one with alpha = beta is fitted to the runs of at most 2.5 epochs.
    """

    resamples: int = 400
    seed: int = 0
    greatest: int = 0
    budgets: tuple[float, ...] = ()
    base: LossLaw | None = None


class Constant(NamedTuple):
    """A number of a law with its 95% interval, where there is one."""

    name: str
    value: float
    interval: Interval | None


@dataclass(frozen=True, eq=False)
class Fitted:
    """What an approach found in the points [P] it was fitted to.

    formula: the law as text. size, tokens: N*(C) and D*(C), with the interval of the exponent of N*. law: of the loss,
    of approaches that have one, with resamples [R, 5] of its numbers, and predicted losses [P]. best: FLOPs, parameters
    and loss where approaches 1 and 2 find the least loss.
    """

    approach: str
    points: Points
    formula: str
    constants: tuple[Constant, ...]
    size: PowerLaw
    tokens: PowerLaw
    size_interval: Interval | None
    law: LossLaw | None = None
    samples: Float64 = field(default_factory=lambda: _NO_SAMPLES)
    predicted: Float64 | None = None
    best: tuple[tuple[float, float, float], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def residuals(self) -> Float64 | None:
        """log measured - log predicted loss [P]."""
        return None if self.predicted is None else np.log(self.points.loss / self.predicted)

    def worst(self, count: int = 5) -> list[int]:
        """Places of the points that lie farthest from the law, the farthest first."""
        if self.residuals is None:
            return []
        return [int(place) for place in np.argsort(-np.abs(self.residuals), kind="stable")[:count]]


def fit_points(approach: str, points: Points, options: FitOptions = FitOptions()) -> Fitted:
    """Fit a law. Raises ConfigError for an unknown approach, DataError where columns or points are missing."""
    if approach not in APPROACHES:
        raise ConfigError(f"--approach: expected {', '.join(APPROACHES)}, came {approach!r}")
    if options.greatest < 0:
        raise ConfigError(f"--without-greatest: expected 0 or more, came {options.greatest}")
    return APPROACHES[approach](points.only(without_greatest(points.loss, options.greatest)), options)


def law_text(law: LossLaw) -> str:
    """1.817 + 477.8 / N^0.3473 + 2143 / D^0.3672."""
    return f"{law.floor:.5g} + {law.a:.4g} / N^{law.alpha:.4f} + {law.b:.4g} / D^{law.beta:.4f}"


def _parametric(points: Points, options: FitOptions) -> Fitted:
    columns = (points.parameters, points.tokens, points.loss)
    fit = fit_parametric(*columns, resamples=options.resamples, seed=options.seed)
    share = fit.interval("share") if len(fit.samples) else None
    return _of_law("parametric", points, fit.law, fit.samples, _constants(fit.law, fit.samples), share)


def _overtrained(points: Points, options: FitOptions) -> Fitted:
    columns = (points.parameters, points.tokens, points.loss)
    fit = fit_overtrained(*columns, resamples=options.resamples, seed=options.seed)
    floor, a, b, eta = fit.samples.T
    scale = FLOPS_PER_WEIGHT**-eta
    samples = np.stack([floor, a * scale, 2 * eta, b * scale, 2 * eta], -1)
    values = (fit.law.floor, fit.law.a, fit.law.b, fit.law.eta)
    named = zip(("floor", "a", "b", "eta"), values, fit.samples.T, strict=True)
    constants = tuple(Constant(name, value, _interval(column)) for name, value, column in named)
    made = _of_law("overtrained", points, fit.law.of_sizes(), samples, constants, None)
    law = fit.law
    formula = f"{law.floor:.5g} + ({law.a:.4g} M^{law.eta:.4f} + {law.b:.4g} M^-{law.eta:.4f}) C^-{law.eta:.4f}"
    return _replaced(made, formula=formula, notes=("M: tokens a parameter; N* and D* both grow as C^0.5 by this law",))


def _repeated(points: Points, options: FitOptions) -> Fitted:
    n, d, u = points.parameters, points.tokens, points.unique
    if u is None:
        raise DataError(
            "repeated: expected a column unique_tokens, the different tokens of each run, came none; name it with "
            "--column unique=NAME, or take --approach parametric"
        )
    base, samples, of_base = options.base, _NO_SAMPLES, "given"
    if base is None:
        few = points.only(d <= _FEW_EPOCHS * u)
        settings = {"resamples": options.resamples, "seed": options.seed}
        fresh = fit_parametric(few.parameters, few.tokens, few.loss, tied=True, **settings)
        base, samples, of_base = fresh.law, fresh.samples, f"of {len(few.names)} runs of at most {_FEW_EPOCHS} epochs"
    fit = fit_repeated(n, d, u, points.loss, base, resamples=options.resamples, seed=options.seed)
    reaches = (fit.law.tokens_reach, fit.law.parameters_reach)
    named = zip(("tokens_reach", "parameters_reach"), reaches, fit.samples.T, strict=True)
    constants = [Constant(name, value, _interval(column)) for name, value, column in named]
    made = _of_law("repeated", points, base, samples, (*constants, *_constants(base, samples)), None)
    others = ", ".join(f"R*_D {one:.3g} and R*_N {two:.3g}" for one, two, _ in fit.minima[1:4])
    notes = [f"law of fresh text {of_base}; tokens_reach is R*_D, parameters_reach R*_N"]
    notes += [f"other minima: {others}"] if others else []
    predicted = np.array([fit.law.loss(*row) for row in zip(n.tolist(), d.tolist(), u.tolist(), strict=True)])
    return _replaced(made, predicted=predicted, notes=tuple(notes))


def _isoflop(points: Points, options: FitOptions) -> Fitted:
    flops, notes = points.flops, []
    if options.budgets:
        budgets = np.array(options.budgets)
        far = np.abs(np.log(flops / budgets[:, None]))
        near = far.min(0) < _NEAR_BUDGET
        notes.append(f"{int(near.sum())} of {len(near)} points are within 10% of a budget")
        points, flops = points.only(near), budgets[far.argmin(0)][near]
    settings = {"resamples": options.resamples, "seed": options.seed}
    fit = fit_isoflop(points.parameters, flops, points.loss, **settings)
    best = _rows(fit.flops, fit.best, fit.losses)
    notes += [f"{short(c)} FLOPs: least loss {y:.4f} at {short(n)} parameters" for c, n, y in best]
    notes += [f"{short(compute)} FLOPs: no minimum within its sizes" for compute in fit.left_out]
    exponent = fit.interval() if len(fit.samples) else None
    return _of_powers("isoflop", points, fit.parameters, fit.tokens, exponent, best, tuple(notes))


def _frontier(points: Points, options: FitOptions) -> Fitted:
    fit = fit_frontier(points.parameters, points.tokens, points.loss)
    sizes = sorted(set(fit.sizes[fit.counted].tolist()))
    note = f"{len(sizes)} sizes are the best somewhere, {short(sizes[0])} to {short(sizes[-1])}"
    best = _rows(fit.flops, fit.sizes, fit.losses)
    return _of_powers("frontier", points, fit.parameters, fit.tokens, fit.exponent_interval, best, (note,))


APPROACHES: dict[str, Callable[[Points, FitOptions], Fitted]] = {
    "parametric": _parametric,
    "isoflop": _isoflop,
    "frontier": _frontier,
    "repeated": _repeated,
    "overtrained": _overtrained,
}


def _rows(flops: Float64, sizes: Float64, losses: Float64) -> tuple[tuple[float, float, float], ...]:
    return tuple(zip(flops.tolist(), sizes.tolist(), losses.tolist(), strict=True))


def _constants(law: LossLaw, samples: Float64) -> tuple[Constant, ...]:
    names = ("floor", "a", "alpha", "b", "beta")
    columns = zip(names, samples.T, strict=True)
    return tuple(Constant(name, getattr(law, name), _interval(column)) for name, column in columns)


def _interval(column: Float64) -> Interval | None:
    return interval(column) if len(column) else None


def _of_law(
    approach: str,
    points: Points,
    law: LossLaw,
    samples: Float64,
    constants: tuple[Constant, ...],
    share: Interval | None,
) -> Fitted:
    size, tokens = law.optimal(1.0)
    exponent = law.beta / (law.alpha + law.beta)
    predicted = law.floor + law.a * points.parameters**-law.alpha + law.b * points.tokens**-law.beta
    powers = (PowerLaw(size, exponent), PowerLaw(tokens, 1 - exponent))
    return Fitted(approach, points, law_text(law), constants, *powers, share, law, samples, predicted)


def _of_powers(
    approach: str,
    points: Points,
    size: PowerLaw,
    tokens: PowerLaw,
    exponent: Interval | None,
    best: tuple[tuple[float, float, float], ...],
    notes: tuple[str, ...],
) -> Fitted:
    formula = f"N*(C) = {size.factor:.4g} C^{size.exponent:.4f}"
    return Fitted(approach, points, formula, (), size, tokens, exponent, best=best, notes=notes)


def _replaced(made: Fitted, **changes: object) -> Fitted:
    return Fitted(**{**made.__dict__, **changes})  # type: ignore[arg-type]

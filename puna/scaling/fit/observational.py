"""Scaling laws without training: public models' scores as points (Ruan 2024, arXiv 2405.10938).

    scores of all models     -> capabilities, their first principal components
    log FLOPs of a family    -> capabilities, by a line a family, since families differ in what they make of compute
    capabilities             -> each score, by one sigmoid for all families

So a benchmark's rise is seen before a family's own models show it, and a new benchmark (`fit_task`) needs no compute at
all: what models can do elsewhere foretells it. Missing scores are filled by the components themselves, in turns.

M models, T tasks, K components.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.scaling.fit.points import Float64
from puna.scaling.fit.sigmoid import Sigmoid, fit_sigmoid


@dataclass(frozen=True, eq=False)
class Components:
    """centre [T], directions [K, T] of length 1, their means 0 or more; shares: of the variance [K]."""

    centre: Float64
    directions: Float64
    shares: Float64

    def capabilities(self, scores: Float64) -> Float64:
        """[M, K] of scores [M, T], nan where missing: the least squares of the scores that there are."""
        rows = []
        for row in scores:
            known = np.isfinite(row)
            rows.append(np.linalg.lstsq(self.directions[:, known].T, (row - self.centre)[known], rcond=None)[0])
        return np.array(rows)


@dataclass(frozen=True, eq=False)
class ObservationalFit:
    """lines: intercepts and slopes over log10 FLOPs [2, K] of each family that has 3 models of different compute."""

    components: Components
    lines: Mapping[str, Float64]
    sigmoids: tuple[Sigmoid, ...]

    def capabilities(self, family: str, flops: float) -> Float64:
        """Expected [K] of a family's model after so many FLOPs. Raises ConfigError if there is no line for it."""
        if family not in self.lines:
            raise ConfigError(f"family: expected one of {', '.join(sorted(self.lines))}, came {family!r}")
        if not (flops > 0 and np.isfinite(flops)):
            raise ConfigError(f"flops: expected a number above 0, came {flops}")
        intercept, slope = self.lines[family]
        expected: Float64 = intercept + slope * np.log10(flops)
        return expected

    def scores(self, family: str, flops: float) -> Float64:
        """Expected [T] of a family's model after so many FLOPs."""
        drivers = self.capabilities(family, flops)
        return np.array([float(sigmoid.at(drivers)) for sigmoid in self.sigmoids])


def fit_observational(
    scores: npt.ArrayLike,
    flops: npt.ArrayLike,
    families: Sequence[str],
    *,
    components: int = 3,
    chances: Sequence[float] | None = None,
) -> ObservationalFit:
    """Fit the three steps to scores [M, T] between 0 and 1, nan where missing.

    flops [M], nan for models whose compute is unknown: they teach the components and sigmoids alone. components: three,
    as Ruan 2024 takes. chances: scores of guessing [T]. Raises DataError for a model or task with fewer scores than
    components + 2, scores out of range, and if no family has three models of different compute.
    """
    table, compute = np.array(scores, np.float64), np.asarray(flops, np.float64)
    if table.ndim != 2 or compute.shape != table.shape[:1] or len(families) != len(table):
        raise DataError(
            f"scores, flops, families: expected [M, T], [M] and M names, came {table.shape}, {compute.shape} and "
            f"{len(families)}"
        )
    known = np.isfinite(table)
    if (table[known] < 0).any() or (table[known] > 1).any():
        raise DataError(f"scores: expected shares, came {table[known].min():g} to {table[known].max():g}")
    if (compute <= 0).any():
        raise DataError(f"flops: expected numbers above 0 or nan, came {np.nanmin(compute):g}")
    least = components + 2
    for axis, name in ((1, "models"), (0, "tasks")):
        few = np.flatnonzero(known.sum(axis) < least)
        if len(few):
            raise DataError(
                f"{name}: expected at least {least} scores of each, came fewer at place {few[0]}; leave it out"
            )
    if chances is not None and len(chances) != table.shape[1]:
        raise DataError(f"chances: expected {table.shape[1]}, one a task, came {len(chances)}")
    found = fit_components(table, components)
    drivers = found.capabilities(table)
    sigmoids = []
    for task in range(table.shape[1]):
        rows = known[:, task]
        low = chances[task] if chances is not None else 0.0
        sigmoids += fit_sigmoid(drivers[rows], table[rows, task], low)
    lines = {}
    for family in dict.fromkeys(families):
        rows = np.array([name == family for name in families]) & np.isfinite(compute)
        if len(np.unique(compute[rows])) >= 3:
            design = np.column_stack([np.ones(rows.sum()), np.log10(compute[rows])])
            lines[family] = np.linalg.lstsq(design, drivers[rows], rcond=None)[0]
    if not lines:
        raise DataError("families: expected at least one with 3 models of different compute, came none; add models")
    return ObservationalFit(found, lines, tuple(sigmoids))


def fit_task(components: Components, scores: Float64, task: npt.ArrayLike, chance: float = 0.0) -> Sigmoid:
    """From the capabilities of models with scores [M, T] to their scores [M] on another task, nan where missing.

    `sigmoid.at(components.capabilities(others))` foretells it for others. Raises DataError for scores out of range, and
    for fewer models with both than components + 2.
    """
    values = np.asarray(task, np.float64)
    if values.shape != scores.shape[:1]:
        raise DataError(f"task: expected {len(scores)} scores, one a model, came an array of shape {values.shape}")
    known = np.isfinite(values)
    if (values[known] < 0).any() or (values[known] > 1).any():
        raise DataError(f"task: expected shares, came {values[known].min():g} to {values[known].max():g}")
    (sigmoid,) = fit_sigmoid(components.capabilities(scores[known]), values[known], chance)
    return sigmoid


def fit_components(scores: Float64, count: int, rounds: int = 500) -> Components:
    """Principal components of scores [M, T], nan where missing: filled by the components until they stand still.

    Raises ConfigError unless 1 <= count <= the smaller of M - 1 and T.
    """
    if not 1 <= count <= min(len(scores) - 1, scores.shape[1]):
        raise ConfigError(
            f"components: expected 1 to {min(len(scores) - 1, scores.shape[1])} for scores {scores.shape}, came {count}"
        )
    missing = ~np.isfinite(scores)
    filled = np.where(missing, np.nanmean(scores, 0), scores)
    for _ in range(rounds):
        centre = filled.mean(0)
        left, lengths, right = np.linalg.svd(filled - centre, full_matrices=False)
        rebuilt = centre + (left[:, :count] * lengths[:count]) @ right[:count]
        change = float(np.abs(rebuilt - filled)[missing].max(initial=0.0))
        filled = np.where(missing, rebuilt, filled)
        if change < 1e-9:
            break
    signs = np.where(right[:count].sum(1) < 0, -1.0, 1.0)[:, None]
    return Components(centre, right[:count] * signs, lengths[:count] ** 2 / (lengths**2).sum())

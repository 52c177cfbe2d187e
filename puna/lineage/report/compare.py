"""Two runs, or two sets of replicas, compared score by score with 95% intervals.

    replicas on both sides    Welch's t-interval over seeds (Welch 1947)
    otherwise                 MOVER (Zou and Donner 2008): the two intervals give the interval of the difference; for
                              shares of n items the intervals are Wilson's, which makes it Newcombe's method 10
                              (1998), sound at 0 and 1 as well

A difference of single runs says what the same two models would do on other items, not what other seeds would give;
items are taken as unpaired, which is conservative where both runs saw the same exam.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from puna.lineage.report.formats import is_proportion

Z95 = statistics.NormalDist().inv_cdf(0.975)
Interval = tuple[float, float]


def compare_runs(reports_a: Sequence[Mapping[str, Any]], reports_b: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compare the replicas of run A with those of run B (each a report.json; one report is a single run).

    Returns {"replicas": [in A, in B], "scores": [...], "stages": [...]}. A score has stage, task, metric, headline,
    sides `a` and `b` (mean, ci95, runs, n; None where that run lacks it) and `difference` (b - a, ci95, method, clear:
    whether the interval leaves out 0). A stage has its mean seconds on both sides and `same`, whether
    all fingerprints agree.
    """
    scores_a, scores_b = group_scores(reports_a), group_scores(reports_b)
    rows = []
    for key in dict.fromkeys([*scores_a, *scores_b]):
        found_a, found_b = scores_a.get(key, []), scores_b.get(key, [])
        a, b = summarize(found_a, key[2]), summarize(found_b, key[2])
        row: dict[str, Any] = dict(zip(("stage", "task", "metric"), key, strict=True))
        row["headline"] = any(score["headline"] for score in (*found_a, *found_b))
        rows.append({**row, "a": a, "b": b, "difference": difference(found_a, found_b, a, b)})
    return {
        "replicas": [len(reports_a), len(reports_b)],
        "scores": rows,
        "stages": compare_stages(reports_a, reports_b),
    }


def group_scores(reports: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[Mapping[str, Any]]]:
    """The scores of all replicas by (stage, task, metric); scores without a value are left out."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for report in reports:
        for score in report["scores"]:
            if score["value"] is not None:
                groups.setdefault((score["stage"], score["task"], score["metric"]), []).append(score)
    return groups


def summarize(scores: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any] | None:
    """Mean over replicas with its t-interval; of a single run the interval over its items."""
    if not scores:
        return None
    values = [score["value"] for score in scores]
    mean = sum(values) / len(values)
    ci95 = t_interval(values) if len(values) > 1 else single_interval(scores[0], metric)
    return {"mean": mean, "ci95": list(ci95) if ci95 else None, "runs": len(values), "n": scores[0]["n"]}


def single_interval(score: Mapping[str, Any], metric: str) -> Interval | None:
    """Wilson's interval for a share of n items, else the interval the score came with."""
    if is_proportion(metric) and score["n"] and 0 <= score["value"] <= 1:
        return wilson_interval(score["value"], score["n"])
    return (score["ci95"][0], score["ci95"][1]) if score["ci95"] else None


def wilson_interval(share: float, n: int) -> Interval:
    """95% interval of a share of n items (Wilson 1927)."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def t_interval(values: Sequence[float]) -> Interval:
    """95% t-interval of the mean of at least two replicas."""
    mean, variance = moments(values)
    half = t_quantile(len(values) - 1) * math.sqrt(variance / len(values))
    return mean - half, mean + half


def t_quantile(freedom: float) -> float:
    """97.5% point of Student's t for at least one degree of freedom, by bisection.

    With t = sqrt(v) tan(a) the distribution is the integral of cos(a)^(v-1), smooth enough for 64-point Gauss-Legendre
    to be exact in double precision. Written out so that comparing two runs does not need scipy.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        inside = angle / 2 * float(weights @ np.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
        low, high = (angle, high) if inside < 0.95 * whole else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and unbiased variance."""
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def difference(
    scores_a: Sequence[Mapping[str, Any]],
    scores_b: Sequence[Mapping[str, Any]],
    a: dict[str, Any] | None,
    b: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """b - a with the interval that the number of replicas allows; None where one side lacks the score."""
    if a is None or b is None:
        return None
    ci95: Interval | None = None
    method = None
    if a["runs"] > 1 and b["runs"] > 1:
        ci95, method = welch_interval([s["value"] for s in scores_a], [s["value"] for s in scores_b]), "welch"
    elif a["ci95"] and b["ci95"]:
        ci95, method = mover_interval(a["mean"], a["ci95"], b["mean"], b["ci95"]), "mover"
    value = b["mean"] - a["mean"]
    clear = ci95 is not None and not ci95[0] <= 0 <= ci95[1]
    return {"value": value, "ci95": list(ci95) if ci95 else None, "method": method, "clear": clear}


def welch_interval(a: Sequence[float], b: Sequence[float]) -> Interval:
    """95% interval of mean(b) - mean(a), variances not assumed equal, degrees of freedom after Satterthwaite."""
    (mean_a, var_a), (mean_b, var_b) = moments(a), moments(b)
    part_a, part_b = var_a / len(a), var_b / len(b)
    delta = mean_b - mean_a
    if part_a + part_b == 0:  # replicas that agree to the bit: nothing to estimate a spread from
        return delta, delta
    freedom = (part_a + part_b) ** 2 / (part_a**2 / (len(a) - 1) + part_b**2 / (len(b) - 1))
    half = t_quantile(freedom) * math.sqrt(part_a + part_b)
    return delta - half, delta + half


def mover_interval(a: float, ci_a: Sequence[float], b: float, ci_b: Sequence[float]) -> Interval:
    """95% interval of b - a from the 95% intervals of both (method of variance estimates recovery)."""
    delta = b - a
    below = math.hypot(b - ci_b[0], ci_a[1] - a)
    above = math.hypot(ci_b[1] - b, a - ci_a[0])
    return delta - below, delta + above


def compare_stages(reports_a: Sequence[Mapping[str, Any]], reports_b: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Mean seconds of each stage on both sides, and whether both made the same artifacts."""
    sides: list[dict[str, list[Mapping[str, Any]]]] = []
    for reports in (reports_a, reports_b):
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for report in reports:
            for stage in report["stages"]:
                groups.setdefault(stage["name"], []).append(stage)
        sides.append(groups)
    rows = []
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = (side.get(name, []) for side in sides)
        seconds = [sum(s["seconds"] for s in side) / len(side) if side else None for side in (a, b)]
        same = {s["fingerprint"] for s in a} == {s["fingerprint"] for s in b}
        rows.append({"name": name, "seconds": seconds, "same": same})
    return rows

"""Comparisons of runs: every interval against scipy."""

import io
import math
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from puna.lineage.report import compare_runs, comparison_table
from puna.lineage.report.compare import mover_interval, t_quantile, wilson_interval

A = [0.71, 0.74, 0.69, 0.73, 0.70]
B = [0.81, 0.79, 0.84, 0.80]


def run(
    value: float, metric: str = "accuracy", n: int = 500, ci95: list[float] | None = None, print_: str = "aa"
) -> dict[str, Any]:
    """A report.json with one score and one stage."""
    score = {"stage": "eval", "task": "word", "metric": metric, "value": value, "ci95": ci95, "n": n, "headline": True}
    return {"scores": [score], "stages": [{"name": "eval", "seconds": 10 * value, "fingerprint": print_}]}


def test_replicas_against_scipy_welch_and_t():
    row = compare_runs([run(v) for v in A], [run(v) for v in B])["scores"][0]
    welch = stats.ttest_ind(B, A, equal_var=False).confidence_interval(0.95)
    assert row["difference"]["value"] == pytest.approx(np.mean(B) - np.mean(A))
    assert row["difference"]["ci95"] == pytest.approx([welch.low, welch.high], abs=1e-10)
    assert row["difference"]["method"] == "welch" and row["difference"]["clear"]
    for side, values in (("a", A), ("b", B)):
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert row[side]["ci95"] == pytest.approx(list(expected), abs=1e-10)
        assert row[side]["mean"] == pytest.approx(np.mean(values)) and row[side]["runs"] == len(values)


@pytest.mark.parametrize("freedom", [1, 1.37, 2, 4, 7.77, 29, 300, 1e5])
def test_t_quantile_against_scipy(freedom: float):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@pytest.mark.parametrize(("correct", "n"), [(0, 40), (40, 40), (1, 7), (330, 500)])
def test_wilson_against_scipy(correct: int, n: int):
    expected = stats.binomtest(correct, n).proportion_ci(method="wilson")
    assert wilson_interval(correct / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("a", "b", "n"), [(0.66, 0.784, 500), (0.0, 0.02, 500), (0.0, 1.0, 50)])
def test_single_runs_give_newcombes_interval(a: float, b: float, n: int):
    row = compare_runs([run(a, n=n)], [run(b, n=n)])["scores"][0]
    (la, ua), (lb, ub) = (stats.binomtest(round(v * n), n).proportion_ci(method="wilson") for v in (a, b))
    low = b - a - math.sqrt((b - lb) ** 2 + (ua - a) ** 2)
    high = b - a + math.sqrt((ub - b) ** 2 + (a - la) ** 2)
    assert row["difference"]["ci95"] == pytest.approx([low, high], abs=1e-12)
    assert row["difference"]["method"] == "mover"


def test_newcombes_published_example():
    """Newcombe (1998), Statistics in Medicine 17:873-890, table II, method 10, case (a): 56/70 against 48/80."""
    low, high = mover_interval(48 / 80, wilson_interval(48 / 80, 80), 56 / 70, wilson_interval(56 / 70, 70))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_single_interval_covers_as_promised():
    """The law behind the number: about 95 of 100 intervals hold the true difference."""
    generator = np.random.default_rng(7)
    a, b = generator.binomial(300, 0.55, 4000) / 300, generator.binomial(300, 0.63, 4000) / 300
    intervals = [
        mover_interval(x, wilson_interval(x, 300), y, wilson_interval(y, 300)) for x, y in zip(a, b, strict=True)
    ]
    assert np.mean([low <= 0.08 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.012)


def test_a_metric_that_is_no_share_uses_its_own_interval():
    a, b = run(0.70, "bits_per_byte", ci95=[0.69, 0.72]), run(0.65, "bits_per_byte", ci95=[0.64, 0.66])
    difference = compare_runs([a], [b])["scores"][0]["difference"]
    assert difference["ci95"] == pytest.approx([-0.05 - math.hypot(0.01, 0.02), -0.05 + math.hypot(0.01, 0.01)])
    assert difference["clear"]
    unknown = compare_runs([run(0.7, "bits_per_byte")], [b])["scores"][0]["difference"]
    assert (unknown["ci95"], unknown["method"], unknown["clear"]) == (None, None, False)


def test_equal_replicas_and_missing_scores():
    same = compare_runs([run(0.5), run(0.5)], [run(0.5), run(0.5)])["scores"][0]["difference"]
    assert same == {"value": 0.0, "ci95": [0.0, 0.0], "method": "welch", "clear": False}
    rows = compare_runs([run(0.5)], [run(0.6, "pass@1")])["scores"]
    assert [(row["metric"], row["a"] is None, row["b"] is None, row["difference"]) for row in rows] == [
        ("accuracy", False, True, None),
        ("pass@1", True, False, None),
    ]


def test_stages_say_whether_they_are_the_same_artifacts():
    comparison = compare_runs([run(0.5), run(0.7)], [run(0.6, print_="bb")])
    assert comparison["stages"] == [{"name": "eval", "seconds": pytest.approx([6.0, 6.0]), "same": False}]
    assert compare_runs([run(0.5)], [run(0.5)])["stages"][0]["same"] is True


def test_comparison_table_shows_points():
    console = Console(width=160, file=io.StringIO(), color_system=None)
    console.print(comparison_table(compare_runs([run(v) for v in A], [run(v) for v in B]), "small", "large"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "small, 5 runs" in text and "large, 4 runs" in text
    assert "+9.6" in text  # 81.0 - 71.4
    low, high = stats.ttest_ind(B, A, equal_var=False).confidence_interval(0.95)
    assert f"+{100 * low:.1f} to +{100 * high:.1f}" in text and "all stages are the same artifacts" in text

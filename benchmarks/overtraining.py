"""Table and figure of `recipes/studies/overtraining-real.yaml`: losses over the tokens that a parameter has learned.

python -m benchmarks.overtraining RUN [--out FOLDER]

A line of loss over the logarithm of tokens is fitted to the runs from 20 tokens a parameter on; R^2 tells how straight
they lie, and the gains of each doubling whether they shrink.
"""

import argparse
import math
import re
import statistics
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "puna", "font.size": 9})

from matplotlib import pyplot as plt  # noqa: E402

from puna.base.files import read_json  # noqa: E402
from puna.lineage.report.compare import t_interval  # noqa: E402

_USUAL = 20.0
"""Tokens a parameter that compute alone would ask for (Hoffmann 2022)."""


def main() -> None:
    """Print the table of a run's seeds and draw its figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("run", type=Path, help="the run folder, with a folder of each seed")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="where the figure goes")
    options = parser.parse_args()
    losses = read_losses(options.run)
    if not losses:
        parser.error(f"expected tokens-N of every seed in {options.run}, found none; run the recipe with --seeds")
    print("| tokens a parameter | loss, nats a token | each seed | less than at half the tokens |\n|---|---|---|---|")
    ratios = sorted(losses)
    for ratio in ratios:
        values = losses[ratio]
        low, high = t_interval(values)
        half = losses.get(ratio / 2)
        gains = [a - b for a, b in zip(half, values, strict=True)] if half else []
        gain = (
            f"{statistics.mean(gains):.3f} ({t_interval(gains)[0]:.3f} to {t_interval(gains)[1]:.3f})" if half else ""
        )
        seeds = ", ".join(f"{value:.3f}" for value in values)
        print(f"| {ratio:g} | {statistics.mean(values):.3f} ({low:.3f} to {high:.3f}) | {seeds} | {gain} |")
    late = fitted({ratio: losses[ratio] for ratio in ratios if ratio >= _USUAL})
    print(f"\nfrom {_USUAL:g} on: {late['slope']:+.4f} nats a doubling, R^2 {late['r2']:.4f}")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "overtraining.svg"
    _draw(losses, late).savefig(path, metadata={"Date": None})
    print(path)


def read_losses(run: Path) -> dict[float, list[float]]:
    """By tokens a parameter, the held-out loss of each seed; those that every seed has."""
    seeds = sorted(run.glob("seed-*"))
    found: dict[float, list[float]] = {}
    for seed in seeds:
        for path in seed.glob("tokens-*/manifest.json"):
            metrics = read_json(path)["metrics"]
            number = re.fullmatch(r"tokens-(\d+)", path.parent.name)
            if number:
                found.setdefault(float(number[1]), []).append(metrics["validation_loss"])
    return {ratio: values for ratio, values in found.items() if len(values) == len(seeds)}


def fitted(losses: dict[float, list[float]]) -> dict[str, float]:
    """The line of mean loss over log2 of tokens a parameter: slope, loss at one token a parameter, R^2."""
    x = np.log2(sorted(losses))
    y = np.array([statistics.mean(losses[ratio]) for ratio in sorted(losses)])
    slope, start = np.polyfit(x, y, 1)
    left = float(((y - start - slope * x) ** 2).sum())
    return {"slope": float(slope), "start": float(start), "r2": 1 - left / float(((y - y.mean()) ** 2).sum())}


def _draw(losses: dict[float, list[float]], late: dict[str, float]) -> Any:
    figure, axes = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
    ratios = sorted(losses)
    means = [statistics.mean(losses[ratio]) for ratio in ratios]
    errors = [[mean - t_interval(losses[ratio])[0] for mean, ratio in zip(means, ratios)]] * 2
    axes.errorbar(ratios, means, errors, fmt="o", capsize=3, label="runs, mean and 95% interval")
    places = [_USUAL, max(ratios)]
    label = f"line from {_USUAL:g} on: {late['slope']:+.3f} a doubling, R² {late['r2']:.3f}"
    axes.plot(places, [late["start"] + late["slope"] * math.log2(place) for place in places], label=label)
    axes.axvline(_USUAL, color="grey", linewidth=1, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axes.set_xlabel("tokens a parameter")
    axes.set_title("held-out loss, nats a token", fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()

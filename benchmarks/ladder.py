"""Table and figure of a ladder's study: what was foretold of each larger run on each seed, and what came.

python -m benchmarks.ladder RUN [--name ladder-real] [--out FOLDER]
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "puna", "font.size": 9})

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.ticker import NullFormatter  # noqa: E402

from puna.base.files import read_json  # noqa: E402
from puna.lineage.report.compare import t_interval  # noqa: E402
from puna.scaling.law import FLOPS_PER_WEIGHT, LossLaw  # noqa: E402


@dataclass(frozen=True)
class Told:
    """A larger run of one seed: what its forecast says, and the loss that came, in nats a token."""

    name: str
    seed: str
    forecast: dict[str, Any]
    came: float

    @property
    def error(self) -> float:
        """Of the forecast, relative to what came."""
        return float(self.forecast["loss"] / self.came - 1)

    @property
    def is_inside(self) -> bool:
        low, high = self.forecast["interval"]
        return bool(low <= self.came <= high)


def main() -> None:
    """Print the table of a study and draw its figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("run", type=Path, help="the run folder, with a folder of each seed")
    parser.add_argument("--name", default="ladder-real", help="of the figure's file")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="where the figure goes")
    options = parser.parse_args()
    seeds = sorted(options.run.glob("seed-*"))
    runs = [one for seed in seeds for one in _told(seed)]
    if not runs:
        parser.error(f"expected finished runs with forecasts in seed-N folders of {options.run}, found none")
    ladders = [read_json(seed / "ladder" / "ladder.json")["runs"] for seed in seeds if (seed / "ladder").exists()]
    names = list(dict.fromkeys(one.name for one in runs))
    _print_table(runs, names)
    figure = _draw(runs, names, ladders[0])
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    print(f"\n{path}")


def _told(seed: Path) -> list[Told]:
    """The finished pretraining stages of a seed that read a forecast."""
    stages = read_json(seed / "recipe.json")["stages"]
    found = []
    for name, spec in stages.items():
        source = spec["inputs"].get("forecast")
        if spec["kind"] == "pretrain" and source and (seed / name / "manifest.json").exists():
            came = read_json(seed / name / "manifest.json")["metrics"]["validation_loss"]
            found.append(Told(name, seed.name, read_json(seed / source / "forecast.json"), came))
    return found


def _print_table(runs: Sequence[Told], names: Sequence[str]) -> None:
    print("| run | parameters x tokens | seed | foretold, 95% interval | came | error |")
    print("|---|---|---|---|---|---|")
    for one in runs:
        low, high = one.forecast["interval"]
        size = f"{one.forecast['parameters']:,} x {one.forecast['tokens']:,}"
        told = f"{one.forecast['loss']:.4f} ({low:.4f} to {high:.4f})"
        outside = "" if one.is_inside else ", outside"
        print(f"| {one.name} | {size} | {one.seed} | {told} | {one.came:.4f} | {one.error:+.2%}{outside} |")
    print()
    for name in names:
        own = [one for one in runs if one.name == name]
        errors = [one.error for one in own]
        mean = statistics.mean(one.came for one in own)
        line = f"{name}: came {mean:.4f} on the mean of {len(own)} seeds, error {statistics.mean(errors):+.2%}"
        if len(own) > 1:
            low, high = t_interval(errors)
            line += f" ({low:+.2%} to {high:+.2%})"
        print(f"{line}, at most {max(map(abs, errors)):.2%}, {sum(one.is_inside for one in own)} inside")
    first = [one for one in runs if one.name == names[0]]
    for name in names[1:]:
        pairs = [(a, b) for a in runs if a.name == name for b in first if a.seed == b.seed]
        came = [a.came - b.came for a, b in pairs]
        told = [a.forecast["loss"] - b.forecast["loss"] for a, b in pairs]
        line = f"{name} less {names[0]}: came {statistics.mean(came):+.4f}"
        line += " ({:+.4f} to {:+.4f})".format(*t_interval(came)) if len(came) > 1 else ""
        print(f"{line}, foretold {statistics.mean(told):+.4f}")


def _draw(runs: Sequence[Told], names: Sequence[str], ladder: Sequence[dict[str, Any]]) -> Any:
    """Left: one seed's ladder, its law at each size, and the larger runs. Right: the roads to the largest compute."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    seed = runs[0].seed
    law = LossLaw(**runs[0].forecast["law"])
    sizes = sorted({row["parameters"] for row in ladder})
    own = [one for one in runs if one.seed == seed]
    end = max(one.forecast["flops"] for one in own)
    for number, size in enumerate(sizes):
        rows = [row for row in ladder if row["parameters"] == size]
        flops = np.array([row["flops"] for row in rows])
        left.plot(flops, [row["loss"] for row in rows], "o", color=f"C{number}", label=f"{size / 1e3:,.0f}K")
        road = np.geomspace(flops.min(), end, 60)
        left.plot(road, _losses(law, [size] * 60, road / FLOPS_PER_WEIGHT / size), color=f"C{number}", linewidth=0.8)
    _best(left, law, min(row["flops"] for row in ladder), end)
    for one in own[:1]:
        _with_interval(left, one, "k")
    _labelled(left, f"{seed}: ladder, law, and what came of {names[0]}")
    left.legend(title="parameters", fontsize=7)
    start = max(row["flops"] for row in ladder)
    road = np.geomspace(start, end, 60)
    _best(right, law, start, end)
    largest = [row for row in ladder if row["flops"] > start * 0.9]
    middle = min(largest, key=lambda row: row["loss"])
    held_size, held_text = middle["parameters"], middle["tokens"]
    right.plot(road, _losses(law, [held_size] * 60, road / FLOPS_PER_WEIGHT / held_size), "--", color="C1",
               label=f"{held_size / 1e3:,.0f}K parameters held, more text")  # fmt: skip
    right.plot(road, _losses(law, road / FLOPS_PER_WEIGHT / held_text, [held_text] * 60), ":", color="C2",
               label=f"{held_text / 1e6:.1f}M tokens held, more parameters")  # fmt: skip
    for number, name in enumerate(names):
        own = [one for one in runs if one.name == name]
        place, shape = end * 1.07 ** (number - (len(names) - 1) / 2), "o^sD"[number % 4]
        size = f"{own[0].forecast['parameters'] / 1e3:,.0f}K x {own[0].forecast['tokens'] / 1e6:.1f}M"
        right.plot([place] * len(own), [one.came for one in own], shape, color=f"C{number + 3}", markersize=5,
                   label=f"{name} ({size}): came")  # fmt: skip
        right.plot([place] * len(own), [one.forecast["loss"] for one in own], shape, color=f"C{number + 3}",
                   markersize=5, fillstyle="none", label="foretold" if number == 0 else None)  # fmt: skip
    _labelled(right, "to ten times the ladder's compute: roads, and runs of all seeds")
    right.xaxis.set_minor_formatter(NullFormatter())
    right.legend(fontsize=7)
    return figure


def _losses(law: LossLaw, parameters: Any, tokens: Any) -> list[float]:
    return [law.loss(float(n), float(d)) for n, d in zip(parameters, tokens, strict=True)]


def _best(axes: Axes, law: LossLaw, start: float, end: float) -> None:
    road = np.geomspace(start, end, 60)
    axes.plot(road, [law.loss(*law.optimal(float(flops))) for flops in road], "k-", linewidth=1.5, label="best")


def _with_interval(axes: Axes, one: Told, color: str) -> None:
    low, high = one.forecast["interval"]
    middle, flops = one.forecast["loss"], one.forecast["flops"]
    axes.errorbar([flops], [middle], [[middle - low], [high - middle]], fmt="_", color=color, capsize=4)
    axes.plot([flops], [one.came], "*", color=color, markersize=9)


def _labelled(axes: Axes, title: str) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("FLOPs of training, 6 N D")
    axes.set_ylabel("held-out loss, nats a token")
    axes.set_title(title, fontsize=8)
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()

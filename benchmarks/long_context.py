"""Table and figure of long context: what `recipes/studies/long-context.yaml` measured.

python -m benchmarks.long_context RUN [--out FOLDER]
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "puna", "font.size": 9})

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap  # noqa: E402

from puna.base.files import read_json  # noqa: E402
from puna.evals.items import read_results  # noqa: E402
from puna.evals.statistics import wilson_interval  # noqa: E402
from puna.lineage.report.heat import COLOURS, INK  # noqa: E402

Place = tuple[int, float]


def main() -> None:
    """Print the tables of a run and draw its figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("run", type=Path, help="the run folder, or its folder of a seed")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="where the figure goes")
    options = parser.parse_args()
    run: Path = options.run
    if not (run / "eval-after/manifest.json").exists():
        parser.error(f"expected eval-after in {run}, found none; run recipes/studies/long-context.yaml to its end")
    gate = read_json(run / "extend/gate.json")
    _print_rounds(gate)
    for stage in ("eval-before", "eval-after"):
        for score in read_json(run / stage / "manifest.json")["scores"]:
            low, high = score["ci95"]
            print(f"{stage} {score['task']} {score['metric']}: {score['value']:.4f} ({low:.4f} to {high:.4f})")
    counts, found = _found(run / "eval-after/tasks/needle.parquet")
    worst = min(counts, key=lambda place: found[place] / counts[place])
    low, high = wilson_interval(found[worst], counts[worst])
    print(f"worst: {worst[0]} tokens, depth {worst[1]:.0%}: {found[worst]} of {counts[worst]} ({low:.2f}, {high:.2f})")
    figure = _draw(gate, counts, found)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "long-context.svg"
    figure.savefig(path, metadata={"Date": None})
    print(path)


def _print_rounds(gate: dict[str, Any]) -> None:
    print(f"short text before: {gate['bits_before']:.4f} bits a byte\n")
    print("| row | round | tokens | theta | factor | short text, bits a byte | change | needles, worst depth | gate |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in gate["rounds"]:
        judged = one["judgement"]
        worst = min(cell["found"] / cell["n"] for cell in judged["cells"])
        cells = [f"{one['row_tokens']:,}", one["number"] + 1, f"{one['tokens']:,.0f}", f"{one['rope_theta']:,.0f}"]
        cells += [f"{one['rope_factor']:g}", f"{judged['short_bits']:.4f}", f"{judged['short_change']:+.2%}"]
        cells += [f"{worst:.0%}", "open" if judged["passed"] else f"shut: {judged['why']}"]
        print(f"| {' | '.join(map(str, cells))} |")
    print()


def _found(path: Path) -> tuple[Counter[Place], Counter[Place]]:
    """Tests and needles found, by length and depth."""
    counts, found = Counter[Place](), Counter[Place]()
    for item in read_results(path):
        details = json.loads(item.details)
        place = details["length"], details["depth"]
        counts[place] += 1
        found[place] += int(item.value)
    return counts, found


def _draw(gate: dict[str, Any], counts: Counter[Place], found: Counter[Place]) -> Any:
    """Needles by length and depth, and short text after each length."""
    lengths, depths = sorted({place[0] for place in counts}), sorted({place[1] for place in counts})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained", width_ratios=[3, 2])
    stops = [(share, tuple(channel / 255 for channel in colour)) for share, colour in COLOURS]
    shares = [[found[n, depth] / counts[n, depth] for n in lengths] for depth in depths]
    left.imshow(shares, LinearSegmentedColormap.from_list("share", stops), aspect="auto", vmin=0, vmax=1)
    for j, row in enumerate(shares):
        for i, share in enumerate(row):
            left.text(i, j, f"{100 * share:.0f}", ha="center", va="center", color=INK)
    left.set_xticks(range(len(lengths)), [f"{n:,}" for n in lengths])
    left.set_yticks(range(len(depths)), [f"{depth:.0%}" for depth in depths])
    left.set_xlabel("length (tokens)")
    left.set_ylabel("depth of the needle")
    left.set_title(f"needles found, percent of {max(counts.values())} a cell", fontsize=8)
    rounds = gate["rounds"]
    change = [100 * one["judgement"]["short_change"] for one in rounds]
    right.plot(range(len(rounds)), change, "o-")
    right.axhspan(-100, 1, color="C2", alpha=0.12, zorder=0)
    right.axhline(0, color="grey", linewidth=1)
    right.set_ylim(min(-1.5, *change) - 0.5, max(1.5, *change) + 0.5)
    right.set_xticks(range(len(rounds)), [f"{one['row_tokens']:,}" for one in rounds])
    right.set_xlabel("after a round of this length")
    right.set_title("short text: bits a byte, percent (shaded: let through)", fontsize=8)
    right.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    main()

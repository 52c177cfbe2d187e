"""What a dataset is worth: scores of the model annealed on it less those of the one annealed without, seed by seed.

python -m benchmarks.valuation RUN         (RUN of recipes/studies/valuation.yaml, with a folder of each seed)
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from puna.base.files import read_json
from puna.lineage.report.compare import t_interval

ARMS = ("half", "annealed-default", "annealed-new")


def main() -> None:
    """Print the scores of the arms and the gain, with 95% t-intervals over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("run", type=Path, help="the run folder, with a folder of each seed")
    run = parser.parse_args().run
    seeds = sorted(run.glob("seed-*"))
    if len(seeds) < 2:
        parser.error(f"expected at least two seed-N folders in {run}, found {len(seeds)}; run the recipe with --seeds")
    scores = [{arm: _scores(seed / f"eval-{arm}") for arm in ARMS} for seed in seeds]
    print(f"| {len(seeds)} seeds | " + " | ".join(ARMS) + " | gain of the new data (95%) | by seed |")
    print("|---|---|---|---|---|---|")
    for task in scores[0]["half"]:
        means = [statistics.mean(one[arm][task] for one in scores) for arm in ARMS]
        gains = [one["annealed-new"][task] - one["annealed-default"][task] for one in scores]
        low, high = t_interval(gains)
        gain = f"{statistics.mean(gains):+.3f} ({low:+.3f} to {high:+.3f})"
        by_seed = ", ".join(f"{one:+.3f}" for one in gains)
        print(f"| {task} | " + " | ".join(f"{mean:.3f}" for mean in means) + f" | {gain} | {by_seed} |")


def _scores(folder: Path) -> dict[str, float]:
    scores: list[dict[str, Any]] = read_json(folder / "manifest.json")["scores"]
    return {score["task"]: score["value"] for score in scores}


if __name__ == "__main__":
    main()

"""Regressions from mixtures to losses on RegMix's published runs: fitted to 512 mixtures at 1M parameters, held against
256 unseen ones at 1M and at 60M.

python -m benchmarks.mix --data DIR [--numbers]
    (DIR/scaling-regmix; with LightGBM installed it stands beside; --numbers: how many proxies it takes)
"""

import argparse
import csv
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from puna.pretrain.mix.rank import spearman, spearman_interval
from puna.pretrain.mix.regress import FORMS, Float64, Regression

TARGET = "pile_cc"
FEW_DOMAINS = ("pile_cc", "wikipedia_en")
NUMBERS = (24, 32, 48, 64, 128, 256, 512)


def main() -> None:
    """Print Spearman's correlation of every form, on every domain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds scaling-regmix")
    parser.add_argument("--numbers", action="store_true", help="fit to fewer mixtures, and order those at 60M")
    options = parser.parse_args()
    folder = options.data / "scaling-regmix"
    domains, train = read_losses(folder / "train_pile_loss_1m.csv")
    shares = read_shares(folder / "train_mixture_1m.csv")
    tests = {
        size: (read_shares(folder / f"test_mixture_{size}.csv"), read_losses(folder / f"test_pile_loss_{size}.csv")[1])
        for size in ("1m", "60m")
    }
    if options.numbers:
        return _print_numbers(shares, train, *tests["60m"], [domains.index(name) for name in FEW_DOMAINS])
    forms: dict[str, Callable[[Float64, Float64], Regression]] = dict(FORMS)
    if importlib.util.find_spec("lightgbm"):
        forms["lightgbm"] = fit_lightgbm
    print("| domain | " + " | ".join(f"{form} {size}" for form in forms for size in tests) + " |")
    print("|---" * (1 + len(forms) * len(tests)) + "|")
    columns: list[list[float]] = []
    seconds = dict.fromkeys(forms, 0.0)
    for place, domain in enumerate(domains):
        cells = []
        for form, fit in forms.items():
            began = time.perf_counter()
            fitted = fit(shares, train[:, place])
            seconds[form] += time.perf_counter() - began
            cells += [spearman(fitted.predict(points), losses[:, place]) for points, losses in tests.values()]
        columns.append(cells)
        print(f"| {domain} | " + " | ".join(f"{100 * cell:.2f}" for cell in cells) + " |")
        if domain == TARGET:
            intervals = [spearman_interval(cell, len(tests["1m"][0])) for cell in cells]
            print("| ... its 95% | " + " | ".join(f"{100 * a:.2f} to {100 * b:.2f}" for a, b in intervals) + " |")
    print("| mean | " + " | ".join(f"{100 * cell:.2f}" for cell in np.mean(columns, 0)) + " |")
    print("\nseconds of fitting: " + ", ".join(f"{form} {spent:.1f}" for form, spent in seconds.items()))


def _print_numbers(shares: Float64, train: Float64, points: Float64, losses: Float64, places: list[int]) -> None:
    """Mean correlation of each form fitted to so many mixtures, over at most four disjoint draws of them."""
    print("| mixtures | " + " | ".join(FORMS) + " |\n" + "|---" * (1 + len(FORMS)) + "|")
    for number in NUMBERS:
        cells = []
        for fit in FORMS.values():
            draws = [slice(start, start + number) for start in range(0, min(4 * number, len(shares)), number)]
            fitted = [(fit(shares[draw], train[draw, place]), place) for draw in draws for place in places]
            cells.append(np.mean([spearman(one.predict(points), losses[:, place]) for one, place in fitted]))
        print(f"| {number} | " + " | ".join(f"{100 * cell:.1f}" for cell in cells) + " |")


def read_shares(path: Path) -> Float64:
    """Mixtures [N, D] of a table, made to sum to 1 (they are rounded to thousandths)."""
    with open(path, encoding="utf-8") as file:
        rows = [[float(value) for value in row[1:]] for row in list(csv.reader(file))[1:]]
    shares = np.array(rows)
    return shares / shares.sum(1, keepdims=True)


def read_losses(path: Path) -> tuple[list[str], Float64]:
    """Names of the domains, and losses [N, domains]."""
    with open(path, encoding="utf-8") as file:
        head, *rows = list(csv.reader(file))
    names = [name.removeprefix("metric/the_pile_").removesuffix("_val_loss") for name in head[1:]]
    return names, np.array([[float(value) for value in row[1:]] for row in rows])


def fit_lightgbm(shares: Float64, losses: Float64) -> Regression:
    """LightGBM as RegMix sets it, with the rounds that a fifth of the training mixtures asks for.

    RegMix stops by the mixtures it is then tested on; here no test mixture is seen.
    """
    import lightgbm

    held = np.arange(len(losses)) % 5 == 4
    settings = {"objective": "regression", "learning_rate": 0.01, "seed": 42, "verbosity": -1, "num_threads": 1}
    rest = lightgbm.Dataset(shares[~held], losses[~held])
    check, stop = lightgbm.Dataset(shares[held], losses[held]), lightgbm.early_stopping(3, verbose=False)
    rounds = lightgbm.train(settings, rest, 1000, valid_sets=[check], callbacks=[stop]).best_iteration
    fitted: Regression = lightgbm.train(settings, lightgbm.Dataset(shares, losses), rounds)
    return fitted


if __name__ == "__main__":
    main()

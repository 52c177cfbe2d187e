"""Table and figure of a study: what `recipes/studies/NAME.yaml` measured on its seeds.

python -m benchmarks.studies STUDY RUN [--out FOLDER]      STUDY: attention, experts, vocabulary, rows-real, ...
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import torch

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "puna", "font.size": 9})

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from benchmarks.interleave import compare  # noqa: E402
from puna.base.config import num_cores  # noqa: E402
from puna.base.files import read_json  # noqa: E402
from puna.base.machine import prepare_machine  # noqa: E402
from puna.lineage.report.compare import t_interval  # noqa: E402
from puna.model import Llama, LlamaConfig, SlotCache  # noqa: E402

BITS = "bits a byte of held-back curated pages (lower is better)"


@dataclass(frozen=True)
class Arm:
    """One pretraining stage over its seeds: its scores in the order of the seeds, and what it is made of."""

    name: str
    scores: dict[str, list[float]]
    seconds: float
    metrics: dict[str, Any]
    config: dict[str, Any]

    @property
    def bits(self) -> list[float]:
        """Held-back bits a byte, or the held-back loss: the first score."""
        return next(iter(self.scores.values()))

    @property
    def mean(self) -> float:
        return statistics.mean(self.bits)

    @property
    def ci95(self) -> tuple[float, float]:
        return t_interval(self.bits)

    @property
    def tokens(self) -> int:
        """Tokens of all steps, padding included."""
        return int(self.metrics["num_steps"]) * int(self.config["batch_rows"]) * int(self.config["row_tokens"])

    @property
    def active(self) -> int:
        """Parameters that a token uses."""
        return int(self.metrics.get("num_active_parameters", self.metrics["num_parameters"]))


def main() -> None:
    """Print the table of a study and draw its figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("run", type=Path, help="the run folder, with a folder of each seed")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="where the figure goes")
    options = parser.parse_args()
    names, draw = STUDIES[options.study]
    seeds = sorted(options.run.glob("seed-*"))
    if not seeds:
        parser.error(f"expected seed-N folders in {options.run}, found none; run the recipe with --seeds")
    asked = "" if options.study in BY_LOSS else "eval-"
    finished = [name for name in names if all((seed / f"{asked}{name}" / "manifest.json").exists() for seed in seeds)]
    if names[0] not in finished:
        wanted = f"{names[0]} and eval-{names[0]}" if asked else names[0]
        parser.error(f"expected {wanted} of every seed in {options.run}; run the recipe to its end")
    if missing := [name for name in names if name not in finished]:
        print(f"not finished on every seed, and left out: {', '.join(missing)}\n")
    arms = [_arm(name, seeds, bool(asked)) for name in finished]
    _print_table(arms, "bits a byte" if asked else "nats a token of held-back rows")
    _print_scores(arms)
    figure = draw(arms)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.study}.svg"
    figure.savefig(path, metadata={"Date": None})
    print(f"\n{path}")


def _arm(name: str, seeds: Sequence[Path], is_asked: bool = True) -> Arm:
    trained = [read_json(seed / name / "manifest.json") for seed in seeds]
    scores: dict[str, list[float]] = {}
    if not is_asked:
        scores["loss"] = [one["metrics"]["validation_loss"] for one in trained]
    for seed in seeds if is_asked else ():
        for score in read_json(seed / f"eval-{name}" / "manifest.json")["scores"]:
            # bits_per_byte/SOURCE is of one source of the pages; of an exam the task says more than the metric.
            is_bits = score["metric"].startswith("bits_per_byte")
            scores.setdefault(score["metric"] if is_bits else score["task"], []).append(score["value"])
    seconds = statistics.mean(one["seconds"] for one in trained)
    return Arm(name, scores, seconds, trained[0]["metrics"], trained[0]["config"])


def _print_table(arms: Sequence[Arm], unit: str) -> None:
    print(f"{len(arms[0].bits)} seeds; {unit} with 95% t-intervals; the difference to {arms[0].name} pair by pair\n")
    print(f"| | parameters (a token uses) | tokens | s | {unit} | each seed | less that of the first |")
    print("|---|---|---|---|---|---|---|")
    for arm in arms:
        used = f" ({arm.active:,})" if arm.active != arm.metrics["num_parameters"] else ""
        difference = _less(arm.bits, arms[0].bits)
        less = f"{statistics.mean(difference):+.3f} ({_range(t_interval(difference), '+.3f')})"
        cells = [arm.name, f"{arm.metrics['num_parameters']:,}{used}", f"{arm.tokens:,}", f"{arm.seconds:.0f}"]
        cells += [f"{arm.mean:.3f} ({_range(arm.ci95, '.3f')})", ", ".join(f"{bits:.3f}" for bits in arm.bits)]
        print(f"| {' | '.join([*cells, less if arm is not arms[0] else ''])} |")


def _print_scores(arms: Sequence[Arm]) -> None:
    """Every other score that all arms have: each arm's mean, its difference to the first pair by pair, each seed."""
    names = [name for name in arms[0].scores if all(name in arm.scores for arm in arms)][1:]
    if not names:
        return
    print(f"\n| | {' | '.join(arm.name for arm in arms)} |\n|{'---|' * (len(arms) + 1)}")
    for name in names:
        cells = []
        for arm in arms:
            values, less = arm.scores[name], _less(arm.scores[name], arms[0].scores[name])
            cell = f"{statistics.mean(values):.3f}"
            cell += f" {statistics.mean(less):+.3f} ({_range(t_interval(less), '+.3f')})" if arm is not arms[0] else ""
            cells.append(f"{cell}; {', '.join(f'{value:.3f}' for value in values)}")
        print(f"| {name.replace('bits_per_byte/', 'bits a byte, ')} | {' | '.join(cells)} |")


def _less(values: Sequence[float], first: Sequence[float]) -> list[float]:
    """Differences pair by pair."""
    return [a - b for a, b in zip(values, first, strict=True)]


def _range(interval: tuple[float, float], form: str) -> str:
    return f"{interval[0]:{form}} to {interval[1]:{form}}"


def _points(axes: Axes, places: Sequence[float], arms: Sequence[Arm], label: str | None = None, line: str = "") -> None:
    """Means with intervals, and each seed as a small point."""
    errors = [[arm.mean - arm.ci95[0] for arm in arms], [arm.ci95[1] - arm.mean for arm in arms]]
    drawn = axes.errorbar(places, [arm.mean for arm in arms], errors, fmt=f"o{line}", capsize=3, label=label)
    for place, arm in zip(places, arms, strict=True):
        axes.plot([place] * len(arm.bits), arm.bits, "_", color=drawn[0].get_color(), markersize=14, zorder=3)
    axes.grid(alpha=0.3)


def _attention(arms: Sequence[Arm]) -> Any:
    figure, (loss, cache, speed) = plt.subplots(1, 3, figsize=(9.5, 3), layout="constrained")
    heads = [arm.config["model"]["kv_heads"] for arm in arms]
    places = list(range(len(arms)))
    names = [
        f"{arm.name.upper()}\n{n} of {arms[0].config['model']['heads']}" for arm, n in zip(arms, heads, strict=True)
    ]
    _points(loss, places, arms)
    shape = arms[0].config["model"]
    size = [2 * 4 * shape["layers"] * n * shape["dim"] // shape["heads"] for n in heads]
    cache.bar(places, size)
    rates = _decode_speeds()
    speed.bar(places, [rate for _, rate in rates])
    for axes, title in ((loss, BITS), (cache, "bytes of cache a token, fp32"), (speed, "decoded tokens/s (see below)")):
        axes.set_xticks(places, names)
        axes.set_title(title, fontsize=8)
    print("\nDecoding, D512 L8 H8 F1408 V8192, 16 rows of 1,024 tokens:")
    for n, rate in rates:
        print(f"  {n} key/value heads: {rate:,.0f} tokens/s, cache {2 * 4 * 8 * n * 64:,} bytes a token")
    return figure


def _decode_speeds() -> list[tuple[int, float]]:
    """(key/value heads, tokens/s) of 8, 4 and 1 of 8 heads, in turn with 8: medians."""
    prepare_machine(num_cores())
    steps = {heads: _decoder(heads) for heads in (8, 4, 1)}
    rates = {heads: compare(steps[heads], steps[8], runs=7) for heads in (4, 1)}
    return [(8, statistics.median(one["peer"] for one in rates.values())), *((n, r["ours"]) for n, r in rates.items())]


def _decoder(kv_heads: int) -> Callable[[], float]:
    rows, context, steps = 16, 1024, 8
    model = Llama(LlamaConfig(512, 8, 8, kv_heads, 1408, 8192, max_position=2 * context)).eval()
    model.initialise(0, 0.02)
    cache = SlotCache(model.config, rows, context + steps)
    token = torch.zeros(rows, 1, dtype=torch.int64)

    @torch.inference_mode()
    def work() -> float:
        cache.lengths[:] = context  # keys and values of zeros cost what others cost
        for _ in range(steps):
            model(token, cache.extend(1), cache=cache)
        return float(rows * steps)

    return work


def _experts(arms: Sequence[Arm]) -> Any:
    figure, pair = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    by = (
        (lambda arm: arm.active, "parameters that a token uses"),
        (lambda arm: arm.metrics["num_parameters"], "parameters"),
    )
    for axes, (place, title) in zip(pair, by, strict=True):
        for arm in arms:
            _points(axes, [place(arm) / 1e6], [arm], arm.name)
        axes.set_xlabel(f"{title}, millions")
    pair[0].set_title(BITS, fontsize=8)
    pair[1].legend(fontsize=8)
    return figure


def _vocabulary(arms: Sequence[Arm]) -> Any:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for size, label in (("small", "D48 L2"), ("nano", "D128 L4")):
        own = [arm for arm in arms if arm.name.startswith(size)]
        _points(axes, [float(arm.name.split("-")[1]) for arm in own], own, label, line="-")
    axes.set_xscale("log", base=2)
    places = sorted({int(arm.name.split("-")[1]) for arm in arms})
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.set_xlabel("vocabulary; each line at equal arithmetic")
    axes.set_title(BITS, fontsize=8)
    axes.legend()
    return figure


def _selection(arms: Sequence[Arm]) -> Any:
    figure, axes = plt.subplots(figsize=(6.5, 3), layout="constrained")
    places = list(range(len(arms)))
    for place, arm in zip(places, arms, strict=True):
        _points(axes, [place], [arm])
    axes.set_xticks(places, [f"{arm.name}\n{arm.tokens / 1e6:.1f}M tokens" for arm in arms])
    axes.set_title(BITS, fontsize=8)
    return figure


def _curation(arms: Sequence[Arm]) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained", width_ratios=[2, 3])
    places = list(range(len(arms)))
    for place, arm in zip(places, arms, strict=True):
        _points(left, [place], [arm])
    left.set_xticks(places, [arm.name for arm in arms])
    left.set_title("bits a byte of clean pages that nobody learned", fontsize=8)
    parts = [name for name in arms[0].scores if name.startswith("bits_per_byte/")]
    for number, arm in enumerate(arms[1:], 1):
        less = [_less(arm.scores[part], arms[0].scores[part]) for part in parts]
        means = [statistics.mean(values) for values in less]
        errors = [mean - t_interval(values)[0] for mean, values in zip(means, less, strict=True)]
        shifted = [place + 0.2 * (number - len(arms) / 2) for place in range(len(parts))]
        right.errorbar(shifted, means, errors, fmt="o", capsize=3, color=f"C{number}", label=arm.name)
    right.axhline(0, color="C0", linewidth=1)
    right.set_yscale("symlog", linthresh=0.1)  # a language that was never seen costs bits, all else hundredths
    right.set_xticks(range(len(parts)), [_short(part) for part in parts], rotation=30, ha="right")
    right.set_title(f"less that of {arms[0].name}, by what the pages are (above the line: worse)", fontsize=8)
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    return figure


def _rows(arms: Sequence[Arm]) -> Any:
    figure, pair = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for axes, kind, tokens in zip(pair, ("short", "long"), ("256", "2,048"), strict=True):
        own = [arm for arm in arms if arm.name.startswith(kind)]
        for place, arm in enumerate(own):
            _points(axes, [place], [arm])
        names = [arm.name.removeprefix(kind).removeprefix("-") or "masked, best-fit" for arm in own]
        axes.set_xticks(range(len(own)), names)
        axes.set_title(f"rows of {tokens} tokens: {BITS}", fontsize=7)
    return figure


def _float8(arms: Sequence[Arm]) -> Any:
    figure, (loss, less) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for place, arm in enumerate(arms):
        _points(loss, [place], [arm])
    loss.set_xticks(range(len(arms)), [arm.name for arm in arms])
    loss.set_title("held-back loss, nats a token (lower is better)", fontsize=8)
    for seed, pair in enumerate(zip(*(arm.bits for arm in arms), strict=True)):
        less.plot([seed], [pair[1] - pair[0]], "o", color="C1")
    less.axhline(0, color="C0", linewidth=1)
    less.set_xticks(range(len(arms[0].bits)), [f"seed {n + 1}" for n in range(len(arms[0].bits))])
    less.set_title(f"{arms[1].name} less {arms[0].name}, nats a token", fontsize=8)
    less.grid(alpha=0.3)
    return figure


def _short(part: str) -> str:
    return part.removeprefix("bits_per_byte/").removeprefix("text-").replace("-", " ")


_SIZES = [f"{size}-{vocabulary}" for size in ("small", "nano") for vocabulary in (512, 1024, 2048, 3072)]
STUDIES: dict[str, tuple[list[str], Callable[[Sequence[Arm]], Any]]] = {
    "attention": (["mha", "gqa", "mqa"], _attention),
    "experts": (["dense-compute", "experts", "dense-parameters"], _experts),
    "vocabulary": (_SIZES, _vocabulary),
    "rows-real": ([f"{kind}{way}" for kind in ("short", "long") for way in ("", "-unmasked", "-concatenated")], _rows),
    "selection": (["dirty", "selected", "dirty-longer", "reference", "curated"], _selection),
    "curation": (["filtered", "raw", "code-x4", "no-chinese"], _curation),
    "curation-real": (["filtered", "raw"], _curation),
    "quality": (["filtered", "classified"], _curation),
    "quality-real": (["filtered", "classified"], _curation),
    "float8-real": (["bf16", "float8"], _float8),
}
BY_LOSS = {"float8-real"}
"""Studies whose arms are told apart by their held-back loss, not by a stage that evaluates them."""

if __name__ == "__main__":
    main()

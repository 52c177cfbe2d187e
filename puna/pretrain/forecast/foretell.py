"""A recipe whose large run is to be known before it is paid for: which of its runs are foretold, and a ladder derived
from a run for recipes that have none.

    tokens, pretrain  ->  tokens, ladder, forecast, pretrain (with the input forecast)

N: parameters that a token meets, D: tokens, C = 6 N D.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from puna.base.config import validate
from puna.base.errors import ConfigError
from puna.lineage.recipe import Recipe, StageSpec
from puna.lineage.rounds import num_rounds
from puna.pretrain.first import ShapeConfig, model_config
from puna.pretrain.forecast.ladder import LadderConfig, Rung, rungs_of
from puna.pretrain.run import PretrainConfig
from puna.tokenizer import Tokenizer
from puna.tokenizer.train import TokenizerConfig

_FLOPS_PER_WEIGHT = 6
_BETWEEN_BUDGETS = 2.0
_AROUND = 2.0
_RATIOS = 16.0
_OF_THE_RUN = ("num_tokens", "batch_ramp", "forecast_patience")  # and not of the shorter ones of a ladder
_LEAST_RUNS = 6


@dataclass(frozen=True)
class Foretold:
    """A stage of kind forecast, and the pretrain stage that reads it; None if no stage does."""

    forecast: str
    run: str | None


@dataclass(frozen=True)
class Cost:
    """What a ladder costs: its runs, their 6 N D in all and that of the runs it is for, and its fewest steps."""

    stage: str
    num_runs: int
    flops: float
    target_flops: float
    fewest_steps: int

    @property
    def share(self) -> float:
        """Of the compute of the runs that it foretells."""
        return self.flops / self.target_flops if self.target_flops else math.inf


@dataclass(frozen=True)
class _Vocabulary:
    """What a shape needs of a tokenizer that is not trained yet."""

    vocab_size: int


def foretold_runs(recipe: Recipe) -> list[Foretold]:
    """Every stage of kind forecast with each pretrain stage that has it as its input."""
    found = []
    for name, spec in recipe.stages.items():
        if spec.kind != "forecast":
            continue
        runs = [run for run, one in recipe.stages.items() if one.kind == "pretrain" and name in _sources(recipe, one)]
        found += [Foretold(name, run) for run in runs] or [Foretold(name, None)]
    return found


def only(recipe: Recipe, wanted: Iterable[str]) -> Recipe:
    """The recipe with the stages `wanted` and all that these are made of, in its order."""
    needed, waiting = set[str](), list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += _sources(recipe, recipe.stages[name])
    stages = {name: spec for name, spec in recipe.stages.items() if name in needed}
    return recipe.model_copy(update={"stages": stages, "rounds": num_rounds(list(stages))})


def with_ladder(recipe: Recipe, num_sizes: int = 5, num_budgets: int = 4, times: float = 10.0) -> Recipe:
    """The recipe with a ladder and a forecast before its first pretrain stage, which has the forecast as an input.

    Budgets double, the largest is 1 / `times` of the run's compute. Sizes are the run's shape made narrower, evenly
    spaced in log N over a factor of two around what each budget would train if N and D shrank alike; none is wider than
    the run. Runs of more than 16 times or less than 1/16 of the run's tokens a parameter are left out. Batch, rates and
    schedule are the run's; the weights begin with a spread that grows as 1 / sqrt(width). The loss is measured on the
    rows that pretraining measures its own on.

    Raises ConfigError if no stage pretrains from nothing, or the shape has not so many widths.
    """
    name = next((name for name, spec in recipe.stages.items() if spec.kind == "pretrain"), None)
    if name is None:
        raise ConfigError(f"{recipe.name}: expected a stage of kind pretrain, came {', '.join(recipe.stages)}")
    if num_sizes < 2 or num_budgets < 2 or not times >= 1:
        raise ConfigError(
            "expected --sizes and --budgets of 2 or more and --times of 1 or more, came "
            f"{num_sizes}, {num_budgets} and {times:g}"
        )
    spec = recipe.stages[name]
    if "forecast" in spec.inputs:
        raise ConfigError(f"{name}: expected a run that nothing is foretold of, came one with the input forecast")
    for given in ("model", "dense", "reference"):
        if given in spec.inputs:
            raise ConfigError(f"{name}: expected a run that begins with fresh weights, came one with the input {given}")
    target = validate(PretrainConfig, spec.config, name)
    vocabulary = _Vocabulary(_vocab_size(recipe, name))
    ladder = _ladder(target, spec.config, vocabulary, num_sizes, num_budgets, times)
    made = rungs_of(validate(LadderConfig, ladder, "ladder"), cast(Tokenizer, vocabulary))
    if len(made) < _LEAST_RUNS:
        raise ConfigError(
            f"ladder: expected at least {_LEAST_RUNS} runs to fit a law to, came {len(made)}; more --sizes"
        )
    names = [_free(recipe, "ladder"), _free(recipe, "forecast")]
    inputs = {key: value for key, value in spec.inputs.items() if key in ("tokens", "tokenizer", "mix")}
    forecast = {"parameters": _met(target.model, vocabulary), "num_tokens": _num_tokens(target)}
    stages: dict[str, StageSpec] = {}
    for key, value in recipe.stages.items():
        if key == name:
            stages[names[0]] = StageSpec(kind="ladder", inputs=inputs, config=ladder)
            stages[names[1]] = StageSpec(kind="forecast", inputs={"ladder": names[0]}, config=forecast)
            value = value.model_copy(update={"inputs": {**value.inputs, "forecast": names[1]}})
        stages[key] = value
    return recipe.model_copy(update={"stages": stages})


def ladder_costs(recipe: Recipe) -> list[Cost]:
    """What each ladder of the recipe costs, beside the runs that its forecasts are for.

    Raises ConfigError if the recipe does not say how large a ladder's vocabulary is.
    """
    costs = []
    for name, spec in recipe.stages.items():
        if spec.kind != "ladder":
            continue
        rungs = _rungs(recipe, name)
        readers = [one for one in recipe.stages.values() if one.kind == "forecast" and name in _sources(recipe, one)]
        targets = {(one.config.get("parameters", 0), one.config.get("num_tokens", 0)) for one in readers}
        target_flops = sum(float(_FLOPS_PER_WEIGHT * n * d) for n, d in targets)
        fewest = min(rung.config.num_tokens // _batch_tokens(rung.config) for rung in rungs)
        costs.append(Cost(name, len(rungs), sum(rung.flops for rung in rungs), target_flops, fewest))
    return costs


def _rungs(recipe: Recipe, stage: str) -> list[Rung]:
    config = validate(LadderConfig, recipe.stages[stage].config, stage)
    return rungs_of(config, cast(Tokenizer, _Vocabulary(_vocab_size(recipe, stage))))


def _ladder(
    target: PretrainConfig,
    written: dict[str, Any],
    vocabulary: _Vocabulary,
    num_sizes: int,
    num_budgets: int,
    times: float,
) -> dict[str, Any]:
    parameters, tokens = _met(target.model, vocabulary), _num_tokens(target)
    flops, ratio = _FLOPS_PER_WEIGHT * parameters * tokens, tokens / parameters
    budgets = [flops / times / _BETWEEN_BUDGETS**step for step in reversed(range(num_budgets))]
    # Were N and D to shrink alike, a budget C' would train sqrt(C' / C) of the parameters.
    low, high = (math.sqrt(budget / flops) for budget in (budgets[0], budgets[-1]))
    wanted = parameters * np.geomspace(low / _AROUND, min(1.0, high * _AROUND), num_sizes)
    scales = [_scale(target.model, vocabulary, size) for size in wanted.tolist()]
    if len({_met(_scaled(target.model, scale), vocabulary) for scale in scales}) < num_sizes:
        raise ConfigError(
            f"--sizes: expected as many different widths as {target.model.dim} x {target.model.scale:g} with "
            f"{target.model.kv_heads} key/value heads can be made narrower to, came {num_sizes}; ask for fewer"
        )
    shape = {key: value for key, value in (written.get("model") or {}).items() if key not in ("scale", "init_std")}
    sizes = [{**shape, "scale": scale, "init_std": _spread(target.model, scale, vocabulary)} for scale in scales]
    left = {key: value for key, value in written.items() if key not in _OF_THE_RUN}
    return {
        "flops": [_rounded(budget, 4) for budget in budgets],
        "min_ratio": _rounded(ratio / _RATIOS, 3),
        "max_ratio": _rounded(ratio * _RATIOS, 3),
        "sizes": sizes,
        "train": left,
    }


def _scale(model: ShapeConfig, vocabulary: _Vocabulary, wanted: float) -> float:
    """The scale, at most the model's own, whose parameters are nearest to `wanted`."""
    scales = sorted({_rounded(float(scale), 3) for scale in np.geomspace(0.01, 1.0, 400) * model.scale})
    return min(scales, key=lambda scale: (abs(math.log(_met(_scaled(model, scale), vocabulary) / wanted)), -scale))


def _spread(model: ShapeConfig, scale: float, vocabulary: _Vocabulary) -> float:
    widths = [model_config(_scaled(model, one), cast(Tokenizer, vocabulary)).dim for one in (scale, model.scale)]
    return _rounded(model.init_std * math.sqrt(widths[1] / widths[0]), 3)


def _scaled(model: ShapeConfig, scale: float) -> ShapeConfig:
    return model.model_copy(update={"scale": scale})


def _met(model: ShapeConfig, vocabulary: _Vocabulary) -> int:
    return model_config(model, cast(Tokenizer, vocabulary)).num_met_parameters()


def _batch_tokens(config: PretrainConfig) -> int:
    return config.batch_rows * config.row_tokens


def _num_tokens(config: PretrainConfig) -> int:
    """What the run really learns: whole batches."""
    return config.steps().num_rows * config.row_tokens


def _vocab_size(recipe: Recipe, stage: str) -> int:
    """Of the tokenizer that a stage reads: as its stage is told to make it, or of the folder it lies in."""
    reference = recipe.stages[stage].inputs.get("tokenizer")
    if not isinstance(reference, str):
        raise ConfigError(f"{stage}.inputs.tokenizer: expected one tokenizer, came {reference or 'none'}")
    source = recipe.source_of(reference)
    if source is None:
        return Tokenizer.load(Path(reference).expanduser()).vocab_size
    spec = recipe.stages[source[0]]
    if spec.kind == "tokenizer":
        return validate(TokenizerConfig, spec.config, source[0]).vocab_size
    return _vocab_size(recipe, source[0])  # a model comes with the tokenizer that it was made with


def _sources(recipe: Recipe, spec: StageSpec) -> list[str]:
    """The stages that a stage reads."""
    references = [one for value in spec.inputs.values() for one in ([value] if isinstance(value, str) else value)]
    return [source[0] for source in map(recipe.source_of, references) if source]


def _free(recipe: Recipe, name: str) -> str:
    while name in recipe.stages:
        name = f"derived-{name}"
    return name


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")

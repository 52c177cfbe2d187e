"""Ladders derived from a run: which runs, what they cost, and what of a recipe is run."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.config import validate
from puna.base.errors import ConfigError
from puna.lineage.recipe import Recipe
from puna.pretrain.forecast.foretell import Foretold, foretold_runs, ladder_costs, only, with_ladder
from puna.pretrain.forecast.ladder import LadderConfig, rungs_of
from tests.pretrain.forecast.test_ladder import TOKENIZER

TRAIN: dict[str, Any] = {
    "num_tokens": 1_000_000,
    "row_tokens": 32,
    "batch_rows": 4,
    "lr": 0.01,
    "model": {"dim": 128, "layers": 2, "heads": 4, "kv_heads": 2, "ffn_dim": 256, "max_position": 64, "init_std": 0.06},
    "schedule": {"warmup_steps": 4},
}
TOKENIZE = {"kind": "tokenizer", "inputs": {"documents": "a"}, "config": {"vocab_size": 272, "num_special": 16}}


def recipe(**changes: Any) -> Recipe:
    inputs = {"tokens": "tokens", "tokenizer": "tokenizer"}
    stages: dict[str, Any] = {
        "tokenizer": TOKENIZE,
        "tokens": {"kind": "tokens", "inputs": {"documents": "a", "tokenizer": "tokenizer"}},
        "baselines": {"kind": "baselines", "inputs": {"exams": "b"}},
        "pretrain": {"kind": "pretrain", "inputs": inputs, "config": {**TRAIN, **changes}},
        "export": {"kind": "export", "inputs": {"model": "pretrain"}},
    }
    return Recipe.from_values({"name": "small", "stages": stages})


def ladder_of(made: Recipe) -> LadderConfig:
    return validate(LadderConfig, made.stages["ladder"].config, "ladder")


@settings(max_examples=25)
@given(st.integers(4, 6), st.integers(3, 5), st.floats(2, 30))
def test_budgets_sizes_and_cost_are_as_asked(num_sizes: int, num_budgets: int, times: float) -> None:
    made = with_ladder(recipe(), num_sizes, num_budgets, times)
    assert list(made.stages) == ["tokenizer", "tokens", "baselines", "ladder", "forecast", "pretrain", "export"]
    config, forecast = ladder_of(made), made.stages["forecast"].config
    target = 6 * forecast["parameters"] * forecast["num_tokens"]
    assert len(config.flops) == num_budgets and len(config.sizes) == num_sizes
    assert config.flops[-1] == pytest.approx(target / times, rel=1e-3)
    assert [b / a for a, b in pairwise(config.flops)] == pytest.approx([2] * (num_budgets - 1), rel=1e-3)
    rungs = rungs_of(config, TOKENIZER)
    (cost,) = ladder_costs(made)
    assert cost.num_runs == len(rungs) >= 6
    assert cost.flops == sum(6 * rung.parameters * rung.config.num_tokens for rung in rungs)
    assert cost.target_flops == target and cost.share == pytest.approx(cost.flops / target)
    assert cost.fewest_steps == min(rung.config.num_tokens // 128 for rung in rungs)
    for rung in rungs:
        # A factor of two around what each budget would train if N and D shrank alike, never wider than the run.
        assert rung.parameters <= forecast["parameters"] and rung.config.model.scale <= 1
        assert rung.config.batch_rows == 4 and rung.config.lr == 0.01 and rung.config.schedule.kind == "wsd"


def test_the_forecast_is_of_the_very_run_and_wired_into_it() -> None:
    made = with_ladder(recipe(num_tokens=1_000_100))
    shape = 272 * 128 + 2 * (2 * 128 * 32 * (4 + 2) + 3 * 128 * 256 + 2 * 128) + 128
    assert made.stages["forecast"].config == {"parameters": shape, "num_tokens": 1_000_100 // 128 * 128}
    assert made.stages["forecast"].inputs == {"ladder": "ladder"}
    assert made.stages["ladder"].inputs == {"tokens": "tokens", "tokenizer": "tokenizer"}
    assert made.stages["pretrain"].inputs["forecast"] == "forecast"
    assert foretold_runs(made) == [Foretold("forecast", "pretrain")]


def test_narrower_sizes_are_evenly_spaced_and_begin_with_wider_weights() -> None:
    made = with_ladder(recipe())
    rungs = {rung.parameters: rung for rung in rungs_of(ladder_of(made), TOKENIZER)}
    sizes, whole = sorted(rungs), made.stages["forecast"].config["parameters"]
    assert len(sizes) == 5
    assert sizes[-1] == pytest.approx(whole * 2 / 10**0.5, rel=0.1) and sizes[0] == pytest.approx(
        whole / 2 / 80**0.5, rel=0.1
    )
    steps = [b / a for a, b in pairwise(sizes)]
    assert max(steps) / min(steps) < 1.2
    for size in sizes:
        model = rungs[size].config.model
        assert model.init_std == pytest.approx(0.06 * model.scale**-0.5, rel=0.1)


def test_a_derived_recipe_written_and_read_is_the_same() -> None:
    made = with_ladder(recipe())
    again = Recipe.from_values(made.model_dump(mode="json", exclude={"variables", "extends"}))
    assert again == made


def test_only_what_a_stage_is_made_of_is_run() -> None:
    made = with_ladder(recipe())
    assert list(only(made, ["pretrain"]).stages) == ["tokenizer", "tokens", "ladder", "forecast", "pretrain"]
    assert list(only(made, ["forecast"]).stages) == ["tokenizer", "tokens", "ladder", "forecast"]


def test_names_that_are_taken_are_not_taken_again() -> None:
    values = recipe().model_dump(mode="json")
    values["stages"] = {"ladder": {**TOKENIZE, "kind": "tokens"}} | values["stages"]
    made = with_ladder(Recipe.from_values(values))
    assert made.stages["derived-ladder"].kind == "ladder" and made.stages["ladder"].kind == "tokens"
    assert made.stages["forecast"].inputs == {"ladder": "derived-ladder"}


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"num_sizes": 1}, "--sizes and --budgets of 2 or more and --times of 1 or more, came 1, 4 and 10"),
        ({}, {"times": 0.5}, "came 5, 4 and 0.5"),
        ({}, {"num_sizes": 2, "num_budgets": 2}, "expected at least 6 runs to fit a law to, came"),
        ({"model": {**TRAIN["model"], "dim": 16, "ffn_dim": 32}}, {"num_sizes": 9}, "ask for fewer"),
    ],
)
def test_what_gives_no_ladder_is_refused(changes: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_ladder(recipe(**changes), **arguments)


def test_a_run_that_goes_on_from_a_model_and_a_recipe_without_runs_are_refused() -> None:
    values = recipe().model_dump(mode="json")
    values["stages"]["pretrain"]["inputs"]["model"] = "folder"
    with pytest.raises(ConfigError, match="begins with fresh weights, came one with the input model"):
        with_ladder(Recipe.from_values(values))
    values["stages"]["pretrain"]["inputs"]["forecast"] = "forecast.json"
    with pytest.raises(ConfigError, match="nothing is foretold of, came one with the input forecast"):
        with_ladder(Recipe.from_values(values))
    del values["stages"]["pretrain"], values["stages"]["export"]
    with pytest.raises(ConfigError, match="expected a stage of kind pretrain, came tokenizer, tokens, baselines"):
        with_ladder(Recipe.from_values(values))
    values = recipe().model_dump(mode="json")
    del values["stages"]["pretrain"]["inputs"]["tokenizer"]
    with pytest.raises(ConfigError, match="expected one tokenizer, came none"):
        with_ladder(Recipe.from_values(values))


def test_a_mix_is_the_ladders_too() -> None:
    made = recipe()
    spec = made.stages["pretrain"]
    mixed = spec.model_copy(update={"inputs": {**spec.inputs, "mix": "mix"}})
    made = made.model_copy(update={"stages": {**made.stages, "pretrain": mixed}})
    assert with_ladder(made).stages["ladder"].inputs == {"tokens": "tokens", "tokenizer": "tokenizer", "mix": "mix"}
    assert "mix" not in with_ladder(recipe()).stages["ladder"].inputs

"""The studies of ladders: their runs are the ones that are foretold, and they cost what they say."""

from pathlib import Path
from typing import Any

import pytest

from puna.base.config import validate
from puna.base.files import read_json
from puna.lineage import Recipe
from puna.model.config import LlamaConfig
from puna.scaling.forecast import forecast as foretell
from puna.scaling.forecast import read_ladders
from puna.stages import STAGES as KINDS

RECIPES = Path(__file__).parents[2] / "recipes"
VOCABULARY = {"ladder-nano": 2048, "ladder-mix": 2048, "ladder-real": 1024}


def settings_of(name: str) -> dict[str, Any]:
    recipe = Recipe.load(RECIPES / f"{name}.yaml", {"data": "."} if name.endswith("real") else None)
    return {
        stage: (spec, validate(KINDS[spec.kind].settings(), spec.config, stage))
        for stage, spec in recipe.stages.items()
    }


def parameters_of(shape: Any, vocab_size: int) -> int:
    sizes = shape.model_dump(exclude={"preset", "scale", "init_std"})
    return LlamaConfig(vocab_size=vocab_size, **sizes).num_met_parameters()


@pytest.mark.parametrize("name", list(VOCABULARY))
def test_every_forecast_is_of_the_run_that_is_given_it(name: str) -> None:
    stages = settings_of(f"studies/{name}")
    foretold = [(stage, spec.inputs["forecast"]) for stage, (spec, _) in stages.items() if "forecast" in spec.inputs]
    assert foretold
    for stage, forecast in foretold:
        spec, config = stages[stage]
        if spec.kind != "pretrain":
            continue
        batch = config.batch_rows * config.row_tokens
        made = stages[forecast][1]
        assert made.num_tokens == config.num_tokens // batch * batch
        assert made.parameters == parameters_of(config.model, VOCABULARY[name])
        train = stages[str(stages[forecast][0].inputs["ladder"])][1].train
        apart = {"num_tokens", "model"}
        assert train.model_dump(exclude=apart) == config.model_dump(exclude=apart)


def test_the_ladder_of_nano_is_nano_at_less_than_half_of_its_compute() -> None:
    nano, study = settings_of("nano"), settings_of("studies/ladder-nano")
    for stage in ("world", "curate", "label", "classify", "filter", "tokenizer", "tokens"):
        assert study[stage] == nano[stage]
    ladder, pretrain = study["ladder"][1], nano["pretrain"][1]
    apart = {"num_tokens", "forecast_required", "evaluate"}
    learned, of_nano = (one.resolved(hardware=False) for one in (ladder.train, pretrain))
    assert {name: value for name, value in learned.items() if name not in apart} == {
        name: value for name, value in of_nano.items() if name not in apart
    }
    assert len(ladder.sizes) >= 4
    assert max(ladder.flops) <= 6 * parameters_of(pretrain.model, 2048) * pretrain.num_tokens / 2


def test_nano_reads_kept_ladders_of_other_seeds_and_foretells_its_own_run() -> None:
    nano, study = settings_of("nano"), settings_of("studies/ladder-nano")
    spec, config = nano["forecast"]
    pretrain = nano["pretrain"][1]
    assert (config.unit, config.parameters) == ("byte", parameters_of(pretrain.model, 2048))
    batch = pretrain.batch_rows * pretrain.row_tokens
    assert config.num_tokens == pretrain.num_tokens // batch * batch
    assert not pretrain.forecast_required
    ladders = [read_json(Path(place)) for place in spec.inputs["ladder"]]
    assert len({ladder["seed"] for ladder in ladders} - {0}) == len(ladders)
    sizes = {parameters_of(size, 2048) for size in study["ladder"][1].sizes}
    for ladder in ladders:
        assert {row["parameters"] for row in ladder["runs"]} == sizes
        assert 3 < ladder["text"]["bytes_per_token"] < 3.5
    made = foretell(
        read_ladders([Path(place) for place in spec.inputs["ladder"]], "byte"), config.parameters, config.num_tokens
    )
    assert 0.1 < made["interval"][0] < made["loss"] < made["interval"][1] < 0.6

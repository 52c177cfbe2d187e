"""Scores on the way are those of the stage `evaluate` on the same weights, and training does not notice."""

import json
from pathlib import Path

import pytest
import torch

from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.evals import run as stage
from puna.evals.during import make
from puna.model import load_model
from puna.tokenizer import Tokenizer
from tests.evals.test_evaluate_stage import TASKS, config, inputs  # noqa: F401


def test_they_are_those_of_the_stage_on_the_same_weights(
    inputs: Inputs,  # noqa: F811
    tmp_path: Path,
    tokenizer: Tokenizer,
) -> None:
    out = StageOutput(tmp_path / "out")
    stage.run(config(tasks=TASKS[:2]), inputs, out)
    expected = {one["task"]: one["value"] for one in json.loads((out.path / "scores.json").read_text())}
    given = Inputs({"tokenizer": inputs.one("model"), "exams": inputs.one("exams")})
    evaluate, model = make({"tasks": TASKS[:2], "style": "base"}, given), load_model(inputs.one("model")).train()
    before, drawn = {name: one.clone() for name, one in model.state_dict().items()}, torch.get_rng_state()
    assert evaluate(model) == {name: expected[name] for name in ("village-choice", "village-word")}
    assert model.training and torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(one.requires_grad and not one.is_inference() for one in model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert evaluate(model)["village-word"] == 0.0  # it is asked anew, and says nothing


def test_wrong_tasks_and_missing_inputs_are_told_before_training(inputs: Inputs) -> None:  # noqa: F811
    given = Inputs({"tokenizer": inputs.one("model")})
    with pytest.raises(DataError, match='expected an input "exams"'):
        make({"tasks": TASKS[:1]}, given)
    with pytest.raises(ConfigError, match="evaluate.tasks.0.kind"):
        make({"tasks": [{**TASKS[0], "kind": "exma"}]}, given)

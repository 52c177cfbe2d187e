"""Exams of a ladder's models: likelihoods as a full forward pass gives them, and what was foretold beside what came."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.evals import ladder as stage
from puna.evals import run as evaluate
from puna.model import Llama, LlamaConfig, load_model, save_model
from puna.tokenizer import Tokenizer

CHOICE = {"name": "village-choice", "kind": "exam", "input": "exams"}
WIDTHS = {"a": 16, "b": 32}


@pytest.fixture
def places(tmp_path: Path, tokenizer: Tokenizer) -> dict[str, Path]:
    """A ladder of two random models, and an exam of items with three and with four options."""
    rows = []
    for name, dim in WIDTHS.items():
        config = LlamaConfig(
            dim=dim, layers=1, heads=2, kv_heads=1, ffn_dim=32, vocab_size=tokenizer.vocab_size, max_position=96
        )
        save_model(Llama(config, seed=dim), tokenizer, tmp_path / "ladder/models" / name)
        rows.append({"name": name, "parameters": config.num_met_parameters(), "tokens": 100 * dim, "loss": 3.0})
    write_json(tmp_path / "ladder/ladder.json", {"tokenizer": tokenizer.fingerprint, "seed": 0, "runs": rows})
    exams = tmp_path / "exams"
    exams.mkdir()
    choices = ["an owl", "a hen", "the old cow", "goats"]
    items = [
        {"id": f"c{i}", "task": "village-choice", "kind": "choice", "question": f"Question {i}?",
         "choices": choices[: 3 + i % 2], "answer": i % 3}
        for i in range(10)
    ]  # fmt: skip
    number = [{"id": "n", "task": "village-word", "kind": "number", "question": "1 + 1?", "answer": "2"}]
    for name, own in (("village-choice", items), ("village-word", number)):
        (exams / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    return {"ladder": tmp_path / "ladder", "exams": exams}


def config(*tasks: dict[str, Any]) -> stage.EvaluateLadderConfig:
    return validate(stage.EvaluateLadderConfig, {"tasks": list(tasks or (CHOICE,))}, "evaluate-ladder")


def test_likelihoods_accuracy_and_chance_by_their_definitions(
    places: dict[str, Path], tmp_path: Path, tokenizer: Tokenizer
) -> None:
    out = StageOutput(tmp_path / "out")
    stage.run(config(), Inputs(dict(places)), out)
    made = read_json(out.path / "downstream.json")
    task = made["tasks"]["village-choice"]
    assert task["chance"] == pytest.approx((5 / 3 + 5 / 4) / 10)
    assert [row["name"] for row in made["runs"]] == list(WIDTHS)
    items = [json.loads(line) for line in (places["exams"] / "village-choice.jsonl").read_text().splitlines()]
    for row in made["runs"]:
        model = load_model(places["ladder"] / "models" / row["name"])
        means, right = [], 0
        for item in items:
            per_byte = [
                log_likelihood(model, tokenizer, item["question"], choice) / len(f" {choice}".encode())
                for choice in item["choices"]
            ]
            means.append(-per_byte[item["answer"]])
            right += max(range(len(per_byte)), key=per_byte.__getitem__) == item["answer"]
        measured = row["tasks"]["village-choice"]
        assert measured["nats_per_byte"] == pytest.approx(sum(means) / 10, rel=1e-5)
        assert measured["accuracy"] == right / 10


def log_likelihood(model: Llama, tokenizer: Tokenizer, question: str, choice: str) -> float:
    prompt = tokenizer.encode(f"Question: {question}\nAnswer:", bos=True)
    ids = prompt + tokenizer.encode(f" {choice}")
    with torch.no_grad():
        logs = model(torch.tensor([ids])).double().log_softmax(-1)[0]
    return math.fsum(float(logs[i - 1, ids[i]]) for i in range(len(prompt), len(ids)))


def test_a_killed_stage_asks_no_model_twice(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StageOutput(tmp_path / "whole")
    stage.run(config(), Inputs(dict(places)), whole)
    asked: list[str] = []
    load = stage.load_model

    def killed_at_b(folder: Path) -> Llama:
        asked.append(folder.name)
        if asked == ["a", "b"]:
            raise KeyboardInterrupt
        return load(folder)

    monkeypatch.setattr(stage, "load_model", killed_at_b)
    with pytest.raises(KeyboardInterrupt):
        stage.run(config(), Inputs(dict(places)), StageOutput(tmp_path / "killed"))
    out = StageOutput(tmp_path / "killed")
    stage.run(config(), Inputs(dict(places)), out)
    assert asked == ["a", "b", "b"]
    assert read_json(out.path / "downstream.json") == read_json(whole.path / "downstream.json")


def test_what_cannot_be_asked_is_refused(places: dict[str, Path], tmp_path: Path) -> None:
    for task in ({**CHOICE, "written": True}, {"name": "bytes", "kind": "bits_per_byte", "input": "exams"}):
        with pytest.raises(ConfigError, match="tasks of several choices"):
            config(task)
    with pytest.raises(DataError, match="village-word: expected a task of several choices"):
        stage.run(config({**CHOICE, "name": "village-word"}), Inputs(dict(places)), StageOutput(tmp_path / "a"))
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "ladder.json").write_text((places["ladder"] / "ladder.json").read_text())
    with pytest.raises(DataError, match="set keep_models of the ladder to true"):
        stage.run(config(), Inputs({**places, "ladder": bare}), StageOutput(tmp_path / "b"))


def forecast_of(path: Path, parameters: int, settings: dict[str, Any], accuracy: tuple[float, float, float]) -> Path:
    value, *ends = accuracy
    one = {"likelihood": 2.0, "likelihood_interval": [1.0, 3.0], "accuracy": value, "accuracy_interval": ends}
    tasks = {"village-choice": {**one, "chance": 0.3, "settings": settings}}
    write_json(path, {"parameters": parameters, "tasks": tasks})
    return path


def test_evaluation_shows_what_was_foretold_beside_what_came(places: dict[str, Path], tmp_path: Path) -> None:
    out = StageOutput(tmp_path / "ladder-exams")
    stage.run(config(), Inputs(dict(places)), out)
    row = read_json(out.path / "downstream.json")["runs"][1]
    settings = read_json(out.path / "downstream.json")["tasks"]["village-choice"]["settings"]
    came = row["tasks"]["village-choice"]
    given = {"model": places["ladder"] / "models/b", "exams": places["exams"]}
    asked = {"tasks": [{**CHOICE, "headline": True}]}

    def evaluated(name: str, forecast: Path, **changes: Any) -> StageOutput:
        made = StageOutput(tmp_path / name)
        settings = validate(evaluate.EvaluateConfig, asked | changes, "evaluate")
        evaluate.run(settings, Inputs({**given, "forecast": forecast}), made)
        return made

    inside = evaluated("in", forecast_of(tmp_path / "f.json", row["parameters"], settings, (0.3, 0.0, 1.0)))
    assert inside.metrics["village-choice/predicted_accuracy"] == 0.3
    assert inside.metrics["village-choice/nats_per_byte"] == pytest.approx(came["nats_per_byte"])
    assert inside.metrics["village-choice/accuracy_inside"] == 1
    cells = inside.panels[-1]["rows"][0]
    assert cells[4:] == ["0.300 (0.000 to 1.000)", came["accuracy"], "inside"]
    outside = evaluated("out", forecast_of(tmp_path / "g.json", row["parameters"], settings, (2.0, 1.5, 3.0)))
    assert outside.metrics["village-choice/accuracy_inside"] == 0
    assert outside.panels[-1]["rows"][0][-1] == "outside"

    with pytest.raises(ConfigError, match="of this model, of .* parameters, came one of 7"):
        evaluated("size", forecast_of(tmp_path / "h.json", 7, settings, (0.3, 0, 1)))
    other = forecast_of(tmp_path / "i.json", row["parameters"], {**settings, "normalise": "none"}, (0.3, 0, 1))
    with pytest.raises(ConfigError, match="asked here as of the ladder's models"):
        evaluated("settings", other)
    good = forecast_of(tmp_path / "j.json", row["parameters"], settings, (0.3, 0, 1))
    with pytest.raises(ConfigError, match="asked here as of the ladder's models"):
        evaluated("style", good, style="chat")
    write_json(tmp_path / "k.json", {"parameters": row["parameters"], "tasks": {}})
    with pytest.raises(DataError, match="give `forecast` the input exams"):
        evaluated("none", tmp_path / "k.json")

"""Rounds: what a block of stages becomes, each rule of its references, and a run of toy stages round after round."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from puna.base.errors import ConfigError
from puna.lineage import Recipe, Stage, run
from puna.lineage.report.graph import read_graph
from puna.lineage.runner import plan, rebuild_report
from puna.lineage.status import status_rows
from puna.lineage.store import collect_garbage

RECIPE = """
name: lap
rounds: 2
variables: {data: world}
stages:
  world: {kind: world}
  sft: {kind: sft, inputs: {dialogs: world/dialogs.jsonl}}
  round:
    carry: {model: {first: sft, then: keep}}
    stages:
      generate: {kind: generate, inputs: {model: round.model, prompts: "${data}/prompts.jsonl"}, config: {best_of: 4}}
      train: {kind: sft, inputs: {model: round.model, dialogs: [generate/dialogs.jsonl, world/dialogs.jsonl]}}
      keep: {kind: keep, inputs: {before: round.model, after: train}}
  export: {kind: export, inputs: {model: round.model, scores: [sft, round.keep]}}
"""

EXPANDED = """
name: lap
rounds: 2
variables: {data: world}
stages:
  world: {kind: world}
  sft: {kind: sft, inputs: {dialogs: world/dialogs.jsonl}}
  round1.generate: {kind: generate, inputs: {model: sft, prompts: world/prompts.jsonl}, config: {best_of: 4}}
  round1.train: {kind: sft, inputs: {model: sft, dialogs: [round1.generate/dialogs.jsonl, world/dialogs.jsonl]}}
  round1.keep: {kind: keep, inputs: {before: sft, after: round1.train}}
  round2.generate: {kind: generate, inputs: {model: round1.keep, prompts: world/prompts.jsonl}, config: {best_of: 4}}
  round2.train: {kind: sft, inputs: {model: round1.keep, dialogs: [round2.generate/dialogs.jsonl, world/dialogs.jsonl]}}
  round2.keep: {kind: keep, inputs: {before: round1.keep, after: round2.train}}
  export: {kind: export, inputs: {model: round2.keep, scores: [sft, round2.keep]}}
"""


def _values(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(RECIPE), **changes}


def _lap(settings: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    return Recipe.from_values(_values(**changes), settings)


def _with_input(stage: str, reference: str | list[str], rounds: int = 2) -> str | list[str]:
    """What an input `x` of a stage outside the block, or of a stage of the block in its last round, comes to mean."""
    values = _values(rounds=rounds)
    stages = values["stages"]
    spec = stages[stage] if stage in stages else stages["round"]["stages"][stage]
    spec.setdefault("inputs", {})["x"] = reference
    name = stage if stage in stages else f"round{rounds}.{stage}"
    return Recipe.from_values(values).stages[name].inputs["x"]


def test_a_block_becomes_the_stages_one_would_write_by_hand() -> None:
    assert _lap() == Recipe.from_values(yaml.safe_load(EXPANDED))
    assert list(_lap().stages) == list(yaml.safe_load(EXPANDED)["stages"])


@pytest.mark.parametrize("rounds", [0, 1, 2, 11])
def test_the_dump_of_a_recipe_is_the_same_recipe(rounds: int) -> None:
    recipe = _lap(rounds=rounds)
    assert recipe.rounds == rounds and len(recipe.stages) == 3 + 3 * rounds
    again = Recipe.from_values(json.loads(json.dumps(recipe.model_dump(mode="json"))))
    assert again == recipe and list(again.stages) == list(recipe.stages)
    for stage in recipe.stages:
        part = recipe.until(stage)
        assert Recipe.from_values(part.model_dump(mode="json")) == part


@pytest.mark.parametrize("rounds", range(1, 5))
def test_a_further_round_changes_none_of_those_before(rounds: int) -> None:
    more, fewer = _lap(rounds=rounds + 1).stages, _lap(rounds=rounds).stages
    before = [name for name in fewer if name != "export"]
    assert list(more)[: len(before)] == before
    assert all(more[name] == fewer[name] for name in before)


@pytest.mark.parametrize(
    ("stage", "reference", "rounds", "meaning"),
    [
        ("train", "generate", 2, "round2.generate"),
        ("train", "generate/a/b", 1, "round1.generate/a/b"),
        ("train", "round.model/log.jsonl", 1, "sft/log.jsonl"),
        ("train", "round.model/log.jsonl", 3, "round2.keep/log.jsonl"),
        ("train", ["generate", "round.model", "sft"], 2, ["round2.generate", "round1.keep", "sft"]),
        ("train", "rounds/x", 2, "rounds/x"),
        ("train", "./round.model", 2, "./round.model"),
        ("export", "round.model/log.jsonl", 2, "round2.keep/log.jsonl"),
        ("export", "round.model/log.jsonl", 0, "sft/log.jsonl"),
        ("export", "round.train/log.jsonl", 3, "round3.train/log.jsonl"),
        ("export", "round1.train/log.jsonl", 3, "round1.train/log.jsonl"),
        ("export", ["sft", "round.train"], 2, ["sft", "round2.train"]),
        ("export", ["sft", "round.train"], 0, ["sft"]),
        ("export", ["round*.train/a", "sft"], 3, ["round1.train/a", "round2.train/a", "round3.train/a", "sft"]),
        ("export", ["round*.train"], 0, []),
        ("export", ["round.model"], 0, ["sft"]),
        ("export", "generate", 2, "generate"),
    ],
)
def test_references(stage: str, reference: str | list[str], rounds: int, meaning: str | list[str]) -> None:
    assert _with_input(stage, reference, rounds) == meaning


def test_a_stage_of_the_block_goes_before_an_outer_one_of_its_name() -> None:
    stages = {
        "train": {"kind": "sft"},
        "round": {
            "carry": {"model": {"first": "train/best", "then": "train/last"}},
            "stages": {
                "train": {"kind": "sft", "inputs": {"model": "round.model/x"}},
                "test": {"kind": "evaluate", "inputs": {"model": "train"}},
            },
        },
        "end": {"kind": "export", "inputs": {"model": "train", "last": "round.model"}},
    }
    made = Recipe.from_values({"name": "x", "rounds": 2, "stages": stages}).stages
    assert made["round1.train"].inputs == {"model": "train/best/x"}
    assert made["round2.train"].inputs == {"model": "round1.train/last/x"}
    assert made["round1.test"].inputs == {"model": "round1.train"}
    assert made["end"].inputs == {"model": "train", "last": "round2.train/last"}


def test_a_carry_may_hand_on_another_one() -> None:
    """`reference` is the model that the round before began with."""
    carry = {"model": {"first": "sft", "then": "keep"}, "reference": {"first": "world", "then": "round.model"}}
    values = _values(rounds=3)
    values["stages"]["round"]["carry"] = carry
    values["stages"]["export"]["inputs"]["reference"] = "round.reference"
    values["stages"]["round"]["stages"]["train"]["inputs"]["reference"] = "round.reference"
    made = Recipe.from_values(values).stages
    assert [made[f"round{n}.train"].inputs["reference"] for n in (1, 2, 3)] == ["world", "sft", "round1.keep"]
    assert made["export"].inputs["reference"] == "round2.keep"


def test_rounds_may_begin_with_a_file_and_with_a_variable() -> None:
    values = _values(variables={"data": "world", "start": "/models/llama"})
    values["stages"]["round"]["carry"]["model"]["first"] = "${start}"
    assert Recipe.from_values(values).stages["round1.keep"].inputs["before"] == "/models/llama"
    assert Recipe.from_values(values, {"start": "sft"}).stages["round1.keep"].inputs["before"] == "sft"


def test_settings_reach_every_round_or_one() -> None:
    given = {"round2.train.lr": "${data}", "round.train.lr": 1, "round.train.schedule.decay": 0.5, "rounds": 3}
    made = _lap(given).stages
    configs = [made[f"round{n}.train"].config for n in (1, 2, 3)]
    below = {"schedule": {"decay": 0.5}}
    assert configs == [{"lr": 1, **below}, {"lr": "world", **below}, {"lr": 1, **below}]
    assert made["sft"].config == {}


def test_settings_of_inputs_kind_and_carry() -> None:
    made = _lap(
        {"round2.keep.inputs.after": "generate", "round1.train.kind": "dpo", "round.keep.config.margin": 2}
    ).stages
    assert (
        made["round2.keep"].inputs["after"] == "round2.generate"
        and made["round1.keep"].inputs["after"] == "round1.train"
    )
    assert (made["round1.train"].kind, made["round2.train"].kind) == ("dpo", "sft")
    assert made["round1.keep"].config == {"margin": 2}
    made = _lap({"round2.train.inputs.model": "round1.train"}).stages
    assert made["round2.train"].inputs["model"] == "round1.train" and made["round1.train"].inputs["model"] == "sft"
    assert _lap({"round.carry.model.first": "world/m"}).stages["round1.keep"].inputs["before"] == "world/m"


def test_the_settings_of_a_dumped_recipe() -> None:
    dumped = _lap().model_dump(mode="json")
    made = Recipe.from_values(dumped, {"round2.train.lr": 3}).stages
    assert made["round2.train"].config == {"lr": 3} and made["round1.train"].config == {}


def test_a_stage_with_a_number_in_its_name_is_no_round() -> None:
    values = {"name": "x", "stages": {"pretrain2": {"kind": "pretrain"}}}
    assert Recipe.from_values(values, {"pretrain2.lr": 1}).stages["pretrain2"].config == {"lr": 1}


def test_until_ends_inside_a_round() -> None:
    part = _lap().until("round1.train")
    assert list(part.stages) == ["world", "sft", "round1.generate", "round1.train"] and part.rounds == 1
    with pytest.raises(ConfigError, match=r'no stage "round5\.keep"; did you mean "round2\.keep"'):
        _lap().until("round5.keep")


def test_extends_reaches_into_the_block(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(RECIPE)
    mine = """
extends: base.yaml
rounds: 1
stages:
  round:
    carry: {model: {then: dpo}}
    stages: {keep: null, train: {config: {lr: 2}}, dpo: {kind: dpo, inputs: {model: train}}}
  export: {inputs: {scores: null}}
"""
    (tmp_path / "mine.yaml").write_text(mine)
    made = Recipe.load(tmp_path / "mine.yaml").stages
    assert list(made) == ["world", "sft", "round1.generate", "round1.train", "round1.dpo", "export"]
    assert made["round1.train"].config == {"lr": 2} and made["export"].inputs == {"model": "round1.dpo"}
    (tmp_path / "none.yaml").write_text(
        "extends: base.yaml\nrounds: 0\nstages: {round: null, export: {inputs: {model: sft, scores: null}}}"
    )
    assert list(Recipe.load(tmp_path / "none.yaml").stages) == ["world", "sft", "export"]


@pytest.mark.parametrize(
    ("stage", "reference", "rounds", "message"),
    [
        ("export", "round.train", 0, r"export\.inputs\.x: round\.train is not there.*set rounds >= 1"),
        ("export", "round1.train", 0, r"round1 is not there.*set rounds >= 1"),
        ("export", ["round1.train"], 0, r"round1 is not there.*set rounds >= 1"),
        ("export", "round5.train", 2, r"expected a round of 1 to 2, came round5; .*--set rounds=5"),
        ("export", "round0.train", 2, r"expected a round of 1 to 2, came round0$"),
        ("export", "round.modle", 2, r'expected a carry or stage of round, came round\.modle; did you mean "model"'),
        ("export", ["round.trian"], 0, r'came round\.trian; did you mean "train"'),
        ("export", "round2.model", 2, r"expected a stage of round, came round2\.model.*known: generate, train, keep"),
        ("export", "round.jsonl", 2, r"a file of that name: \./round\.jsonl"),
        ("export", "round", 2, r"expected a carry or stage of round, came round; known: model, generate"),
        ("export", "round*.train", 2, r'came round\*\.train, which is a list; write \["round\*\.train"\]'),
        ("export", ["round*.model"], 2, r"expected a stage of round, came round\*\.model"),
        ("train", "round.generate", 2, r"own name inside the block, came round\.generate; write generate"),
        ("train", ["round*.generate"], 2, r"read it in a stage after the block"),
        ("train", "keep", 2, r"round1\.train\.inputs\.x reads round1\.keep, which comes at or after it"),
        ("train", "round2.keep", 2, r"round1\.train\.inputs\.x reads round2\.keep, which comes at or after it"),
        ("sft", "round.model", 2, r"sft\.inputs\.x: round\.model is made by round, which comes after it"),
        ("sft", "round.model", 0, r"sft\.inputs\.x: round\.model is made by round, which comes after it"),
    ],
)
def test_references_that_lead_nowhere(stage: str, reference: str | list[str], rounds: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _with_input(stage, reference, rounds)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("recipe: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"round5.train.lr": 1}, r"--set round5\.train\.lr: expected a round of 1 to 2, came round5"),
        ({"rounds": 0, "round1.train.lr": 1}, r"--set round1\.train\.lr: round1 is not there.*set rounds >= 1"),
        (
            {"round.trian.lr": 1},
            r'--set round\.trian\.lr: .*came round\.trian; did you mean "train"\?; stages of the block',
        ),
        ({"round2.trian.lr": 1}, r'no stage or variable "round2\.trian"; did you mean "round2\.train'),
        ({"round.train": 1}, r"expected a setting of a stage such as round\.generate\.lr, came round\.train"),
        ({"ruond.train.lr": 1}, r'no stage or variable "ruond"; did you mean "round'),
        ({"rounds": -1}, r"recipe\.rounds: expected a whole number >= 0, came -1"),
        ({"rounds": "many"}, r"recipe\.rounds: expected a whole number >= 0, came 'many'"),
        ({"round.carry.model.first": "sfft"}, r'carry\.model\.first: expected a stage before round.*"sft"'),
        ({"round.carry.model.first": "export"}, r"carry\.model\.first: expected a stage before round.*came export"),
        ({"round.carry.model.first": "train"}, r"carry\.model\.first: expected a stage before round.*came train"),
        ({"round.carry.model.then": "kep/x"}, r'carry\.model\.then: expected a stage of round, came kep/x.*"keep"'),
        ({"round.carry.model.then": "round.modle"}, r'came round\.modle; did you mean "round\.model"'),
        ({"round.carry.model.than": "keep"}, r'round\.carry\.model\.than: unknown setting; did you mean "then"'),
        ({"round.carry.train": {"first": "sft", "then": "keep"}}, r"round\.train would be a stage and a carry"),
        ({"round.carry.a b": {"first": "sft", "then": "keep"}}, r"name of a carry to be of a-z"),
        ({"round2.train.inputs.x": "round.modle"}, r"round2\.train\.inputs\.x: expected a carry or stage"),
        ({"round.train.kind": None}, r"round\.stages\.train\.kind: expected a valid string, came None"),
    ],
)
def test_settings_and_carries_that_lead_nowhere(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _lap(settings)
    assert "\n" not in str(caught.value)


STAGE = {"kind": "sft"}
BLOCK = {"stages": {"train": STAGE}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": {"a.b": STAGE}}, r"expected a stage name .*came 'a\.b' \(a dot is kept for the stages of rounds\)"),
        ({"stages": {"round1.a": STAGE}}, r"expected a stage name .*came 'round1\.a' \(a dot"),
        ({"rounds": 1, "stages": {"round2.a": STAGE}}, r"came 'round2\.a' \(a dot"),
        ({"rounds": 1, "stages": {"round": BLOCK, "round1.x": STAGE}}, r"came 'round1\.x' \(a dot"),
        ({"rounds": 1, "stages": {"round": {"stages": {"a.b": STAGE}}}}, r"came 'a\.b' \(a dot"),
        ({"rounds": 1, "stages": {"round": {"stages": {"Train": STAGE}}}}, r"came 'Train'$"),
        ({"rounds": 1, "stages": {"round": BLOCK, 1: STAGE}}, r"came 1$"),
        ({"rounds": 1, "stages": {"round1": BLOCK}}, r"block's name that ends in no digit, came 'round1'; rename"),
        ({"rounds": 1, "stages": {"round7": STAGE, "round": BLOCK}}, r"round7 reads like a round of round; rename"),
        ({"rounds": 1, "stages": {"a": BLOCK, "b": BLOCK}}, r"expected one block .*came a, b"),
        ({"rounds": 1, "stages": {"round": {"stages": {}}}}, r"expected at least one stage in round\.stages"),
        ({"rounds": 1, "stages": {"round": {"carry": {}}}}, r"stages\.round\.stages: expected a value, came none"),
        (
            {"rounds": 1, "stages": {"round": {**BLOCK, "kind": "sft"}}},
            r"round\.kind: unknown setting; known: carry, sta",
        ),
        ({"rounds": 2, "stages": {"sft": STAGE}}, r"recipe\.rounds: .*no entry of stages is a block.*came 2"),
        ({"rounds": 0, "stages": {"round": BLOCK}}, r"expected at least one stage, came none"),
    ],
)
def test_forms_that_are_no_recipe(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.from_values({"name": "x", **values})


_TRAIN = """
from puna.base.config import Config

class TrainConfig(Config):
    letter: str = "t"
    fail: bool = False

def run(config, inputs, out):
    model = (inputs.one("model") / "model.txt").read_text() if inputs.has("model") else ""
    if config.fail:
        raise RuntimeError("struck")
    if not out.done("model.txt"):
        with out.unit("model.txt") as unit:
            unit.path.write_text(model + config.letter)
    out.score("length", "accuracy", 0.5, (0.4, 0.6), 100, headline=True)
"""

_KEEP = """
from puna.base.config import Config

class KeepConfig(Config):
    pass

def run(config, inputs, out):
    texts = [(inputs.one(name) / "model.txt").read_text() for name in ("before", "after")]
    if not out.done("model.txt"):
        with out.unit("model.txt") as unit:
            unit.path.write_text(max(texts, key=len) + ".")
"""

_EXPORT = """
from puna.base.config import Config

class ExportConfig(Config):
    pass

def run(config, inputs, out):
    text = (inputs.one("model") / "model.txt").read_text()
    every = [(path / "model.txt").read_text() for path in inputs.many("every")] if inputs.has("every") else []
    if not out.done("export.txt"):
        with out.unit("export.txt") as unit:
            unit.path.write_text(" ".join([text, *every]))
"""

TOY = """
name: toy
rounds: 1
stages:
  sft: {kind: train, config: {letter: s}}
  round:
    carry: {model: {first: sft, then: keep}}
    stages:
      train: {kind: train, inputs: {model: round.model}}
      keep: {kind: keep, inputs: {before: round.model, after: train}}
  export: {kind: export, inputs: {model: round.model, every: ["round*.train"]}}
"""


@pytest.fixture
def kinds(toy: Path) -> dict[str, Stage]:
    """Stages whose model is a text: training adds a letter, keeping a full stop."""
    for name, text in (("train", _TRAIN), ("keep", _KEEP), ("export", _EXPORT)):
        (toy / f"{name}.py").write_text(text)
    return {name: Stage(f"toystages.{name}", f"{name.title()}Config") for name in ("train", "keep", "export")}


def _toy(settings: dict[str, Any] | None = None) -> Recipe:
    return Recipe.from_values(yaml.safe_load(TOY), settings)


def test_a_further_round_runs_just_that_round(kinds: dict[str, Stage], tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run(_toy(), kinds, out)
    assert first.ran == ["sft", "round1.train", "round1.keep", "export"]
    assert (out / "export/export.txt").read_text() == "st. st"
    second = run(_toy({"rounds": 2}), kinds, out)
    assert second.ran == ["round2.train", "round2.keep", "export"]
    assert (out / "export/export.txt").read_text() == "st.t. st st.t"
    assert (out / "round2.keep").resolve().name.startswith("round2.keep-")
    assert run(_toy({"rounds": 2}), kinds, out).ran == [] and run(_toy(), kinds, out).ran == []
    assert run(_toy({"rounds": 0}), kinds, out).ran == ["export"]
    assert (out / "export/export.txt").read_text() == "s"


def test_the_number_of_rounds_is_in_no_fingerprint(kinds: dict[str, Stage], tmp_path: Path) -> None:
    one, three = (
        {stage.name: stage.fingerprint for stage in plan(_toy({"rounds": rounds}), kinds, tmp_path)}
        for rounds in (1, 3)
    )
    assert {name: one[name] for name in one if name != "export"} == {
        name: print_ for name, print_ in three.items() if name in one and name != "export"
    }
    assert one["export"] != three["export"]
    assert len({three[f"round{number}.train"] for number in (1, 2, 3)}) == 3


def test_a_setting_of_one_round_reruns_from_there(kinds: dict[str, Stage], tmp_path: Path) -> None:
    run(_toy({"rounds": 2}), kinds, tmp_path)
    ran = run(_toy({"rounds": 2, "round2.train.letter": "u"}), kinds, tmp_path).ran
    assert ran == ["round2.train", "round2.keep", "export"]
    assert (tmp_path / "export/export.txt").read_text() == "st.u. st st.u"
    ran = run(_toy({"rounds": 2, "round.train.letter": "v"}), kinds, tmp_path).ran
    assert ran == ["round1.train", "round1.keep", "round2.train", "round2.keep", "export"]


def test_report_status_graph_and_gc_know_the_names(kinds: dict[str, Stage], tmp_path: Path) -> None:
    out = tmp_path / "run"
    made = run(_toy({"rounds": 2}), kinds, out)
    names = ["sft", "round1.train", "round1.keep", "round2.train", "round2.keep", "export"]
    written = json.loads((out / "recipe.json").read_text())
    assert list(written["stages"]) == names and Recipe.from_values(written) == _toy({"rounds": 2})
    assert [row["stage"] for row in status_rows(out) if row["state"] == "done"] == names
    assert [stage["name"] for stage in rebuild_report(out)[0]["stages"]] == names
    page = made.report_path.read_text()
    assert all(f'id="stage-{name}"' in page for name in names)
    _, edges = read_graph(made.report["stages"])
    assert {edge.source for edge in edges if edge.target == "round2.keep"} == {"round1.keep", "round2.train"}
    assert collect_garbage(out, remove=False) == []
    assert not any(edge.source.startswith("file:") for edge in edges)


def test_status_tells_the_round_that_stopped(kinds: dict[str, Stage], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="struck"):
        run(_toy({"rounds": 2, "round2.train.fail": True}), kinds, tmp_path)
    states = {row["stage"]: row["state"] for row in status_rows(tmp_path)}
    assert states == {
        "sft": "done", "round1.train": "done", "round1.keep": "done",
        "round2.train": "stopped", "round2.keep": "missing", "export": "missing",
    }  # fmt: skip


def test_every_round_draws_anew_and_round_one_the_same_whatever_the_number_of_rounds(
    kinds: dict[str, Stage], tmp_path: Path
) -> None:
    seeded = {name: dataclasses.replace(kind, seeded=True) for name, kind in kinds.items()}
    one, three = (
        {stage.name: stage.seed for stage in plan(_toy({"rounds": rounds, "seed": 7}), seeded, tmp_path)}
        for rounds in (1, 3)
    )
    assert three["sft"] == three["export"] == 7
    assert len({three[f"round{number}.train"] for number in (1, 2, 3)} | {7}) == 4
    assert three["round2.train"] == three["round2.keep"] and three["round1.train"] == one["round1.train"]
    other = {stage.name: stage.seed for stage in plan(_toy({"rounds": 1, "seed": 8}), seeded, tmp_path)}
    assert other["round1.train"] != one["round1.train"]


def test_seeds_share_rounds_that_no_seed_changes(kinds: dict[str, Stage], tmp_path: Path) -> None:
    ran = [run(_toy({"rounds": 2, "seed": seed}), kinds, tmp_path, replica=True).ran for seed in (0, 1)]
    assert len(ran[0]) == 6 and ran[1] == []
    assert (tmp_path / "seed-1/round2.keep/model.txt").read_text() == "st.t."


def test_the_schema_describes_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    from puna.cli.recipes import schema

    schema()
    made = json.loads(capsys.readouterr().out)
    assert made["properties"]["rounds"]["minimum"] == 0
    entry = made["properties"]["stages"]["additionalProperties"]["anyOf"]
    assert entry == [{"$ref": "#/$defs/StageSpec"}, {"$ref": "#/$defs/Block"}]
    block = made["$defs"]["Block"]
    assert block["required"] == ["stages"] and block["additionalProperties"] is False
    assert block["properties"]["stages"]["additionalProperties"] == {"$ref": "#/$defs/StageSpec"}
    assert block["properties"]["carry"]["additionalProperties"] == {"$ref": "#/$defs/Carry"}
    assert sorted(made["$defs"]["Carry"]["required"]) == ["first", "then"]
    assert "sft" in made["$defs"]["StageSpec"]["properties"]["kind"]["enum"]


def test_a_verb_for_a_kind_stops_before_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from puna.cli import recipes

    ran: list[list[str]] = []

    class Result:
        report_path = tmp_path

    def fake(recipe: Recipe, folder: Path, replica: bool) -> Result:
        ran.append(list(recipe.stages))
        return Result()

    monkeypatch.setattr(recipes, "run_one", fake)
    (tmp_path / "lap.yaml").write_text(RECIPE)
    recipes._run_until_kind(tmp_path / "lap.yaml", [], tmp_path, "sft")
    recipes._run_until_kind(tmp_path / "lap.yaml", [], tmp_path, "generate")
    assert [names[-1] for names in ran] == ["sft", "round2.generate"]

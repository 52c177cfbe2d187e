"""The recipe grammar."""

from pathlib import Path

import pytest

from puna.base.errors import ConfigError
from puna.lineage.recipe import Recipe, parse_settings, parse_value

RECIPES = Path(__file__).parents[2] / "recipes"

BASE = """
name: base
variables: {data: null, crawl: "${data}/web"}
stages:
  curate: {kind: curate, inputs: {crawl: "${crawl}"}, config: {languages: [en], rules: {min_words: 50}}}
  train: {kind: pretrain, inputs: {tokens: curate/train}}
"""


def _write(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_variables_settings_and_extends(tmp_path: Path) -> None:
    folder = _write(
        tmp_path,
        base=BASE,
        mine="extends: base.yaml\nname: mine\nstages: {train: null, curate: {config: {rules: {max: 9}}}}",
    )
    recipe = Recipe.load(folder / "mine.yaml", {"data": "/d", "curate.rules.min_words": 5, "seed": 4})
    assert list(recipe.stages) == ["curate"] and (recipe.name, recipe.seed) == ("mine", 4)
    assert recipe.stages["curate"].inputs == {"crawl": "/d/web"}
    assert recipe.stages["curate"].config == {"languages": ["en"], "rules": {"min_words": 5, "max": 9}}


def test_a_list_variable_is_laid_flat(tmp_path: Path) -> None:
    recipe = Recipe.load(_write(tmp_path, base=BASE) / "base.yaml", {"crawl": ["a.warc", "b.jsonl"], "data": "x"})
    assert recipe.stages["curate"].inputs["crawl"] == ["a.warc", "b.jsonl"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "the variable data has no value; give one: --set data=VALUE"),
        ({"data": "x", "curat.rules": 1}, 'no stage or variable "curat"; did you mean "curate'),
        ({"data": "x", "train.inputs": {"tokens": "train"}}, "reads train, which comes at or after it"),
        ({"data": "x", "curate.inputs": {"crawl": "${dat}"}}, r'no variable \$\{dat\}; did you mean "data"'),
    ],
)
def test_errors_in_one_line(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.load(_write(tmp_path, base=BASE) / "base.yaml", settings)


SHAPES = """
name: shapes
variables: {model: {size: {dim: 64}, preset: 8B}, data: null, crawl: web}
stages:
  train: {kind: pretrain, inputs: {tokens: "${crawl}"}, config: {model: "${model}"}}
  anneal: {kind: pretrain, inputs: {tokens: "${crawl}"}, config: {model: "${model}", lr: 1}}
"""


def test_a_key_of_a_variable_is_set_wherever_the_variable_stands(tmp_path: Path) -> None:
    path = _write(tmp_path, shapes=SHAPES) / "shapes.yaml"
    recipe = Recipe.load(path, {"model.scale": 0.5, "model.size.dim": 32, "model.deep.er": 1, "anneal.model.scale": 1})
    model = {"size": {"dim": 32}, "preset": "8B", "scale": 0.5, "deep": {"er": 1}}
    assert recipe.stages["train"].config["model"] == model
    assert recipe.variables["model"] == model
    assert Recipe.load(path, {"model": {"dim": 4}}).stages["train"].config == {"model": {"dim": 4}}


def test_a_recipe_that_extends_changes_a_key_of_a_variable(tmp_path: Path) -> None:
    mine = "extends: shapes.yaml\nname: mine\nvariables: {model: {preset: 1B}}"
    recipe = Recipe.load(_write(tmp_path, shapes=SHAPES, mine=mine) / "mine.yaml", {"model.scale": 0.5})
    assert recipe.stages["train"].config["model"] == {"size": {"dim": 64}, "preset": "1B", "scale": 0.5}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("crawl.part", "--set crawl.part: expected crawl to be a mapping, came 'web'; set crawl as a whole"),
        ("data.part", "--set data.part: expected data to be a mapping, came None; set data as a whole"),
        (
            "model.preset.x",
            "--set model.preset.x: expected model.preset to be a mapping, came '8B'; set model.preset as",
        ),
    ],
)
def test_a_key_of_what_is_no_mapping_is_refused(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.load(_write(tmp_path, shapes=SHAPES) / "shapes.yaml", {setting: 1})


def test_until_and_its_error(tmp_path: Path) -> None:
    recipe = Recipe.load(_write(tmp_path, base=BASE) / "base.yaml", {"data": "x"})
    assert list(recipe.until("curate").stages) == ["curate"]
    with pytest.raises(ConfigError, match=r'no stage "trian"; did you mean "train"'):
        recipe.until("trian")


def test_here_is_the_folder_of_the_file_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "base.yaml").write_text(
        "name: base\nvariables: {kept: '${here}/a.json'}\nstages:\n"
        "  a: {kind: x, inputs: {one: '${kept}', several: ['${here}/b.json', '/c.json']}}\n"
    )
    (tmp_path / "below/mine.yaml").write_text(
        "extends: ../base.yaml\nname: mine\nstages:\n  b: {kind: x, inputs: {one: '${here}/d.json', other: a/e.json}}\n"
    )
    stages = Recipe.load(tmp_path / "below/mine.yaml").stages
    one, several = stages["a"].inputs["one"], stages["a"].inputs["several"]
    assert [Path(place).resolve() for place in (one, *several)] == [
        tmp_path.resolve() / "a.json", tmp_path.resolve() / "b.json", Path("/c.json")
    ]  # fmt: skip
    assert stages["b"].inputs == {"one": f"{(tmp_path / 'below').as_posix()}/d.json", "other": "a/e.json"}


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path, a="extends: b.yaml\nname: a", b="extends: a.yaml\nname: b")
    with pytest.raises(ConfigError, match="extends itself"):
        Recipe.load(folder / "a.yaml")


def test_setting_values_are_yaml_and_scientific() -> None:
    assert parse_settings(["a.b=1e-3", "c=[1, x]", "d=yes please", "e="]) == {
        "a.b": 0.001, "c": [1, "x"], "d": "yes please", "e": None,
    }  # fmt: skip
    assert parse_value("2_000") == 2000 and parse_value("null") is None
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        parse_settings(["oops"])


def test_the_control_of_the_lap_has_its_stages_up_to_sft_and_no_other_training_than_rejection_sampling() -> None:
    lap, control = (Recipe.load(RECIPES / name) for name in ("nano.yaml", "nano-rejection.yaml"))
    for stage in ("world", "curate", "tokenizer", "tokens", "pretrain", "sft", "eval-sft"):
        assert control.stages[stage] == lap.stages[stage]
    later = [stage.kind for name, stage in control.stages.items() if name.startswith("round")]
    assert set(later) == {"generate", "judge", "select", "sft", "evaluate", "keep"}
    assert not {"reward", "dpo", "ppo"} & {stage.kind for stage in control.stages.values()}


def test_null_for_a_stage_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: base\nstages:\n  world: {kind: world}\n  sft: {kind: sft}\n")
    path = tmp_path / "mine.yaml"
    path.write_text("extends: base.yaml\nstages:\n  sftt: null\n")
    with pytest.raises(ConfigError, match=r"stages\.sftt: expected a stage, came null.* did you mean .?sft"):
        Recipe.load(path)
    path.write_text("extends: base.yaml\nstages:\n  sft: null\n")
    assert list(Recipe.load(path).stages) == ["world"]

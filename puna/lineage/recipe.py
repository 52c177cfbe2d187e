"""The recipe grammar: a YAML file that names the stages of a lap in order, what each reads, and its settings.

    name: nano
    seed: 0
    variables: {data: null}           # filled by --set data=DIR, used as ${data}; of a mapping --set shape.dim=64
    mesh: {threads: auto}             # on what it runs; never part of a fingerprint
    stages:
      curate: {kind: curate, inputs: {crawl: "${data}/web-warc"}, config: {languages: [en]}}
      tokenizer: {kind: tokenizer, inputs: {documents: curate}, config: {vocab_size: 2048}}

An input is an earlier stage (`curate`), a part of one (`curate/heldout`), a file or folder, an address that
fsspec knows (s3://bucket/crawl/; `curate` reads them), or a list of these. ${here} is the folder of the recipe file
that it stands in, for files that belong to a recipe, wherever it is run from.
One entry of `stages` may be a block of stages that is repeated `rounds` times: rounds.py.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from puna.base.config import Config, Mesh, did_you_mean, read_yaml, validate
from puna.base.errors import ConfigError
from puna.lineage.rounds import Carry, Rounds, block_name, count_of, is_block, num_rounds, number_of, round_of

_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HERE = "${here}"


class StageSpec(Config):
    """One stage of a recipe: which kind, what it reads, its settings (checked by the kind)."""

    kind: str
    inputs: dict[str, str | list[str]] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)


class Block(Config):
    """Stages that are repeated `rounds` times, and what a round hands to the next; a recipe has one at most."""

    carry: dict[str, Carry] = Field(default_factory=dict)
    stages: dict[str, StageSpec]


class RecipeHead(Config):
    """What a recipe says beside its stages."""

    name: str
    description: str = ""
    extends: str | None = None
    seed: int = Field(default=0, ge=0)
    variables: dict[str, Any] = Field(default_factory=dict)
    mesh: Mesh = Field(default_factory=Mesh)
    rounds: int = Field(default=0, ge=0)


class RecipeFile(RecipeHead):
    """A recipe as it is written, before its rounds are laid out: what `puna schema` describes."""

    stages: dict[str, StageSpec | Block]


class Recipe(RecipeHead):
    """A whole recipe, variables filled in and rounds laid out; `stages` in the order of the lap."""

    stages: dict[str, StageSpec]

    @classmethod
    def load(cls, path: Path | str, settings: dict[str, Any] | None = None) -> "Recipe":
        """Read a recipe file, what it extends, and `settings` (dotted name -> value) laid over it.

        Raises ConfigError or DataError in one line.
        """
        path = Path(path)
        return cls.from_values(_with_bases(path, ()), settings, str(path))

    @classmethod
    def from_values(
        cls, values: dict[str, Any], settings: dict[str, Any] | None = None, where: str = "recipe"
    ) -> "Recipe":
        """The recipe that plain YAML values describe, with `settings` laid over, variables filled in, rounds laid out.

        The dump of a recipe describes the same recipe again.
        """
        block = block_name(values.get("stages"), where)
        settings = settings or {}
        of_a_round = {name: value for name, value in settings.items() if block and number_of(block, name) is not None}
        for name, value in settings.items():
            if name not in of_a_round:
                values = _with_setting(values, name, value)
        variables = values.get("variables") or {}
        values = {**values, "stages": _filled(values.get("stages") or {}, variables, where)}
        _check_removed(values["stages"], where)
        if block:
            return _with_rounds(cls, values, block, _filled(of_a_round, variables, where), where)
        recipe = validate(cls, values, where)
        _check_stages(recipe, where)
        return recipe

    def until(self, stage: str) -> "Recipe":
        """The same recipe, ended after `stage`. Raises ConfigError if there is no such stage."""
        names = list(self.stages)
        if stage not in names:
            raise ConfigError(f'--until: no stage "{stage}"{did_you_mean(stage, names)}; stages: {", ".join(names)}')
        kept = names[: names.index(stage) + 1]
        stages = {name: self.stages[name] for name in kept}
        return self.model_copy(update={"stages": stages, "rounds": num_rounds(kept)})

    def source_of(self, reference: str) -> tuple[str, str] | None:
        """(stage, path inside it) if an input reference leads to a stage of the recipe, None if to a file."""
        stage, _, inside = reference.partition("/")
        return (stage, inside) if stage in self.stages else None


def unset_variables(path: Path) -> list[str]:
    """The variables of a recipe file that have no value until somebody gives one; of a mapping its keys, dotted."""
    found = []
    for name, value in (_with_bases(path, ()).get("variables") or {}).items():
        values = {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
        found += [one for one, item in values.items() if item is None]
    return found


def parse_settings(items: list[str]) -> dict[str, Any]:
    """`["sft.lr=1e-3"]` as {"sft.lr": 0.001}; values are YAML. Raises ConfigError for an item without `=`."""
    settings = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set: expected NAME=VALUE such as sft.lr=0.001, came {item!r}")
        settings[name] = parse_value(text)
    return settings


def parse_value(text: str) -> Any:
    """A value as YAML reads it, and 1e-3 as the number everybody means (YAML 1.1 wants 1.0e-3)."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set: expected a YAML value, came {text!r} ({' '.join(str(error).split())})") from None
    if isinstance(value, str):
        try:
            return float(value) if re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value) else value
        except ValueError:
            return value
    return value


def _with_bases(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: extends itself through {' -> '.join(p.name for p in seen)}")
    values = _at_home(read_yaml(path), path.parent.as_posix())
    if base := values.get("extends"):
        values = _merged(_with_bases(path.parent / base, (*seen, path.resolve())), values)
    return values


def _at_home(value: Any, folder: str) -> Any:
    """`value` with every ${here} replaced by the folder of its recipe."""
    if isinstance(value, dict):
        return {key: _at_home(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_at_home(item, folder) for item in value]
    return value.replace(_HERE, folder) if isinstance(value, str) else value


def _merged(below: Any, above: Any) -> Any:
    """`above` laid over `below`; mappings are merged, null removes a key, order is that of `below`."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    merged = dict(below)
    for key, value in above.items():
        if value is None and key in below and key != "variables":
            del merged[key]
        else:
            merged[key] = _merged(below.get(key), value)
    return merged


def _with_setting(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Lay one dotted setting over the recipe: a stage's setting, a variable or a key of it, or a top-level key."""
    stages, variables = values.get("stages") or {}, values.get("variables") or {}
    parts = name.split(".")
    head = parts[0]
    if head not in stages and round_of(".".join(parts[:2])):  # round2.train is one name
        head = ".".join(parts[:2])
    rest = parts[head.count(".") + 1 :]
    if head in stages and rest:
        return {**values, "stages": {**stages, head: _with_stage_setting(stages[head] or {}, rest, value, name)}}
    if head in variables:
        _check_mapping(variables, [head, *rest], name)
        return {**values, "variables": _set_path(variables, [head, *rest], value)}
    if head in ("seed", "name", "mesh", "rounds"):
        return _set_path(values, [head, *rest], value)
    known = [*(f"{stage}." for stage in stages), *variables, "seed", "name", "mesh.threads", "rounds"]
    raise ConfigError(
        f'--set {name}: no stage or variable "{head}"{did_you_mean(head, known)}; '
        f"stages: {', '.join(stages)}; variables: {', '.join(variables) or 'none'}"
    )


def _with_stage_setting(spec: dict[str, Any], path: list[str], value: Any, name: str) -> dict[str, Any]:
    """Lay a setting over a stage, or over a stage of a block (in every round) or what the block carries."""
    if is_block(spec):
        if path[0] == "carry":
            return _set_path(spec, path, value)
        return {**spec, "stages": _with_block_setting(spec.get("stages") or {}, path, value, name)}
    if path[0] in ("inputs", "config", "kind"):
        return _set_path(spec, path, value)
    return {**spec, "config": _set_path(spec.get("config") or {}, path, value)}


def _with_block_setting(stages: dict[str, Any], path: list[str], value: Any, name: str) -> dict[str, Any]:
    stage, *rest = path
    if stage not in stages or not rest:
        block = name.partition(".")[0]
        raise ConfigError(
            f"--set {name}: expected a setting of a stage such as {block}.{next(iter(stages), 'train')}.lr, "
            f"came {block}.{stage}{did_you_mean(stage, stages)}; stages of the block: {', '.join(stages)}"
        )
    return {**stages, stage: _with_stage_setting(stages[stage] or {}, rest, value, name)}


def _check_mapping(variables: dict[str, Any], path: list[str], name: str) -> None:
    """Raises ConfigError if a key is to be set in what is no mapping: a variable, or a value below one."""
    place: Any = variables
    for depth, key in enumerate(path[:-1], 1):
        place = place.get(key, {})
        if not isinstance(place, dict):
            above = ".".join(path[:depth])
            raise ConfigError(f"--set {name}: expected {above} to be a mapping, came {place!r}; set {above} as a whole")


def _set_path(values: Any, path: list[str], value: Any) -> dict[str, Any]:
    below = dict(values) if isinstance(values, dict) else {}
    head, *rest = path
    below[head] = _set_path(below.get(head), rest, value) if rest else value
    return below


def _filled(value: Any, variables: dict[str, Any], where: str) -> Any:
    """`value` with every ${name} replaced; a string that is one variable becomes its value, of any type."""
    if isinstance(value, dict):
        return {key: _filled(item, variables, where) for key, item in value.items()}
    if isinstance(value, list):
        items = [_filled(item, variables, where) for item in value]
        return [one for item in items for one in (item if isinstance(item, list) else [item])]
    if not isinstance(value, str):
        return value

    def lookup(name: str) -> Any:
        if name not in variables:
            raise ConfigError(f"{where}: no variable ${{{name}}}{did_you_mean(name, variables)}")
        if variables[name] is None:
            raise ConfigError(f"{where}: the variable {name} has no value; give one: --set {name}=VALUE")
        return _filled(variables[name], {k: v for k, v in variables.items() if k != name}, where)

    if whole := _VARIABLE.fullmatch(value):
        return lookup(whole[1])
    return _VARIABLE.sub(lambda match: str(lookup(match[1])), value)


def _with_rounds(
    made: type[Recipe], values: dict[str, Any], block: str, of_a_round: dict[str, Any], where: str
) -> Recipe:
    """The recipe of `values` with its block laid out; `of_a_round` are settings such as round2.train.lr."""
    stages = values["stages"]
    spec = validate(Block, stages[block], f"{where}.stages.{block}")
    before = list(stages)[: list(stages).index(block)]
    rounds = Rounds(block, count_of(values, where), spec.carry, list(spec.stages), before)
    for name in (*stages, *spec.stages):
        _check_name(name, where)
    rounds.check(stages, where)
    values = {**values, "stages": rounds.laid_out(stages)}
    for name, value in of_a_round.items():
        rounds.check_number(number_of(block, name), f"--set {name}: ")
        values = _with_setting(values, name, value)
    recipe = validate(made, values, where)
    resolved = {
        name: stage.model_copy(update={"inputs": rounds.resolve(name, stage.inputs, where)})
        for name, stage in recipe.stages.items()
    }
    recipe = recipe.model_copy(update={"stages": resolved})
    _check_stages(recipe, where)
    return recipe


def _check_removed(stages: Any, where: str) -> None:
    """Raises ConfigError for a `null` that removes nothing; what it removes is gone by now."""
    for name in [name for name, spec in stages.items() if spec is None] if isinstance(stages, dict) else []:
        others = [other for other, spec in stages.items() if spec is not None]
        raise ConfigError(
            f"{where}.stages.{name}: expected a stage, came null, which removes a stage of what is extended, "
            f"and it has none of that name{did_you_mean(name, others)}"
        )


def _check_name(name: Any, where: str) -> None:
    if not isinstance(name, str) or not _NAME.match(name):
        dot = " (a dot is kept for the stages of rounds)" if "." in str(name) else ""
        raise ConfigError(f"{where}: expected a stage name of a-z, 0-9, _ and -, came {name!r}{dot}")


def _check_stages(recipe: Recipe, where: str) -> None:
    if not recipe.stages:
        raise ConfigError(f"{where}: expected at least one stage, came none")
    for name in recipe.stages:
        if not 1 <= round_of(name) <= recipe.rounds:
            _check_name(name, where)
    if num_rounds(recipe.stages) != recipe.rounds:
        raise ConfigError(
            f"{where}.rounds: expected 0, because no entry of stages is a block with stages of its own, "
            f"came {recipe.rounds}; add the block, or set rounds to 0"
        )
    seen: list[str] = []
    for name, spec in recipe.stages.items():
        for input_name, value in spec.inputs.items():
            for reference in [value] if isinstance(value, str) else value:
                stage = reference.partition("/")[0]
                if stage in recipe.stages and stage not in seen:
                    raise ConfigError(
                        f"{where}: {name}.inputs.{input_name} reads {reference}, which comes at or after it; "
                        "put the stages in the order of the lap"
                    )
        seen.append(name)

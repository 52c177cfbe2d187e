"""Verbs on a recipe: `run`, those that stop at a stage of one kind, `curate` (a recipe of its own) and `schema`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from puna.base.config import read_yaml
from puna.base.errors import ConfigError, InputError
from puna.base.ranks import rank
from puna.cli.curation import show_rejects, show_story, show_sweep
from puna.cli.options import JsonOption, OutOption, RecipeArgument, SetOption
from puna.cli.plan import Beforehand
from puna.cli.runs import show_card, show_comparison
from puna.lineage.live import make_watcher
from puna.lineage.recipe import Recipe, RecipeFile, parse_settings
from puna.lineage.rounds import round_of
from puna.lineage.runner import RunResult, plan
from puna.lineage.runner import run as run_recipe
from puna.stages import STAGES


def run(
    recipe: RecipeArgument,
    set_: SetOption = [],
    until: Annotated[str | None, typer.Option(help="Stop after this stage")] = None,
    out: OutOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what would run and why; run nothing")] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Run replicas, for example 0,1,2; `puna compare` aggregates them")
    ] = None,
    crawl: Annotated[
        list[str], typer.Option(help="Your own WARC, HTML folder, JSONL, Parquet, books or text as the crawl; or a URL")
    ] = [],
    json_: JsonOption = False,
) -> None:
    """Run a recipe from its first unfinished stage to its last.

    Example: puna run recipes/nano.yaml --until pretrain
    """
    settings = parse_settings(set_) | ({"crawl": crawl} if crawl else {})
    recipes = [load_recipe(recipe, settings | seed, until) for seed in read_seeds(seeds)]
    folder = out or Path("runs") / recipes[0].name
    if explain:
        _explain(recipes, folder, replicas=seeds is not None, as_json=json_)
        return
    results = [run_one(one, folder, replica=seeds is not None, quiet=json_) for one in recipes]
    if rank() > 0:  # the first of several processes tells
        return
    if json_:
        print(json.dumps([result.report for result in results] if seeds else results[0].report, ensure_ascii=False))
        return
    for result in results:
        show_card(result.report, result.report_path)
    if seeds and len(results) > 1:
        show_comparison([result.report for result in results], None)
    chat_model = results[-1].folder / "export"
    if chat_model.exists():
        print(f"Talk to it: puna chat {chat_model}")


def pretrain(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its pretraining stage.

    Example: puna pretrain recipes/nano.yaml --set pretrain.num_tokens=500000
    """
    _run_until_kind(recipe, set_, out, "pretrain")


def extend(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its last extend stage, which teaches a base model longer context.

    Example: puna extend recipes/studies/long-context.yaml --set extend.max_rounds=3
    """
    _run_until_kind(recipe, set_, out, "extend")


def sft(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its supervised fine-tuning stage.

    Example: puna sft recipes/nano.yaml --set sft.epochs=1
    """
    _run_until_kind(recipe, set_, out, "sft")


def reward(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its reward model's stage.

    Example: puna reward recipes/nano.yaml --set reward.epochs=1
    """
    _run_until_kind(recipe, set_, out, "reward")


def dpo(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its DPO stage.

    Example: puna dpo recipes/nano.yaml --set dpo.beta=0.2
    """
    _run_until_kind(recipe, set_, out, "dpo")


def ppo(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its PPO stage.

    Example: puna ppo recipes/nano.yaml --set ppo.iterations=5
    """
    _run_until_kind(recipe, set_, out, "ppo")


def rounds(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to the last stage of its last round.

    Example: puna rounds recipes/nano.yaml --set rounds=2
    """
    loaded = load_recipe(recipe, parse_settings(set_), None)
    names = [name for name in loaded.stages if round_of(name)]
    if not names:
        raise ConfigError(f"{recipe}: expected a block of rounds, came none or no rounds; write one, or --set rounds=1")
    _run_until(loaded, names[-1], out)


def curate(
    out: Annotated[Path, typer.Option(help="Run folder; the documents go to OUT/curate")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="WARC, HTML, JSONL, Parquet, EPUB, PDF, text or code, folders of them, or URLs (s3://, https://)"
        ),
    ] = [],
    corpus: Annotated[
        Path | None, typer.Option(help="An earlier OUT/curate that the new documents are joined to")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="A YAML file with settings of the curate stage")] = None,
    exams: Annotated[
        list[str], typer.Option(help="Exam files or folders of them; pages that hold their items go")
    ] = [],
    set_: SetOption = [],
    engine: Annotated[str, typer.Option(help="Where the workers run: local, or ray")] = "local",
    sweep: Annotated[bool, typer.Option("--sweep", help="Show what relaxing each threshold would keep")] = False,
    why: Annotated[str | None, typer.Option(help="Tell the story of the document with this id or address")] = None,
    rejects: Annotated[
        str | None, typer.Option(help="Show fifty dropped documents of each rule that begins so; `all` for every rule")
    ] = None,
    stage: Annotated[str, typer.Option(help="Whom --sweep and --why ask: a stage of kind curate or filter")] = "curate",
    json_: JsonOption = False,
) -> None:
    """Turn a crawl into clean, deduplicated documents; ask a finished one why.

    Example: puna curate crawl.warc.gz pages/ --out runs/mine --set keep_copy=newest
    then:    puna curate --out runs/mine --sweep    puna curate --out runs/mine --why https://example.org/
    and:     puna curate new.warc.gz --corpus runs/mine/curate --out runs/both
    """
    if not inputs and not sweep and why is None and rejects is None:
        asked = "--sweep, --why ID or --rejects RULE of what is done"
        raise InputError(f"expected files or folders to curate, or {asked}, came neither")
    if inputs:
        config = _curate_settings(rules, set_) | {"engine": engine}
        named = {"crawl": inputs} | ({"exams": exams} if exams else {}) | ({"corpus": str(corpus)} if corpus else {})
        stages = {"curate": {"kind": "curate", "inputs": named, "config": config}}
        result = run_one(Recipe.from_values({"name": "curate", "stages": stages}), out, replica=False)
        if not json_:
            print(f"Documents: {out / 'curate'}   Report: {result.report_path}")
    if sweep:
        show_sweep(out / stage, json_)
    if rejects is not None:
        show_rejects(out / stage, "" if rejects == "all" else rejects, json_)
    if why is not None:
        show_story(out / stage, why, json_)


def _curate_settings(rules: Path | None, set_: list[str]) -> dict[str, Any]:
    """Settings of the file, then those of the command line: "c4.variant=dclm" is one of a rule."""
    config: dict[str, Any] = read_yaml(rules) if rules is not None else {}
    for name, value in parse_settings(set_).items():
        group, *names = name.removeprefix("curate.").split(".")
        if not names:
            config[group] = value
            continue
        place = config.setdefault(group, {})
        for part in names[:-1]:
            place = place.setdefault(part, {})
        place[names[-1]] = value
    return config


def schema() -> None:
    """Print the JSON Schema of recipes.

    Example: puna schema > recipe.schema.json
    """
    made = RecipeFile.model_json_schema()
    definitions = made.setdefault("$defs", {})
    for kind, stage in STAGES.items():
        settings = stage.settings().model_json_schema(ref_template="#/$defs/{model}")
        definitions |= settings.pop("$defs", {})
        definitions[f"config of {kind}"] = settings
    definitions["StageSpec"]["properties"]["kind"]["enum"] = list(STAGES)
    definitions["StageSpec"]["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": {"config": {"$ref": f"#/$defs/config of {kind}"}}},
        }
        for kind in STAGES
    ]
    print(json.dumps(made, indent=1))


def load_recipe(path: Path, settings: dict[str, Any], until: str | None) -> Recipe:
    """The recipe of a file with settings laid over, ended after `until`."""
    recipe = Recipe.load(path, settings)
    return recipe.until(until) if until else recipe


def read_seeds(text: str | None) -> list[dict[str, Any]]:
    """`0,1,2` as the settings of three replicas; of nothing one run, with the recipe's own seed."""
    if text is None:
        return [{}]
    try:
        return [{"seed": int(one)} for one in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds: expected numbers such as 0,1,2, came {text!r}") from None


def run_one(recipe: Recipe, folder: Path, replica: bool, quiet: bool = False) -> RunResult:
    """Run a recipe in sight of the terminal, which is told first what it will take (not if `quiet`)."""
    if rank() > 0:
        return run_recipe(recipe, STAGES, folder, replica=replica)
    with make_watcher() as watch:
        told = watch if quiet else Beforehand(watch, recipe, folder, replica)
        return run_recipe(recipe, STAGES, folder, replica=replica, watch=told)


def _run_until_kind(path: Path, set_: list[str], out: Path | None, kind: str) -> None:
    recipe = load_recipe(path, parse_settings(set_), None)
    _run_until(recipe, stage_of_kind(recipe, kind, path), out)


def stage_of_kind(recipe: Recipe, kind: str, path: Path) -> str:
    """The name of a recipe's last stage of a kind. Raises ConfigError if there is none."""
    names = [name for name, spec in recipe.stages.items() if spec.kind == kind]
    if not names:
        raise ConfigError(f"{path}: expected a stage of kind {kind}, came {', '.join(recipe.stages)}")
    last = [name for name in names if not round_of(name)] or names  # a round may train with the same kind again
    return last[-1]


def _run_until(recipe: Recipe, stage: str, out: Path | None) -> None:
    folder = out or Path("runs") / recipe.name
    result = run_one(recipe.until(stage), folder, replica=False)
    if rank() == 0:
        print(f"Model: {folder / stage}   Report: {result.report_path}")


def _explain(recipes: list[Recipe], folder: Path, replicas: bool, as_json: bool) -> None:
    rows: list[dict[str, Any]] = []
    for recipe in recipes:
        place = folder / f"seed-{recipe.seed}" if replicas else folder
        for one in plan(recipe, STAGES, folder, place):
            does = "reuse" if one.reused else "run"
            rows.append(
                {
                    "seed": recipe.seed,
                    "stage": one.name,
                    "does": does,
                    "why": one.reasons,
                    "fingerprint": one.fingerprint,
                }
            )
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    width = max((len(row["stage"]) for row in rows), default=1)
    for row in rows:
        why = "; ".join(row["why"][:4]) + (f"; and {len(row['why']) - 4} more" if len(row["why"]) > 4 else "")
        print(f"{row['does']:5}  {row['stage']:{width}} {row['fingerprint'][:12]}  {why}")

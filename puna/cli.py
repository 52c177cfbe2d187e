"""The command line: `puna VERB`. Every verb prints one clear line and exits 2 on bad input, 1 on a failed run."""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from puna import __version__
from puna.base.errors import ConfigError, InputError, PunaError
from puna.lineage.live import make_watcher
from puna.lineage.recipe import Recipe, RecipeFile, parse_settings
from puna.lineage.rounds import round_of
from puna.lineage.runner import RunResult, plan, rebuild_report
from puna.lineage.runner import run as run_recipe
from puna.lineage.status import reports_of, run_recipe_of, status_rows, status_table
from puna.lineage.store import collect_garbage
from puna.stages import STAGES

app = typer.Typer(
    name="puna",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The whole Llama 3 recipe, from a raw web crawl to a measured chat model.",
)
tokenizer_app = typer.Typer(no_args_is_help=True, help="Train, use, measure and expand tokenizers.")
app.add_typer(tokenizer_app, name="tokenizer")

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe, for example recipes/nano.yaml")]
SetOption = Annotated[list[str], typer.Option("--set", help="Change a setting: --set sft.lr=1e-3, --set data=DIR")]
OutOption = Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME)")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output")]
ModelArgument = Annotated[
    Path, typer.Argument(help="A model folder in Hugging Face or Meta layout, e.g. runs/nano/export")
]
TEXT_HELP = "Texts: files or folders (Parquet, JSONL, SQuAD's JSON, TSV, text), LANG=PATH to name a language"
RunArgument = Annotated[Path, typer.Argument(help="A run folder, for example runs/nano")]


def main() -> None:
    """Entry point: errors of ours become one line and an exit status, never a traceback."""
    try:
        app()
    except PunaError as error:
        print(f"puna: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("puna: interrupted; finished work is kept, run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and exit")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


@app.command()
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
        list[str], typer.Option(help="Your own WARC, HTML folder, JSONL, Parquet or text as the crawl")
    ] = [],
    json_: JsonOption = False,
) -> None:
    """Run a recipe from its first unfinished stage to its last.

    Example: puna run recipes/nano.yaml --until pretrain
    """
    settings = parse_settings(set_) | ({"crawl": crawl} if crawl else {})
    recipes = [_load(recipe, settings | seed, until) for seed in _seeds(seeds)]
    folder = out or Path("runs") / recipes[0].name
    if explain:
        _explain(recipes, folder, replicas=seeds is not None, as_json=json_)
        return
    results = [_run_one(one, folder, replica=seeds is not None) for one in recipes]
    if json_:
        print(json.dumps([result.report for result in results] if seeds else results[0].report, ensure_ascii=False))
        return
    for result in results:
        _show_card(result.report, result.report_path)
    if seeds and len(results) > 1:
        _show_comparison([result.report for result in results], None)
    chat_model = results[-1].folder / "export"
    if chat_model.exists():
        print(f"Talk to it: puna chat {chat_model}")


@app.command()
def pretrain(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its pretraining stage.

    Example: puna pretrain recipes/nano.yaml --set pretrain.num_tokens=500000
    """
    _run_until_kind(recipe, set_, out, "pretrain")


@app.command()
def sft(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its supervised fine-tuning stage.

    Example: puna sft recipes/nano.yaml --set sft.epochs=1
    """
    _run_until_kind(recipe, set_, out, "sft")


@app.command()
def reward(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its reward model's stage.

    Example: puna reward recipes/nano.yaml --set reward.epochs=1
    """
    _run_until_kind(recipe, set_, out, "reward")


@app.command()
def dpo(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its DPO stage.

    Example: puna dpo recipes/nano.yaml --set dpo.beta=0.2
    """
    _run_until_kind(recipe, set_, out, "dpo")


@app.command()
def ppo(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to its PPO stage.

    Example: puna ppo recipes/nano.yaml --set ppo.iterations=5
    """
    _run_until_kind(recipe, set_, out, "ppo")


@app.command()
def rounds(recipe: RecipeArgument, set_: SetOption = [], out: OutOption = None) -> None:
    """Run a recipe up to the last stage of its last round.

    Example: puna rounds recipes/nano.yaml --set rounds=2
    """
    loaded = _load(recipe, parse_settings(set_), None)
    names = [name for name in loaded.stages if round_of(name)]
    if not names:
        raise ConfigError(f"{recipe}: expected a block of rounds, came none or no rounds; write one, or --set rounds=1")
    _run_until(loaded, names[-1], out)


@app.command()
def curate(
    inputs: Annotated[list[str], typer.Argument(help="WARC, HTML, JSONL, Parquet or text files, or folders of them")],
    out: Annotated[Path, typer.Option(help="Run folder; the documents go to OUT/curate")],
    set_: SetOption = [],
) -> None:
    """Turn a crawl into clean, deduplicated documents.

    Example: puna curate crawl.warc.gz pages/ --out runs/mine --set languages=[en]
    """
    config: dict[str, Any] = {}
    for name, value in parse_settings(set_).items():
        config[name.removeprefix("curate.")] = value
    stages = {"curate": {"kind": "curate", "inputs": {"crawl": inputs}, "config": config}}
    result = _run_one(Recipe.from_values({"name": "curate", "stages": stages}), out, replica=False)
    print(f"Documents: {out / 'curate'}   Report: {result.report_path}")


@app.command()
def status(run: RunArgument, json_: JsonOption = False) -> None:
    """Show what is finished, running and missing in a run.

    Example: puna status runs/nano
    """
    rows = status_rows(run)
    if json_:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        Console().print(status_table(rows))


@app.command()
def report(run: RunArgument, json_: JsonOption = False) -> None:
    """Write a run's report.html and report.json anew and show the report card.

    Example: puna report runs/nano
    """
    run_recipe_of(run)
    made, path = rebuild_report(run)
    if json_:
        print(json.dumps(made, ensure_ascii=False))
    else:
        _show_card(made, path)


@app.command()
def compare(
    run_a: RunArgument,
    run_b: Annotated[
        Path | None, typer.Argument(help="The run to compare with; without it, RUN_A's replicas are summed up")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Compare two runs, or the replicas of one, score by score with 95% intervals.

    Example: puna compare runs/nano runs/other-lr
    """
    first, second = reports_of(run_a), reports_of(run_b) if run_b else None
    _show_comparison(first, second, as_json=json_)


@app.command()
def gc(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; otherwise only list")] = False,
) -> None:
    """List, or with --yes remove, artifacts that no link of the run refers to.

    Example: puna gc runs/nano --yes
    """
    run_recipe_of(run)
    found = collect_garbage(run, remove=yes)
    for path, size in found:
        print(f"{size / 2**20:10.1f} MiB  {path}")
    total = sum(size for _, size in found) / 2**20
    print(
        f"{'Removed' if yes else 'Unused'}: {len(found)} folders, {total:.1f} MiB"
        + ("" if yes or not found else " (--yes removes them)")
    )


@app.command()
def doctor(json_: JsonOption = False) -> None:
    """Measure what this machine can do.

    Example: puna doctor
    """
    from puna.base.doctor import examine

    found = examine()
    if json_:
        print(json.dumps(found))
        return
    table = Table("what", "found", box=None, header_style="dim")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)


@app.command()
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


@app.command()
def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(help="The text to continue")],
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    n: Annotated[int, typer.Option(min=1, help="Number of samples")] = 1,
    json_: JsonOption = False,
) -> None:
    """Continue a text.

    Example: puna generate runs/nano/export "Question: What is 3 + 4?" --max-tokens 40
    """
    from puna.engine import Engine, SamplingParams

    params = SamplingParams(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed, n=n)
    engine = Engine(*_load_model(model))
    completions = engine.generate([prompt], params)
    if json_:
        rows = [
            {"text": one.text, "finish_reason": one.finish_reason, "num_tokens": len(one.tokens)} for one in completions
        ]
        print(json.dumps(rows, ensure_ascii=False))
        return
    for one in completions:
        print(one.text)


@app.command()
def chat(
    model: ModelArgument,
    system: Annotated[str, typer.Option(help="A system prompt")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Talk with a chat model; an empty line or Ctrl-D ends, /new starts afresh.

    Example: puna chat runs/nano/export
    """
    from puna.engine import Engine, SamplingParams
    from puna.tokenizer.dialog import encode_dialog

    loaded, tokenizer = _load_model(model)
    engine = Engine(loaded, tokenizer, max_batch=1)
    start: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
    messages = list(start)
    console = Console(highlight=False)
    while text := _ask(console):
        if text == "/new":
            messages = list(start)
            continue
        messages.append({"role": "user", "content": text})
        ids, _ = encode_dialog(tokenizer, messages, generation_prompt=True)
        while len(ids) + max_tokens > loaded.config.max_position and len(messages) > len(start) + 1:
            del messages[len(start) : len(start) + 2]  # forget the oldest exchange
            ids, _ = encode_dialog(tokenizer, messages, generation_prompt=True)
        answer = ""
        for piece in engine.stream(ids, SamplingParams(max_tokens=max_tokens, temperature=temperature, seed=seed)):
            console.print(piece, end="", markup=False, soft_wrap=True)
            answer += piece
        console.print()
        messages.append({"role": "assistant", "content": answer.strip()})


@app.command()
def convert(
    src: Annotated[Path, typer.Argument(help="A Hugging Face folder, a Meta folder or a GGUF file")],
    dst: Annotated[Path, typer.Argument(help="What to write: a folder, or for gguf a file; must not exist yet")],
    to: Annotated[str, typer.Option(help="Layout of DST: hf, meta or gguf")],
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16 (default: as in SRC; from quantised: float32)")
    ] = None,
    quantize: Annotated[str | None, typer.Option(help="For gguf: q8_0 (or int8), q4_0 (or int4)")] = None,
    shards: Annotated[int | None, typer.Option(help="For meta: number of tensor-parallel parts")] = None,
    json_: JsonOption = False,
) -> None:
    """Write a model in another layout, with about one tensor in memory.

    Example: puna convert runs/nano/export nano.gguf --to gguf --quantize q8_0
    """
    from puna.model.convert.layout import Target, open_checkpoint
    from puna.model.convert.layout import convert as convert_model
    from puna.tokenizer.carried import CarriedTokenizer

    target = Target(to, dtype, quantize, shards)
    source = open_checkpoint(src)
    if source.metadata:
        tokenizer: CarriedTokenizer | None = CarriedTokenizer.from_metadata(source.metadata, src)
    else:
        tokenizer = CarriedTokenizer.from_folder(src)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(f"to {to}", total=None)
        made = convert_model(
            source, tokenizer, dst, target, watch=lambda done, total: bar.update(task, completed=done, total=total)
        )
    if json_:
        print(json.dumps({"path": str(dst), **dataclasses.asdict(made)}))
        return
    left = f"   float16, as rows are no multiple of 32: {', '.join(made.not_quantized)}" if made.not_quantized else ""
    print(f"Model: {dst}   {made.num_tensors} tensors, {made.num_bytes / 2**20:.1f} MiB{left}")


@tokenizer_app.command()
def train(
    texts: Annotated[list[str], typer.Argument(help=TEXT_HELP)],
    out: Annotated[Path, typer.Option(help="Folder for the tokenizer's files")],
    vocab_size: Annotated[int, typer.Option(help="Tokens, the special ones included")] = 128_256,
    num_special: Annotated[int, typer.Option(help="Special tokens, at least 11")] = 256,
    digits: Annotated[int, typer.Option(help="Longest run of digits in one token, 1 to 3")] = 3,
) -> None:
    """Train a byte-level BPE tokenizer with Llama 3's pieces and special tokens.

    Example: puna tokenizer train text/ --out tokenizer --vocab-size 32000
    """
    from puna.base.config import num_cores, validate
    from puna.tokenizer.samples import read_samples
    from puna.tokenizer.train import TokenizerConfig
    from puna.tokenizer.train import train as train_tokenizer

    values = {"vocab_size": vocab_size, "num_special": num_special, "digits": digits}
    config = validate(TokenizerConfig, values, "tokenizer train")
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("counting pieces", total=None)
        tokenizer = train_tokenizer(
            (sample.text for sample in read_samples(texts)),
            config,
            num_cores(),
            lambda done, total: bar.update(task, description="tokens", completed=done, total=total),
        )
    tokenizer.save(out)
    print(f"Tokenizer: {out}, {tokenizer.vocab_size} tokens, {len(tokenizer.special)} of them special")


@tokenizer_app.command()
def encode(
    model: ModelArgument,
    text: Annotated[str | None, typer.Argument(help="Without it, standard input is read")] = None,
) -> None:
    """Print the token ids of a text.

    Example: puna tokenizer encode runs/nano/export "Ada keeps geese."
    """
    from puna.tokenizer import Tokenizer

    ids = Tokenizer.load(model).encode_bytes(sys.stdin.buffer.read() if text is None else os.fsencode(text))
    print(" ".join(map(str, ids)))


@tokenizer_app.command()
def decode(
    model: ModelArgument,
    ids: Annotated[list[str] | None, typer.Argument(help="Without them, standard input is read")] = None,
) -> None:
    """Print the text of token ids.

    Example: puna tokenizer decode runs/nano/export 72 105
    """
    from puna.tokenizer import Tokenizer

    words = ids or sys.stdin.read().split()
    try:
        print(Tokenizer.load(model).decode([int(word) for word in words]))
    except ValueError as error:
        raise InputError(f"expected token ids, numbers with blanks between: {error}") from None


@tokenizer_app.command()
def measure(
    tokenizers: Annotated[list[Path], typer.Argument(help="Tokenizer folders or files, also SentencePiece's")],
    data: Annotated[list[str], typer.Option("--data", help=f"{TEXT_HELP}; give it again for more")],
    max_bytes: Annotated[int, typer.Option(min=1, help="Most text of one language and domain")] = 2_000_000,
    plot: Annotated[Path | None, typer.Option(help="Write a chart to this file (SVG)")] = None,
    json_: JsonOption = False,
) -> None:
    """Characters and bytes a token by language and domain, tokenizers side by side.

    Example: puna tokenizer measure runs/nano/tokenizer llama3/ --data en=books/ --data xquad/ --plot measure.svg
    """
    from puna.base.files import write_atomic
    from puna.tokenizer.fertility import measure_fertility, open_encoders
    from puna.tokenizer.plot import fertility_svg
    from puna.tokenizer.samples import read_samples

    if plot and plot.suffix != ".svg":
        raise ConfigError(f"--plot: expected a file named .svg, came {plot}")
    encoders = open_encoders(tokenizers)
    rows = measure_fertility(encoders, read_samples(data), max_bytes)
    if plot:
        write_atomic(plot, fertility_svg(rows).encode())
    if json_:
        print(json.dumps([row.to_json() for row in rows], ensure_ascii=False))
        return
    table = Table("language", "domain", "bytes", box=None, header_style="dim", caption="characters (bytes) a token")
    for encoder in encoders:
        table.add_column(encoder.name, justify="right")
    for row in rows:
        ratios = [f"{row.chars_per_token(e.name):.3f} ({row.bytes_per_token(e.name):.3f})" for e in encoders]
        table.add_row(row.language, row.domain, str(row.bytes), *ratios)
    Console().print(table)


@tokenizer_app.command()
def expand(
    tokenizer: Annotated[Path, typer.Argument(help="A tokenizer folder or file, or a model folder")],
    text: Annotated[list[str], typer.Option("--text", help=f"{TEXT_HELP} in the new language; again for more")],
    num_tokens: Annotated[int, typer.Option(min=1, help="Number of new tokens")],
    out: Annotated[Path, typer.Option(help="Folder for the new tokenizer, and for the model if one is given")],
    model: Annotated[Path | None, typer.Option(help="The tokenizer's model, whose rows are moved and made")] = None,
    script: Annotated[
        list[str], typer.Option("--script", help="Scripts of the new tokens, e.g. Han (default: the text's)")
    ] = [],
) -> None:
    """Add tokens for another language; texts without its letters keep exactly their ids.

    Example: puna tokenizer expand runs/nano/export --text zh/ --num-tokens 1000 --model runs/nano/export --out nano-zh
    """
    from puna.tokenizer import Tokenizer
    from puna.tokenizer.expansion import expand as expand_tokenizer
    from puna.tokenizer.fertility import Encoder, measure_fertility
    from puna.tokenizer.samples import Sample, read_samples

    old = Tokenizer.load(tokenizer)
    lines = [line for sample in read_samples(text) for line in sample.text.splitlines(keepends=True)]
    # Every tenth line is kept out of training, so that the fertility printed is that of text not seen.
    kept = lines[::10] if len(lines) >= 10 else lines
    grown = expand_tokenizer(old, [line for n, line in enumerate(lines) if n % 10 or kept is lines], num_tokens, script)
    if model:
        _expand_model(model, old, grown, out)
    else:
        grown.tokenizer.save(out)
    encoders = [Encoder("before", old.encode), Encoder("after", grown.tokenizer.encode)]
    sums = measure_fertility(encoders, (Sample("", "", line) for line in kept))[-1]
    print(f"Scripts: {', '.join(grown.scripts)}   Tokens: {old.vocab_size} -> {grown.tokenizer.vocab_size}")
    print(
        f"Tokens a character: {1 / sums.chars_per_token('before'):.3f} -> {1 / sums.chars_per_token('after'):.3f} "
        f"on {'lines kept out of training' if kept is not lines else 'the same lines, too few to keep any out'}"
    )
    print(f"{'Model' if model else 'Tokenizer'}: {out}")


def _expand_model(folder: Path, old: Any, grown: Any, out: Path) -> None:
    from puna.model import load_model, save_model
    from puna.model.vocabulary import with_vocabulary

    loaded = load_model(folder)
    if loaded.config.vocab_size != old.vocab_size:
        raise ConfigError(
            f"--model: expected a model of the tokenizer's {old.vocab_size} tokens, came one of "
            f"{loaded.config.vocab_size}; give the folder that the tokenizer came with"
        )
    save_model(with_vocabulary(loaded, grown.rows), grown.tokenizer, out)


def _load(path: Path, settings: dict[str, Any], until: str | None) -> Recipe:
    recipe = Recipe.load(path, settings)
    return recipe.until(until) if until else recipe


def _seeds(text: str | None) -> list[dict[str, Any]]:
    if text is None:
        return [{}]
    try:
        return [{"seed": int(one)} for one in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds: expected numbers such as 0,1,2, came {text!r}") from None


def _run_one(recipe: Recipe, folder: Path, replica: bool) -> RunResult:
    with make_watcher() as watch:
        return run_recipe(recipe, STAGES, folder, replica=replica, watch=watch)


def _run_until_kind(path: Path, set_: list[str], out: Path | None, kind: str) -> None:
    recipe = _load(path, parse_settings(set_), None)
    names = [name for name, spec in recipe.stages.items() if spec.kind == kind]
    if not names:
        raise ConfigError(f"{path}: expected a stage of kind {kind}, came {', '.join(recipe.stages)}")
    last = [name for name in names if not round_of(name)] or names  # a round may train with the same kind again
    _run_until(recipe, last[-1], out)


def _run_until(recipe: Recipe, stage: str, out: Path | None) -> None:
    folder = out or Path("runs") / recipe.name
    result = _run_one(recipe.until(stage), folder, replica=False)
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


def _show_card(report: dict[str, Any], path: Path) -> None:
    from puna.lineage.report import report_card

    console = Console()
    console.print(report_card(report))
    console.print(f"Report: {path}", soft_wrap=True)


def _show_comparison(first: list[dict[str, Any]], second: list[dict[str, Any]] | None, as_json: bool = False) -> None:
    from puna.lineage.report import compare_runs, comparison_table

    compared = compare_runs(first, second or [])
    if as_json:
        print(json.dumps(compared, ensure_ascii=False))
    else:
        Console().print(comparison_table(compared))


def _load_model(folder: Path) -> tuple[Any, Any]:
    from puna.model import load_model
    from puna.tokenizer import Tokenizer

    if not any((folder / name).is_file() for name in ("config.json", "params.json")):
        raise InputError(
            f"expected a model folder at {folder}, found no config.json or params.json there; e.g. runs/nano/export"
        )
    return load_model(folder), Tokenizer.load(folder)


def _ask(console: Console) -> str:
    try:
        return console.input("[bold cyan]you ›[/] ").strip()
    except EOFError:
        return ""


if __name__ == "__main__":
    main()

"""Verbs on a model: `generate`, `chat`, `convert`."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from puna.base.errors import InputError
from puna.cli.options import JsonOption, ModelArgument


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

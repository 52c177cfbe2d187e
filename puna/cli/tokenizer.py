"""Verbs on a tokenizer, `puna tokenizer VERB`: `train`, `encode`, `decode`, `measure`, `expand`."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from puna.base.errors import ConfigError, InputError
from puna.cli.options import JsonOption, ModelArgument

TEXT_HELP = "Texts: files or folders (Parquet, JSONL, SQuAD's JSON, TSV, text), LANG=PATH to name a language"


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

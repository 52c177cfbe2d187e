"""From one layout to another: whatever SRC is, read it; whatever DST is to be, write it, or leave nothing there."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.base.errors import ArtifactError, ConfigError, InputError
from puna.base.files import files_below, sync_folder
from puna.model.convert.checkpoint import DTYPES, CarriedTokenizer, Checkpoint, Watch
from puna.model.convert.gguf import open_gguf, write_gguf
from puna.model.convert.gguf_files import MAGIC
from puna.model.convert.huggingface import CONFIG_FILE, open_huggingface, write_huggingface
from puna.model.convert.meta import PARAMS_FILE, open_meta, write_meta

QUANTIZE = {"q8_0": "q8_0", "q4_0": "q4_0", "int8": "q8_0", "int4": "q4_0"}
LAYOUTS = ("hf", "meta", "gguf")


@dataclass(frozen=True)
class Target:
    """What to make: a layout, and the dtype of the weights (as in the source if None).

    quantize: for gguf alone, a key of `QUANTIZE`. num_shards: for meta alone, the number of parts.
    Raises ConfigError for anything else.
    """

    layout: str
    dtype: str | None = None
    quantize: str | None = None
    num_shards: int | None = None

    def __post_init__(self) -> None:
        for option, value, known in (
            ("--to", self.layout, LAYOUTS),
            ("--dtype", self.dtype, (None, *DTYPES)),
            ("--quantize", self.quantize, (None, *QUANTIZE)),
        ):
            if value not in known:
                raise ConfigError(f"{option}: expected {', '.join(one for one in known if one)}, came {value}")
        if self.quantize and self.layout != "gguf":
            raise ConfigError(f"--quantize: expected it with --to gguf, came --to {self.layout}")
        if self.quantize and self.dtype:
            raise ConfigError("--quantize: expected it without --dtype, which it would overrule, came both")
        if self.num_shards is not None and (self.layout != "meta" or self.num_shards < 1):
            raise ConfigError(f"--shards: expected 1 or more with --to meta, came {self.num_shards}")


@dataclass(frozen=True)
class Converted:
    """What was made: bytes on disk, and the matrices that could not be quantised and are float16."""

    num_tensors: int
    num_bytes: int
    not_quantized: list[str]


def open_checkpoint(path: Path) -> Checkpoint:
    """The model at `path`, recognised by its content: a Hugging Face folder, a Meta folder or a GGUF file.

    Raises ArtifactError if there is none, or it is damaged.
    """
    if (path / CONFIG_FILE).is_file():
        return open_huggingface(path)
    if (path / PARAMS_FILE).is_file():
        return open_meta(path)
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return open_gguf(path)
    raise ArtifactError(
        f"expected a model at {path}, found no folder with config.json (Hugging Face) or params.json (Meta), "
        "and no GGUF file"
    )


def convert(
    checkpoint: Checkpoint,
    tokenizer: CarriedTokenizer | None,
    path: Path,
    target: Target,
    watch: Watch = lambda done, total: None,
) -> Converted:
    """Write `checkpoint` at `path`, with about one tensor in memory.

    Raises InputError if something is at `path` already, ArtifactError for experts, which have one layout; after any
    error there is nothing.
    """
    _refuse_existing(path)
    if checkpoint.config.num_experts > 1 and target.layout != "hf":
        came = f"came {checkpoint.config.num_experts} experts"
        raise ArtifactError(f"{checkpoint.source}: expected a dense model, {came}; use --to hf")
    _refuse_other_tokenizer(checkpoint, tokenizer)
    if target.dtype:
        checkpoint = checkpoint.cast(DTYPES[target.dtype])
    wrote = _counter(watch, sum(weight.num_bytes for weight in checkpoint.weights.values()))
    temp = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        made = temp / path.name
        not_quantized = _write(checkpoint, tokenizer, made, target, wrote)
        num_bytes = sum(file.stat().st_size for file in ([made] if made.is_file() else files_below(made)))
        made.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temp)
    return Converted(len(checkpoint.weights), num_bytes, not_quantized)


def _write(
    checkpoint: Checkpoint,
    tokenizer: CarriedTokenizer | None,
    path: Path,
    target: Target,
    wrote: Callable[[int], None],
) -> list[str]:
    if target.layout == "gguf":
        if tokenizer is None:
            raise ArtifactError(f"expected a tokenizer in {checkpoint.source}, which a GGUF file needs, found none")
        return write_gguf(checkpoint, tokenizer, path, wrote, QUANTIZE[target.quantize] if target.quantize else None)
    path.mkdir()
    if target.layout == "hf":
        write_huggingface(checkpoint, tokenizer, path, wrote)
    else:
        write_meta(checkpoint, tokenizer, path, wrote, target.num_shards or 1)
    return []


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(f"expected nothing at {path}, which is to be written, found something; give another name")
    if not path.parent.is_dir():
        raise InputError(f"expected a folder at {path.parent} to write {path.name} into, found none; make it first")


def _refuse_other_tokenizer(checkpoint: Checkpoint, tokenizer: Any) -> None:
    if tokenizer is not None and tokenizer.vocab_size != checkpoint.config.vocab_size:
        raise ArtifactError(
            f"{checkpoint.source}: expected a tokenizer of {checkpoint.config.vocab_size} tokens, one for each row of "
            f"the embedding, came one of {tokenizer.vocab_size}"
        )


def _counter(watch: Watch, total: int) -> Callable[[int], None]:
    done = 0

    def wrote(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        watch(min(done, total), total)

    return wrote

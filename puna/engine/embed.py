"""The stage `embed`: a vector for each document from one of our models, for semantic deduplication by meaning.

The vector is the mean of the states that the last layer gives the tokens of a text, its first `max_tokens`. Two files:
embeddings.npy, float32 [N, D], and ids.txt, the id of each row on a line of its own, in the order of the documents.

B texts at once, T tokens, D model width, N documents.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import pydantic
import torch
from numpy.typing import NDArray

from puna.base.config import Config, Hardware
from puna.base.errors import DataError
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.model import Llama, load_model
from puna.tokenizer import Tokenizer

_CHUNK = 1024
_CHARS_A_TOKEN = 32
"""Of a text only so much is tokenized, for each token wanted."""


class EmbedConfig(Config):
    """max_tokens: of each text. batch_tokens: of one forward pass, padding included."""

    max_tokens: int = pydantic.Field(default=512, ge=1)
    batch_tokens: Annotated[int, Hardware] = pydantic.Field(default=8192, ge=1)


def run(config: EmbedConfig, inputs: Inputs, out: StageOutput) -> None:
    """documents, model -> embeddings.npy, ids.txt. Raises DataError if there are no documents."""
    prepare_machine(out.threads)
    files = sorted(inputs.one("documents").glob("documents-*.parquet"))
    total = sum(pq.read_metadata(file).num_rows for file in files)
    if not total:
        raise DataError(f"expected documents-*.parquet with documents in {inputs.one('documents')}, came none")
    model, tokenizer = load_model(inputs.one("model")), Tokenizer.load(inputs.one("model"))
    if not out.done("embeddings.npy"):
        with out.unit("embeddings.npy") as unit:
            shape = (total, model.config.dim)
            store = np.lib.format.open_memmap(unit.path, "w+", np.float32, shape)  # type: ignore[no-untyped-call]
            row = 0
            for _, texts in _read(files):
                store[row : row + len(texts)] = embed(texts, model, tokenizer, config)
                row += len(texts)
                out.progress(row, total, "documents")
            store.flush()
    if not out.done("ids.txt"):
        with out.unit("ids.txt") as unit:
            unit.path.write_text("".join(f"{name}\n" for names, _ in _read(files) for name in names), encoding="utf-8")
    out.metric(documents=total, dim=model.config.dim)


@torch.inference_mode()
def embed(
    texts: Sequence[str], model: Llama, tokenizer: Tokenizer, config: EmbedConfig = EmbedConfig()
) -> NDArray[np.float32]:
    """[N, D]: the mean state of each text's tokens, that of <|begin_of_text|> left out; zeros for an empty text.

    Texts of like length run together, right-padded; a token sees only those before it, so padding changes nothing
    beyond rounding.
    """
    most = min(config.max_tokens, model.config.max_position - 1)
    ids = [tokenizer.encode(text[: _CHARS_A_TOKEN * most], bos=True)[: most + 1] for text in texts]
    vectors = np.zeros((len(texts), model.config.dim), np.float32)
    for rows in _batches(ids, config.batch_tokens):
        longest = max(len(ids[row]) for row in rows)
        tokens = torch.tensor([ids[row] + [0] * (longest - len(ids[row])) for row in rows])  # [B, T]
        states = model.hidden(tokens.to(model.output_weight.device))  # [B, T, D]
        for state, row in zip(states, rows, strict=True):
            if len(ids[row]) > 1:
                vectors[row] = state[1 : len(ids[row])].float().mean(0).cpu().numpy()
    return vectors


def _batches(ids: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Rows of like length whose padded size is at most `most` tokens, or one."""
    batch: list[int] = []
    for row in sorted(range(len(ids)), key=lambda row: (-len(ids[row]), row)):
        if batch and len(ids[batch[0]]) * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _read(files: Sequence[Path]) -> Iterator[tuple[list[str], list[str]]]:
    """Ids and texts in chunks."""
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(_CHUNK, columns=["id", "text"]):
            yield batch.column("id").to_pylist(), batch.column("text").to_pylist()

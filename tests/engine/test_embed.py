"""Vectors of texts against the mean of the model's states, text by text; the stage's files feed semantic-dedup."""

from pathlib import Path

import numpy as np
import pytest
import torch

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, write_documents
from puna.curate.dedup.embeddings import read_embeddings
from puna.engine import embed as module
from puna.engine.embed import EmbedConfig, embed, run
from puna.model import Llama, save_model
from puna.tokenizer import Tokenizer

TEXTS = ["the best stop", "a", "", "stop! and then the sand of an old castle stands there", "the " * 60]


@torch.no_grad()
def naive(text: str, model: Llama, tokenizer: Tokenizer, most: int) -> np.ndarray:
    ids = tokenizer.encode(text, bos=True)[: most + 1]
    states = model.hidden(torch.tensor([ids]))[0]
    return states[1:].mean(0).numpy() if len(ids) > 1 else np.zeros(model.config.dim)


@pytest.mark.parametrize(("most", "batch"), [(512, 8192), (9, 8192), (512, 1), (512, 40)])
def test_a_vector_is_the_mean_state_of_its_text_alone(
    model: Llama, tokenizer: Tokenizer, most: int, batch: int
) -> None:
    vectors = embed(TEXTS, model, tokenizer, EmbedConfig(max_tokens=most, batch_tokens=batch))
    room = min(most, model.config.max_position - 1)
    expected = np.stack([naive(text, model, tokenizer, room) for text in TEXTS])
    assert np.allclose(vectors, expected, atol=1e-4) and vectors[:2].any(1).all() and not vectors[2].any()


def test_the_stage_writes_a_row_for_each_document(
    model: Llama, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(model, tokenizer, tmp_path / "model")
    tokenizer.save(tmp_path / "model")
    monkeypatch.setattr(module, "_CHUNK", 2)
    (tmp_path / "documents").mkdir()
    for shard in (0, 1):
        rows = [Document(f"{shard}-{i}", text) for i, text in enumerate(TEXTS)]
        write_documents(tmp_path / "documents" / f"documents-{shard:05d}.parquet", rows)
    out = StageOutput(tmp_path / "out")
    run(EmbedConfig(), Inputs({"documents": tmp_path / "documents", "model": tmp_path / "model"}), out)
    found, rows = read_embeddings(out.path, ["1-3", "0-0"])
    assert found.shape == (10, model.config.dim)
    assert np.allclose(found[rows], embed([TEXTS[3], TEXTS[0]], model, tokenizer), atol=1e-4)
    with pytest.raises(DataError, match="with documents in .* came none"):
        run(EmbedConfig(), Inputs({"documents": tmp_path, "model": tmp_path / "model"}), StageOutput(tmp_path / "none"))

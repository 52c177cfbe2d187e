"""Fine-tuning learns what the assistant says and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_jsonl, write_documents, write_jsonl
from puna.model import Llama, LlamaConfig, load_model
from puna.model.convert.huggingface import save_model
from puna.posttrain.dialogs import Dialog, dialogs_of
from puna.posttrain.sft import SftConfig, encode, run
from puna.pretrain.loader import IGNORED
from puna.pretrain.schedule import ScheduleConfig
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import Piece, Provenance, dialog_pieces
from puna.tokenizer.shards import TokensConfig
from puna.tokenizer.shards import run as make_shards
from puna.tokenizer.train import TokenizerConfig
from puna.tokenizer.train import train as train_tokenizer

DIALOG = [{"role": "user", "content": "Say green."}, {"role": "assistant", "content": "green"}]

TOOL = {"name": "pick", "parameters": {"type": "object", "properties": {"of": {"type": "string"}}}}
TOOL_ROW = {
    "conversations": [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "Say a colour."},
        {"from": "function_call", "value": '{"name": "pick", "arguments": {"of": "red"}}'},
        {"from": "observation", "value": "79797979"},
        {"from": "gpt", "value": "green"},
    ],
    "tools": [TOOL],
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(
        ["say green and red and blue, please"] * 5, TokenizerConfig(vocab_size=290, num_special=16, digits=1)
    )


def test_targets_are_the_assistant_s_tokens_and_its_end(tokenizer: Tokenizer) -> None:
    sequences, counts = encode([Dialog(DIALOG)], tokenizer, 256)
    tokens, targets = sequences.piece(0, 0, int(sequences.lengths[0]) - 1)
    learned = targets[targets != IGNORED]
    assert tokenizer.decode(learned[:-1].tolist()).strip() == "green" and learned[-1] == tokenizer.eot_id
    assert np.array_equal(targets[targets != IGNORED][:-1], tokens[1:][targets[:-1] != IGNORED])
    assert counts["num_dialogs"] == 1 and 0 < counts["learned_share"] < 0.6


def test_nothing_to_learn_is_an_error_and_long_dialogs_are_counted(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="with no token to learn"):
        encode([Dialog([{"role": "user", "content": "Only a question?"}])], tokenizer, 256)
    with pytest.raises(DataError, match=r"\(1 too long\)"):
        encode([Dialog(DIALOG)], tokenizer, 4)
    long = [DIALOG[0], {"role": "assistant", "content": "green " * 300}]
    assert encode([Dialog(DIALOG), Dialog(long)], tokenizer, 64)[1]["too_long"] == 1


def test_a_model_learns_to_say_it(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shape = LlamaConfig(
        dim=32, layers=2, heads=2, kv_heads=1, ffn_dim=64, vocab_size=tokenizer.vocab_size, max_position=256
    )
    (tmp_path / "base").mkdir()
    save_model(Llama(shape, seed=1), tokenizer, tmp_path / "base")
    write_jsonl(tmp_path / "d.jsonl", [{"messages": DIALOG}] * 16)
    out = StageOutput(tmp_path / "out")
    schedule = ScheduleConfig(warmup_steps=5)
    config = SftConfig(epochs=60, row_tokens=128, batch_rows=4, checkpoint_interval_s=1e9, lr=1e-2, schedule=schedule)
    run(config, Inputs({"model": tmp_path / "base", "dialogs": [tmp_path / "d.jsonl"]}), out)
    assert out.metrics["final_loss"] < 0.1
    assert load_model(out.path).config.num_parameters() == shape.num_parameters()
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer.model", "log.jsonl"} <= set(out.records())


def test_of_a_dialog_with_tools_calls_and_answers_are_learned(tokenizer: Tokenizer) -> None:
    (dialog,) = dialogs_of(TOOL_ROW)
    sequences, _ = encode([dialog], tokenizer, 2048)
    tokens, targets = sequences.piece(0, 0, int(sequences.lengths[0]) - 1)
    learned = tokenizer.decode(targets[targets != IGNORED].tolist())
    assert learned == '{"name": "pick", "parameters": {"of": "red"}}<|eom_id|>green<|eot_id|>'
    pieces = list(dialog_pieces(tokenizer, dialog.messages, form=dialog.form))
    assert np.array_equal(targets != IGNORED, _said_by_the_assistant(pieces))
    text = tokenizer.decode(tokens.tolist())
    assert all(part in text for part in ("Environment: ipython", '"of": {\n', "79797979", "Say a colour.", "Be kind."))


def _said_by_the_assistant(pieces: list[Piece]) -> list[bool]:
    """For each token of TOOL_ROW after the first, whether it is of the assistant's messages, 2 and 4, and no header."""
    origin = [(piece.message, piece.provenance) for piece in pieces for _ in piece.ids][1:]
    return [message in (2, 4) and kind in (Provenance.CONTENT, Provenance.END) for message, kind in origin]


def test_a_model_learns_to_call_and_to_answer_and_not_the_tool_s_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shape = LlamaConfig(
        dim=32, layers=2, heads=2, kv_heads=1, ffn_dim=64, vocab_size=tokenizer.vocab_size, max_position=1024
    )
    (tmp_path / "base").mkdir()
    save_model(Llama(shape, seed=1), tokenizer, tmp_path / "base")
    write_jsonl(tmp_path / "d.jsonl", [TOOL_ROW])
    (dialog,) = dialogs_of(TOOL_ROW)
    pieces = list(dialog_pieces(tokenizer, dialog.messages, form=dialog.form))
    out = StageOutput(tmp_path / "out")
    num_tokens = sum(len(piece.ids) for piece in pieces)
    schedule = ScheduleConfig(warmup_steps=5)
    config = SftConfig(epochs=120, row_tokens=num_tokens - 1, batch_rows=1, lr=1e-2, schedule=schedule)
    run(config, Inputs({"model": tmp_path / "base", "dialogs": [tmp_path / "d.jsonl"]}), out)
    by_assistant = _said_by_the_assistant(pieces)
    assert {row["targets"] for row in read_jsonl(out.path / "log.jsonl")} == {sum(by_assistant)}
    ids = torch.tensor([[token for piece in pieces for token in piece.ids]])
    with torch.no_grad():
        losses = cross_entropy(load_model(out.path)(ids)[0, :-1], ids[0, 1:], reduction="none")
    kinds = [piece.provenance for piece in pieces for _ in piece.ids][1:]
    said = losses[torch.tensor(by_assistant)]
    result = losses[torch.tensor([kind == Provenance.TOOL_OUTPUT for kind in kinds])]
    assert len(result) == 8 and said.mean() < 0.2
    # Learned too, it would be said as surely; masked, it is less likely than by chance.
    assert result.mean() > np.log(tokenizer.vocab_size)


def test_replay_learns_whole_rows_of_the_pages_beside_the_dialogs(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shape = LlamaConfig(
        dim=16, layers=1, heads=2, kv_heads=1, ffn_dim=32, vocab_size=tokenizer.vocab_size, max_position=256
    )
    for name in ("base", "documents", "tokenizer"):
        (tmp_path / name).mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    save_model(Llama(shape, seed=1), tokenizer, tmp_path / "base")
    pages = [Document(f"d{i}", "red and blue and green " * 20) for i in range(8)]
    write_documents(tmp_path / "documents/documents-0000.parquet", pages)
    shards = StageOutput(tmp_path / "shards")
    make_shards(
        TokensConfig(), Inputs({"documents": tmp_path / "documents", "tokenizer": tmp_path / "tokenizer"}), shards
    )
    write_jsonl(tmp_path / "d.jsonl", [{"messages": DIALOG}] * 16)
    inputs = {"model": tmp_path / "base", "dialogs": [tmp_path / "d.jsonl"], "replay": shards.path}
    learned = {}
    for rows in (0, 3):
        out = StageOutput(tmp_path / f"out{rows}")
        run(SftConfig(row_tokens=64, batch_rows=2, replay_rows=rows, epochs=1), Inputs(inputs), out)
        learned[rows] = [row["targets"] for row in read_jsonl(out.path / "log.jsonl")]
    assert len(learned[3]) == len(learned[0])  # replay adds rows, not steps
    # Rows of pages are learned whole, up to the padding of the last piece of a page.
    added = [more - alone for more, alone in zip(learned[3], learned[0], strict=True)]
    assert all(2 * 64 < count <= 3 * 64 for count in added), added
    del inputs["replay"]
    with pytest.raises(DataError, match='expected an input "replay"'):
        run(SftConfig(row_tokens=64, batch_rows=2, replay_rows=3), Inputs(inputs), StageOutput(tmp_path / "none"))

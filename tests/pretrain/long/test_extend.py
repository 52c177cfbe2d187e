"""The stage `extend`: what it writes, where it ends, and that a killed one comes to the same weights."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError, RunError
from puna.base.output import Inputs, Progress, StageOutput
from puna.base.records import Document, read_jsonl, write_documents
from puna.model import Llama, LlamaConfig, load_model, save_model
from puna.needle.plant import Haystack, NeedleConfig, NeedleItem, needle_document, needle_items
from puna.pretrain.loader import IGNORED
from puna.pretrain.long import gate, rows
from puna.pretrain.long.extend import ExtendConfig, run
from puna.pretrain.long.rows import LongRows, RowsConfig
from puna.pretrain.mix.corpus import Corpus
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from puna.tokenizer.shards import TokensConfig
from puna.tokenizer.shards import run as make_shards

SCALING = {"factor": 4.0, "original_max_position_embeddings": 96}
NEEDLES = {"facts": 2, "questions": 2, "keys": ["a", "b", "c"], "digits": 2}
CONFIG: dict[str, Any] = {
    "lengths": [
        {"row_tokens": 128, "num_tokens": 1024, "rope_theta": 20_000.0},
        {"row_tokens": 256, "num_tokens": 1024, "rope_scaling": SCALING},
    ],
    "batch_tokens": 256,
    "needles_share": 0.5,
    "needles": NEEDLES,
    "lr": 1e-3,
    "schedule": {"warmup_steps": 0},
    "checkpoint_interval_s": 0.0,
    "gate": {"short_tolerance": 10.0, "needle_accuracy": 0.0, "depths": [0.0, 1.0], "per_depth": 1, "short_rows": 2},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of 96 positions, pages, and a page of 200 tokens, with some of them held out."""
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("documents/heldout", "tokenizer", "model"):
        (folder / name).mkdir(parents=True)
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"The": 256, b" key": 257, b" of": 258, b" is": 259}
    tokenizer = Tokenizer(ranks, special_ids(len(ranks), 16), split_pattern(1))
    tokenizer.save(folder / "tokenizer")
    pages = [Document(f"d{i}", f"A cat sat on mat {i}. " * (1 + i % 3)) for i in range(20)]
    long = Document("long", "It was a very long day. " * 8)
    write_documents(folder / "documents/documents-0000.parquet", [*pages, long])
    write_documents(folder / "documents/heldout/documents-0000.parquet", [Document("h", "A hen sat on it. " * 9)])
    shards = StageOutput(folder / "shards")
    make_shards(TokensConfig(), Inputs({"documents": folder / "documents", "tokenizer": folder / "tokenizer"}), shards)
    model = Llama(LlamaConfig(16, 2, 2, 1, 32, tokenizer.vocab_size, max_position=96, rope_theta=10_000.0))
    model.initialise(3, std=0.2)
    save_model(model, tokenizer, folder / "model")
    return {"tokens": shards.path, "tokenizer": folder / "tokenizer", "model": folder / "model"}


def extended(inputs: dict[str, Path], out: StageOutput, **changes: Any) -> StageOutput:
    run(validate(ExtendConfig, {**CONFIG, **changes}, "extend"), Inputs(inputs), out)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_the_folder_has_the_last_rope_and_is_read_the_same_by_transformers(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Logits at positions that the model did not have before; RoPE as it was gives others."""
    out = extended(inputs, StageOutput(tmp_path, seed=5))
    written = json.loads((out.path / "config.json").read_text())
    assert written["max_position_embeddings"] == 256 and written["rope_theta"] == 20_000.0
    assert written["rope_scaling"] == {
        "rope_type": "llama3",
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        **SCALING,
    }
    tokens = torch.randint(0, 256, (1, 250), generator=torch.Generator().manual_seed(1))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out.path)
    ours, unscaled = load_model(out.path), load_model(out.path)
    unscaled.set_rope(10_000.0, None, 256)
    with torch.no_grad():
        expected = theirs(tokens).logits[0, -20:]
        assert (ours(tokens)[0, -20:] - expected).norm() <= 1e-5 * expected.norm()
        assert (unscaled(tokens)[0, -20:] - expected).norm() > 1e-3 * expected.norm()


def test_every_length_is_learned_with_its_own_rope(inputs: dict[str, Path], tmp_path: Path) -> None:
    """At a rate near nothing the first loss of each length is that of the given model, turned as the length says."""
    out = extended(inputs, StageOutput(tmp_path, seed=5), lr=1e-12)
    log = list(read_jsonl(out.path / "log.jsonl"))
    assert [row["row_tokens"] for row in log] == [128] * 4 + [256] * 4
    assert [row["step"] for row in log] == list(range(1, 9)) and log[4]["tokens"] > log[3]["tokens"]
    config = validate(ExtendConfig, CONFIG, "extend")
    tokenizer = Tokenizer.load(inputs["tokenizer"])
    corpus = Corpus({"t": inputs["tokens"]}, "train", tokenizer.fingerprint)
    haystack = Haystack(list(corpus.shards.values()), tokenizer)
    scaled = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **SCALING}
    for length, scaling, row in ((128, None, log[0]), (256, scaled, log[4])):
        model = load_model(inputs["model"])
        model.set_rope(20_000.0, scaling, length)
        rows = LongRows(corpus, haystack, config, length, 1024 // length, 5)
        batch = rows.learned(range(256 // length))
        with torch.no_grad():
            logits = model(batch.tokens, positions=batch.positions, documents=batch.documents)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("moment", [0.5, 1.0, 1.5])
def test_killed_and_run_again_it_comes_to_the_same_bits(inputs: dict[str, Path], tmp_path: Path, moment: float) -> None:
    """In the middle of the first length, before the gate of the second, and in the middle of the second."""
    whole = extended(inputs, StageOutput(tmp_path / "whole", seed=5))

    class Killed(Exception):
        pass

    def kill(look: Progress) -> None:
        if look.done >= moment and (moment != 1.0 or "at" in look.metrics):
            raise Killed

    with pytest.raises(Killed):
        extended(inputs, StageOutput(tmp_path / "killed", seed=5, watch=kill))
    looks: list[float] = []
    again = extended(inputs, StageOutput(tmp_path / "killed", seed=5, watch=lambda look: looks.append(look.done)))
    assert digests(again.path) == digests(whole.path)
    assert looks[0] >= moment - 1e-9 and again.metrics["tokens_learned"] == whole.metrics["tokens_learned"]


def test_a_gate_that_stays_shut_ends_the_stage_and_is_told(inputs: dict[str, Path], tmp_path: Path) -> None:
    """So little is learned that no needle is found: two rounds of the first length, and no second length."""
    gate = {**CONFIG["gate"], "needle_accuracy": 1.0}
    out = extended(inputs, StageOutput(tmp_path / "shut"), gate=gate, max_rounds=2)
    assert out.metrics["gate_passed"] == out.metrics["passed_tokens"] == 0
    rounds = json.loads((out.path / "gate.json").read_text())["rounds"]
    assert [(one["row_tokens"], one["number"]) for one in rounds] == [(128, 0), (128, 1)]
    assert json.loads((out.path / "config.json").read_text())["max_position_embeddings"] == 128
    (table,) = (panel for panel in out.panels if panel["title"] == "The gate of each length: shut at the last")
    assert "needles found at depth" in table["rows"][-1][-1]
    with pytest.raises(RunError, match="the gate stayed shut at rows of 128 tokens after 1 rounds: 0 of 1 needles"):
        extended(inputs, StageOutput(tmp_path / "required"), gate=gate, required=True)


def test_a_further_round_learns_other_rows(inputs: dict[str, Path], tmp_path: Path) -> None:
    """At a rate near nothing the losses of a step tell its rows."""
    gate = {**CONFIG["gate"], "needle_accuracy": 1.0}
    out = extended(inputs, StageOutput(tmp_path), gate=gate, max_rounds=2, lr=1e-12, needles_share=1.0)
    losses = [round(row["loss"], 4) for row in read_jsonl(out.path / "log.jsonl")]
    assert len(losses) == 8 and not set(losses[:4]) & set(losses[4:])


def test_an_open_gate_leads_through_all_lengths(inputs: dict[str, Path], tmp_path: Path) -> None:
    out = extended(inputs, StageOutput(tmp_path), max_rounds=3)
    assert (out.metrics["gate_passed"], out.metrics["passed_tokens"]) == (1, 256)
    rounds = json.loads((out.path / "gate.json").read_text())["rounds"]
    assert [(one["row_tokens"], one["number"]) for one in rounds] == [(128, 0), (256, 0)]
    assert {(cell["length"], cell["depth"]) for cell in rounds[-1]["judgement"]["cells"]} == {
        (length, depth) for length in (96, 128, 256) for depth in (0.0, 1.0)
    }
    assert [panel["kind"] for panel in out.panels] == ["lines", "table", "heatmap"]


def test_the_gate_may_ask_other_facts_than_rows_teach(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, told = list[NeedleConfig](), list[NeedleConfig]()

    def items(haystack: Haystack, config: NeedleConfig, *rest: Any) -> list[NeedleItem]:
        asked.append(config)
        return needle_items(haystack, config, *rest)

    def document(haystack: Haystack, config: NeedleConfig, *rest: Any) -> Any:
        told.append(config)
        return needle_document(haystack, config, *rest)

    monkeypatch.setattr(gate, "needle_items", items)
    monkeypatch.setattr(rows, "needle_document", document)
    extended(inputs, StageOutput(tmp_path / "same", seed=5))
    assert {one.facts for one in asked} == {one.facts for one in told} == {2}
    asked.clear()
    told.clear()
    extended(
        inputs, StageOutput(tmp_path / "other", seed=5), gate={**CONFIG["gate"], "needles": {**NEEDLES, "facts": 1}}
    )
    assert {one.facts for one in asked} == {1} and {one.facts for one in told} == {2}


def test_rows_are_pages_long_documents_and_needles_in_their_shares(inputs: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(inputs["tokenizer"])
    corpus = Corpus({"t": inputs["tokens"]}, "train", tokenizer.fingerprint)
    haystack = Haystack(list(corpus.shards.values()), tokenizer)
    needles = NeedleConfig(**NEEDLES)
    shares = RowsConfig(long_share=0.3, needles_share=0.4, needles=needles)
    rows, longer = (LongRows(corpus, haystack, shares, 256, count, 1) for count in (400, 900))
    counts = [int((rows.kinds == kind).sum()) for kind in range(3)]
    assert counts == pytest.approx([120, 120, 160], abs=30)
    for number in range(12):
        batch, same = rows.learned(range(number, number + 1)), longer.learned(range(number, number + 1))
        assert batch.tokens.equal(same.tokens) and batch.tokens.shape == (1, 256)
        text = tokenizer.decode(batch.tokens[0].tolist())
        kind = rows.kinds[number]
        assert ("The key of" in text) == (kind == 2)
        if kind == 1:
            assert "long day" in text and "cat" not in text
        if kind == 2:
            assert batch.documents.unique().tolist() == [0] and batch.targets[0, :-1].equal(batch.tokens[0, 1:])
    together = rows.learned(range(3, 6))
    assert together.tokens[1].equal(rows.learned(range(4, 5)).tokens[0])
    with pytest.raises(DataError, match="documents of at least 512 tokens, the longest has"):
        LongRows(corpus, haystack, shares, 1024, 10, 1)


def test_lengths_must_be_longer_than_what_the_model_has_and_grow(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rows longer than the 96 positions of the input model, came 96"):
        extended(inputs, StageOutput(tmp_path), lengths=[{"row_tokens": 96, "num_tokens": 96}])
    for wrong, said in (
        ({"lengths": CONFIG["lengths"][::-1]}, "lengths that grow"),
        ({"batch_tokens": 128}, "batch_tokens of at least the longest row, 256"),
        ({"long_share": 0.7}, "long_share and needles_share of at most 1 together"),
    ):
        with pytest.raises(ConfigError, match=said):
            validate(ExtendConfig, {**CONFIG, **wrong}, "extend")

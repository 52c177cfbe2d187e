"""K samples of each prompt: the same whatever the batches and shards are, tokens that say the texts, counts."""

from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.engine import Engine, SamplingParams
from puna.model import load_model
from puna.posttrain import generate
from puna.posttrain.generate import GenerateConfig, run
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog
from tests.posttrain.conftest import asked, prompt_rows


def _run(model: Path, tmp_path: Path, name: str, rows: list[dict[str, Any]], **settings: Any) -> StageOutput:
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    out = StageOutput(tmp_path / name, seed=5)
    config = GenerateConfig(**{"samples": 3, "max_tokens": 10, **settings})
    run(config, Inputs({"model": model, "prompts": tmp_path / "prompts.jsonl"}), out)
    return out


def _made(out: StageOutput) -> list[dict[str, Any]]:
    return [row for name in out.records() for row in read_jsonl(out.path / name)]


def test_batches_and_shards_change_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = prompt_rows(7)
    whole = _run(folder, tmp_path, "whole", rows)
    small = _run(folder, tmp_path, "small", rows, max_batch=2)
    monkeypatch.setattr(generate, "_SHARD_PROMPTS", 3)
    sharded = _run(folder, tmp_path, "sharded", rows)
    assert list(sharded.records()) == ["samples-0000.jsonl", "samples-0001.jsonl", "samples-0002.jsonl"]
    assert _made(whole) == _made(small) == _made(sharded) and whole.metrics == sharded.metrics
    some = _run(folder, tmp_path, "some", rows, skip=2, limit=4)
    assert _made(some) == _made(whole)[2:6]
    other = _run(folder, tmp_path, "other", [{**row, "id": f"other-{row['id']}"} for row in rows])
    assert [row["samples"] for row in _made(other)] != [row["samples"] for row in _made(whole)]


def test_tokens_say_the_texts_and_rows_keep_what_is_known(digits: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [*prompt_rows(3), {"id": "open", "messages": asked(3)}]
    out = _run(digits, tmp_path, "out", rows)
    made = _made(out)
    assert [{key: row.get(key) for key in ("id", "messages", "kind", "answer")} for row in made] == [
        {key: row.get(key) for key in ("id", "messages", "kind", "answer")} for row in rows
    ]
    samples = [sample for row in made for sample in row["samples"]]
    assert len(samples) == 12 == out.metrics["num_samples"] and len({sample["text"] for sample in samples}) > 2
    for sample in samples:
        assert tokenizer.decode(sample["tokens"], skip_special=True) == sample["text"]
        assert (sample["tokens"][-1] in tokenizer.stop_ids) == (sample["finish"] == "stop")
    lengths = [len(sample["tokens"]) for sample in samples]
    assert out.metrics["mean_length"] == sum(lengths) / 12 and out.metrics["num_tokens"] == sum(lengths)
    assert out.metrics["cut_off"] == sum(sample["finish"] == "length" for sample in samples) / 12


def test_temperature_0_is_the_likeliest_answer(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    made = _made(_run(folder, tmp_path, "out", prompt_rows(4), temperature=0.0, samples=2))
    ids = [encode_dialog(tokenizer, asked(i), generation_prompt=True)[0] for i in range(4)]
    greedy = Engine(load_model(folder), tokenizer).generate(ids, SamplingParams(max_tokens=10))
    assert [[sample["tokens"] for sample in row["samples"]] for row in made] == [[one.tokens] * 2 for one in greedy]


def test_prompts_without_room_are_counted(digits: Path, tmp_path: Path) -> None:
    long = {"id": "long", "messages": [{"role": "user", "content": "why? " * 20}]}
    out = _run(digits, tmp_path, "out", [long, *prompt_rows(2)])
    assert out.metrics["too_long"] == 1 and out.metrics["num_prompts"] == 2
    assert [row["id"] for row in _made(out)] == ["q0", "q1"]
    with pytest.raises(DataError, match=r"at most 86 tokens, came 1 \(1 too long\)"):
        _run(digits, tmp_path, "none", [long])

"""The stage on a real, random model: resumed equals uninterrupted, scores follow from items, bits per byte by hand."""

import json
import math
from pathlib import Path

import pytest
import torch

from puna.base.config import validate
from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, write_documents
from puna.evals import run as stage
from puna.evals.items import read_results
from puna.model import Llama, LlamaConfig, load_model, save_model
from puna.tokenizer import Tokenizer

TASKS = [
    {"name": "village-choice", "kind": "exam", "input": "exams", "headline": True},
    {"name": "village-word", "kind": "exam", "input": "exams", "max_tokens": 12},
    {"name": "heldout", "kind": "bits_per_byte", "input": "heldout", "headline": True},
]
TEXTS = [
    ("web", "The mill grinds the grain."),
    ("web", "A hen. " * 30),
    ("stories", "Once, in winter,\nit snowed. \u2603"),
]


@pytest.fixture
def inputs(tmp_path: Path, tokenizer: Tokenizer) -> Inputs:
    config = LlamaConfig(
        dim=32, layers=2, heads=4, kv_heads=2, ffn_dim=64, vocab_size=tokenizer.vocab_size, max_position=128
    )
    save_model(Llama(config, seed=3), tokenizer, tmp_path / "model")
    exams = tmp_path / "exams"
    exams.mkdir()
    choice = [
        {
            "id": f"c{i}", "task": "village-choice", "kind": "choice", "subject": f"s{i % 2}",
            "question": f"Question {i}?", "choices": ["an owl", "a hen", "the cow", "goats"], "answer": i % 4,
        }
        for i in range(12)
    ]  # fmt: skip
    number = [
        {"id": f"n{i}", "task": "village-word", "kind": "number", "question": f"{i} + 1?", "answer": str(i + 1)}
        for i in range(5)
    ]
    for name, rows in (("village-choice", choice), ("village-word", number)):
        (exams / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    heldout = tmp_path / "heldout"
    heldout.mkdir()
    documents = [Document(str(i), text, source=source) for i, (source, text) in enumerate(TEXTS)]
    write_documents(heldout / "documents-00000.parquet", documents)
    return Inputs({"model": tmp_path / "model", "exams": exams, "heldout": heldout})


def config(**settings) -> stage.EvaluateConfig:  # type: ignore[no-untyped-def]
    return validate(stage.EvaluateConfig, {"tasks": TASKS, **settings}, "evaluate")


def files(out: StageOutput) -> dict[str, bytes]:
    return {str(p.relative_to(out.path)): p.read_bytes() for p in sorted(out.path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("style", ["base", "chat"])
def test_scores_follow_from_the_items(inputs: Inputs, tmp_path: Path, style: str) -> None:
    out = StageOutput(tmp_path / "out")
    stage.run(config(style=style), inputs, out)
    items = read_results(out.path / "items.parquet")
    scores = {(s["task"], s["metric"]): s for s in json.loads((out.path / "scores.json").read_text())}
    for task in ("village-choice", "village-word"):
        own = [item for item in items if item.task == task]
        score = scores[task, "accuracy"]
        assert score["value"] == sum(item.verdict == "correct" for item in own) / len(own)
        assert score["n"] == len(own)
    heldout = [item for item in items if item.task == "heldout"]
    value = sum(item.value for item in heldout) / sum(item.weight for item in heldout)
    assert scores["heldout", "bits_per_byte"]["value"] == pytest.approx(value)
    assert scores["village-choice", "accuracy"]["headline"]
    assert not scores["village-word", "accuracy"]["headline"]
    assert scores["heldout", "bits_per_byte"]["headline"]
    assert not scores["heldout", "bits_per_byte/web"]["headline"]
    assert [(s["task"], s["metric"], s["value"]) for s in out.scores] == [
        (s["task"], s["metric"], s["value"]) for s in scores.values()
    ]
    panels = {panel["title"]: panel for panel in out.panels}
    assert len(panels["Scores"]["rows"]) == len(scores)
    assert len(panels["village-choice by subject"]["items"]) == 2
    assert 8 <= len(panels["Sample answers"]["items"]) <= 10


def test_the_same_samples_for_base_and_chat(inputs: Inputs, tmp_path: Path) -> None:
    ids = []
    for style in ("base", "chat"):
        out = StageOutput(tmp_path / style)
        stage.run(config(style=style), inputs, out)
        (panel,) = [panel for panel in out.panels if panel["title"] == "Sample answers"]
        ids.append([item["id"] for item in panel["items"]][:8])
    assert ids[0] == ids[1]


def test_bits_per_byte_by_the_definition(inputs: Inputs, tmp_path: Path, tokenizer: Tokenizer) -> None:
    """By source and in all, from one full forward pass a document (a window as long as the document)."""
    out = StageOutput(tmp_path / "out")
    stage.run(config(), inputs, out)
    model = load_model(tmp_path / "model")
    bits, num_bytes = {"web": 0.0, "stories": 0.0}, {"web": 0, "stories": 0}
    for source, text in TEXTS:
        ids = tokenizer.encode(text, bos=True)
        assert len(ids) <= 220
        if len(ids) > 128:  # the overlapping windows are tested by themselves; here: second half after as much before
            continue
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).double().log_softmax(-1)[0]
        bits[source] -= sum(float(logprobs[i, token]) for i, token in enumerate(ids[1:])) / math.log(2)
        num_bytes[source] += len(text.encode())
    scores = {score["metric"]: score["value"] for score in out.scores if score["task"] == "heldout"}
    assert scores["bits_per_byte/stories"] == pytest.approx(bits["stories"] / num_bytes["stories"], rel=1e-5)
    items = {item.id: item for item in read_results(out.path / "items.parquet") if item.task == "heldout"}
    assert items["0"].value == pytest.approx(bits["web"], rel=1e-5)
    total = sum(item.value for item in items.values()) / sum(len(text.encode()) for _, text in TEXTS)
    assert scores["bits_per_byte"] == pytest.approx(total)


def test_killed_and_resumed_equals_uninterrupted(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StageOutput(tmp_path / "whole")
    stage.run(config(), inputs, whole)
    asked: list[str] = []
    original = dict(stage.TASKS)

    def counting(kind: str, fail_on: str | None):  # type: ignore[no-untyped-def]
        def evaluate(task, paths, candidate):  # type: ignore[no-untyped-def]
            if task.name == fail_on:
                raise KeyboardInterrupt
            asked.append(task.name)
            return original[kind](task, paths, candidate)

        return evaluate

    for fail_on in ("village-word", "heldout", None):
        monkeypatch.setattr(stage, "TASKS", {kind: counting(kind, fail_on) for kind in original})
        resumed = StageOutput(tmp_path / "resumed")
        if fail_on:
            with pytest.raises(KeyboardInterrupt):
                stage.run(config(), inputs, resumed)
        else:
            stage.run(config(), inputs, resumed)
    assert asked == ["village-choice", "village-word", "heldout"]
    assert files(resumed) == files(whole)
    assert resumed.scores == whole.scores
    assert resumed.panels == whole.panels


def test_bad_configs_and_inputs_are_told(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a name of its own"):
        config(tasks=[TASKS[0], TASKS[0]])
    with pytest.raises(ConfigError, match="no shots"):
        config(tasks=[{**TASKS[0], "shots": 2}])
    with pytest.raises(DataError, match='expected an input "data"'):
        stage.run(config(tasks=[{**TASKS[0], "input": "data"}]), inputs, StageOutput(tmp_path / "out"))


def test_token_shards_give_the_same_bits_per_byte_as_their_documents(
    inputs: Inputs, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    from puna.tokenizer.shards import TokensConfig
    from puna.tokenizer.shards import run as write_shards

    tokenizer.save(tmp_path / "tokenizer")
    tokens = StageOutput(tmp_path / "tokens")
    write_shards(
        TokensConfig(), Inputs({"documents": inputs.one("heldout"), "tokenizer": tmp_path / "tokenizer"}), tokens
    )
    values = []
    for folder in (inputs.one("heldout"), tokens.path / "train"):
        out = StageOutput(tmp_path / f"out-{len(values)}")
        both = Inputs({"model": inputs.one("model"), "heldout": folder})
        stage.run(config(tasks=[{**TASKS[2], "window": 40}]), both, out)
        values.append(out.scores[0])
        assert out.scores[0]["settings"]["window"] == 40
    assert values[1]["value"] == pytest.approx(values[0]["value"], rel=1e-6)
    assert values[1]["n"] == len(TEXTS)


def test_needles_are_looked_for_at_every_length_and_depth(inputs: Inputs, tmp_path: Path) -> None:
    """The scores are those of the items, by length; the report has a heat map in place of bars."""
    needles = {"facts": 2, "keys": ["a", "b", "c"], "digits": 2}
    task = {"name": "needle", "kind": "needle", "input": "heldout", "depths": [0.0, 0.5, 1.0], "per_depth": 2}
    out = StageOutput(tmp_path / "out")
    stage.run(config(tasks=[{**task, "lengths": [126, 128], "needles": needles}]), inputs, out)
    items = read_results(out.path / "items.parquet")
    places = [(one["length"], one["depth"]) for one in (json.loads(item.details) for item in items)]
    assert len(items) == 12 and set(places) == {(n, d) for n in (126, 128) for d in (0.0, 0.5, 1.0)}
    assert all(item.prompt.endswith(" is") and len(item.expected) == 2 for item in items)
    assert [score["metric"] for score in out.scores] == ["accuracy", "accuracy/126", "accuracy/128"]
    assert out.scores[0]["n"] == 12 and out.scores[1]["value"] == sum(item.value for item in items[:6]) / 6
    assert [panel["columns"] for panel in out.panels if panel["kind"] == "heatmap"] == [["126", "128"]]
    with pytest.raises(ConfigError, match=r"needle.lengths: expected at most the 128 positions of the model, came 129"):
        stage.run(config(tasks=[{**task, "lengths": [129]}]), inputs, StageOutput(tmp_path / "long"))
    with pytest.raises(ConfigError, match="no lengths for a task of the kind exam"):
        config(tasks=[{**TASKS[0], "lengths": [100]}])

"""Baselines on a world where the right answers of each are known."""

import json
from pathlib import Path

import pytest

from puna.base.config import validate
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, write_documents
from puna.evals import baselines
from puna.evals.items import Item, read_results

TRAINING = [
    {"task": "village-choice", "question": "What does Ana keep at home?", "answer": "goats"},
    {"task": "village-choice", "question": "What does Ben keep at home?", "answer": "hens"},
    {"task": "village-choice", "question": "What does Eva keep?", "answer": "hens"},
    {"task": "village-word", "question": "Ana has 2 goats and buys 3. How many goats?", "answer": "5"},
    {"task": "village-word", "question": "Ben has 4 hens and sells 3. How many hens?", "answer": "1"},
    {"task": "village-word", "question": "Eva has 4 cows and buys 1. How many cows?", "answer": "The answer is 5."},
]
EXAMS = {
    "village-choice": [
        ("c1", "choice", "Which animals does Ana keep?", ["cows", "goats", "hens"], 1),
        ("c2", "choice", "Which animals does Ben keep?", ["cows", "goats", "hens"], 2),
        ("c3", "choice", "Which animals does Ida keep?", ["cows", "goats", "ducks"], 1),
    ],
    "village-word": [
        ("n1", "number", "Ben has 9 hens and sells 3. How many hens?", None, "6"),
        ("n2", "number", "Ana has 3 goats and buys 2. How many goats?", None, "5"),
    ],
}
TEXTS = [
    "Question: What animals does Tom keep?\nAnswer: cows\n",
    "Question: What animals does Pia keep?\nAnswer: cows\n",
    "Question: Tom sells how many hens?\nAnswer: 9 - 3 = 6. The answer is 6.\n",
]


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    for folder in ("exams", "documents"):
        (tmp_path / folder).mkdir()
    for name, rows in EXAMS.items():
        items = [
            {"id": id_, "task": name, "kind": kind, "question": question, "choices": choices, "answer": answer}
            for id_, kind, question, choices, answer in rows
        ]
        (tmp_path / "exams" / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (tmp_path / "training-items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TRAINING))
    documents = [Document(str(i), text) for i, text in enumerate(TEXTS)]
    write_documents(tmp_path / "documents" / "documents-00000.parquet", documents)
    return Inputs(
        {
            "exams": tmp_path / "exams",
            "training_items": tmp_path / "training-items.jsonl",
            "documents": tmp_path / "documents",
        }
    )


def run(inputs: Inputs, folder: Path, **settings) -> StageOutput:  # type: ignore[no-untyped-def]
    out = StageOutput(folder)
    config = validate(baselines.BaselinesConfig, {"tasks": list(EXAMS), **settings}, "baselines")
    baselines.run(config, inputs, out)
    return out


def test_each_baseline_answers_as_it_should(inputs: Inputs, tmp_path: Path) -> None:
    out = run(inputs, tmp_path / "out")
    answers = {(r.task, r.id): r.output for r in read_results(out.path / "items.parquet")}
    assert {id_: answers["village-choice/majority", id_] for id_ in ("c1", "c2", "c3")} == {
        "c1": "hens", "c2": "hens", "c3": "goats",
    }  # fmt: skip
    assert {id_: answers["village-choice/nearest", id_] for id_ in ("c1", "c2")} == {"c1": "goats", "c2": "hens"}
    assert {answers["village-choice/ngram", id_] for id_ in ("c1", "c2", "c3")} == {"cows"}
    assert {answers["village-word/majority", id_] for id_ in ("n1", "n2")} == {"5"}
    assert (answers["village-word/nearest", "n1"], answers["village-word/nearest", "n2"]) == ("1", "5")
    assert answers["village-word/ngram", "n1"] == "6"
    scores = {(s["task"], s["metric"]): (s["value"], s["n"]) for s in out.scores}
    assert scores == {
        ("village-choice", "accuracy/majority"): (pytest.approx(2 / 3), 3),
        ("village-choice", "accuracy/ngram"): (0, 3),
        ("village-choice", "accuracy/nearest"): (pytest.approx(2 / 3), 3),
        ("village-word", "accuracy/majority"): (0.5, 2),
        ("village-word", "accuracy/ngram"): (0.5, 2),
        ("village-word", "accuracy/nearest"): (0.5, 2),
    }


def test_resumed_equals_uninterrupted(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(inputs, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(baselines._Learned, "_worked_numbers", lambda self, items: 1 / 0 if items else [])
        with pytest.raises(ZeroDivisionError):
            run(inputs, tmp_path / "resumed")
    resumed = run(inputs, tmp_path / "resumed")
    assert resumed.attempt == 2
    names = sorted(str(p.relative_to(whole.path)) for p in whole.path.rglob("*") if p.is_file())
    assert names == ["items.parquet", "scores.json", "tasks/village-choice.parquet", "tasks/village-word.parquet"]
    for name in names:
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert resumed.scores == whole.scores


def test_a_large_corpus_is_sampled_by_hash(inputs: Inputs) -> None:
    folders = inputs.many("documents")
    everything, some = baselines.corpus(folders, 10**9), baselines.corpus(folders, 100)
    assert sorted(everything) == sorted(TEXTS)
    assert some == everything[: len(some)]
    assert 0 < sum(len(text) for text in some) <= 100


def test_options_are_compared_per_byte(inputs: Inputs) -> None:
    class Sums:
        def logprob(self, pairs: list[tuple[str, str]]) -> list[float]:
            assert {before for before, _ in pairs} == {"Question: Q?\nAnswer:"}
            return [{" ox": -3.0, " a hundred sheep": -8.0}[option] for _, option in pairs]

    learned = baselines._Learned(validate(baselines.BaselinesConfig, {"tasks": ["t"]}, "b"), inputs)
    learned.__dict__["model"] = Sums()
    item = Item("i", "t", "choice", "Q?", 0, choices=("ox", "a hundred sheep"))
    assert learned.answers("ngram", [item]) == ["a hundred sheep"]

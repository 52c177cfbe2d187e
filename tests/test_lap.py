"""The small lap through every stage, and what others make of the model it exports."""

import json
import socket
from pathlib import Path

import pytest
import torch

from puna.engine import Engine, SamplingParams
from puna.lineage import run
from puna.model import load_model
from puna.model.convert.layout import open_checkpoint
from puna.stages import STAGES as KINDS
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog
from tests.small import STAGES, small_recipe

EXAMS = [
    {"name": "village-choice", "kind": "exam", "input": "exams", "headline": True},
    {"name": "village-word", "kind": "exam", "input": "exams", "headline": True, "max_tokens": 24},
    {"name": "bits-per-byte", "kind": "bits_per_byte", "input": "heldout", "window": 128},
]
EVALUATIONS = {
    "baselines": {
        "kind": "baselines",
        "inputs": {"exams": "world/exams", "training_items": "world/training-items.jsonl", "documents": "curate"},
        "config": {"tasks": ["village-choice", "village-word"]},
    },
    **{
        f"eval-{style}": {
            "kind": "evaluate",
            "inputs": {"model": model, "exams": "world/exams", "heldout": "curate/heldout"},
            "config": {"style": style, "tasks": EXAMS},
        }
        for style, model in (("base", "pretrain"), ("chat", "keep"))
    },
}


ORDER = (
    "world",
    "curate",
    "tokenizer",
    "tokens",
    "mix",
    "baselines",
    "pretrain",
    "eval-base",
    "sft",
    "reward",
    "generate",
    "judge",
    "select",
    "rs",
    "dpo",
    "ppo",
    "dev-before",
    "dev-after",
    "keep",
    "eval-chat",
    "export",
)


@pytest.fixture(scope="module")
def lap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small lap with evaluation; run twice, the second time for nothing."""
    stages = {name: (STAGES | EVALUATIONS)[name] for name in ORDER}
    inputs = {"model": "keep", "scores": ["eval-chat"]}
    stages["export"] = {"kind": "export", "inputs": inputs, "config": {"gguf": "float32"}}
    out = tmp_path_factory.mktemp("lap") / "run"
    recipe = small_recipe(stages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _refuse)
        assert run(recipe, KINDS, out).ran == list(ORDER)
    assert run(recipe, KINDS, out).ran == []
    return out


def _refuse(connection: socket.socket, address: object) -> None:
    """Nothing phones home: a run may open no connection."""
    raise AssertionError(f"a run connected to {address}")


def test_report_has_every_stage_and_score(lap: Path) -> None:
    report = json.loads((lap / "report.json").read_text())
    assert [stage["name"] for stage in report["stages"]] == list(ORDER)
    scores = {(score["stage"], score["task"], score["metric"]) for score in report["scores"]}
    for method in ("majority", "ngram", "nearest"):
        assert ("baselines", "village-word", f"accuracy/{method}") in scores
    for stage in ("eval-base", "eval-chat"):
        assert {(stage, "village-choice", "accuracy"), (stage, "village-word", "accuracy")} <= scores
    assert {("reward", "preference", "accuracy"), ("dev-after", "pass-at-k", "pass@1")} <= scores
    assert all(low <= score["value"] <= high for score in report["scores"] for low, high in [score["ci95"]])
    assert "<svg" in (lap / "report.html").read_text()


def test_transformers_loads_the_export_with_the_same_logits_and_greedy_text(lap: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = lap / "export"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ours, tokenizer = load_model(folder), Tokenizer.load(folder)
    messages = [{"role": "user", "content": "Which animal does Alma keep? Answer in one word, please: ¿sí? 村"}]
    ids, _ = encode_dialog(tokenizer, messages, generation_prompt=True)
    assert their_tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False) == ids
    with torch.inference_mode():
        a, b = ours(torch.tensor([ids])), theirs(torch.tensor([ids])).logits
    assert torch.linalg.norm(a - b) <= 1e-5 * torch.linalg.norm(b)
    [made] = Engine(ours, tokenizer).generate([ids], SamplingParams(max_tokens=24))
    generated = theirs.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :].tolist()
    assert made.tokens == generated[: len(made.tokens)]
    assert their_tokenizer.decode(generated) == tokenizer.decode(generated)


def test_the_gguf_file_is_the_exported_model(lap: Path) -> None:
    ours = load_model(lap / "export").state_dict()
    weights = open_checkpoint(lap / "export/model.gguf").weights
    assert weights.keys() == ours.keys() and all(torch.equal(weights[name].load(), ours[name]) for name in ours)


def test_the_model_card_carries_the_measured_scores(lap: Path) -> None:
    card = (lap / "export/README.md").read_text()
    score = next(
        row
        for row in json.loads((lap / "report.json").read_text())["scores"]
        if (row["stage"], row["task"], row["metric"]) == ("eval-chat", "village-word", "accuracy")
    )
    assert f"| village-word | accuracy | {score['value']:.4f} |" in card


def test_a_round_hands_on_one_of_its_models(lap: Path) -> None:
    """`keep` is the model before or after, and what follows reads that one."""
    files = {name: (lap / name / "model.safetensors").read_bytes() for name in ("sft", "ppo", "keep", "export")}
    assert files["sft"] != files["ppo"] and files["keep"] == files["export"]
    stages = {stage["name"]: stage for stage in json.loads((lap / "report.json").read_text())["stages"]}
    kept = stages["keep"]["metrics"]["kept"]
    assert files["keep"] == files["ppo" if kept else "sft"]
    scores = "dev-after" if kept else "dev-before"
    assert (lap / "keep/items.parquet").read_bytes() == (lap / scores / "items.parquet").read_bytes()

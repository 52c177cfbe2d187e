"""The reward model: loss by hand and by TRL, every pair of a judgement, rewards that no company changes, learning."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from puna.base.errors import ArtifactError, DataError
from puna.base.files import write_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import write_jsonl
from puna.model import Llama, load_model, save_model
from puna.model.convert.huggingface import SCORE, huggingface_name
from puna.posttrain import reward
from puna.posttrain.preferences import EncodedPreference, encode_preferences, read_preferences
from puna.posttrain.responses import Responses
from puna.posttrain.reward import RewardConfig, RewardModel, Scorer, pairwise_loss, ranked_pairs, ranking, run
from puna.pretrain.schedule import ScheduleConfig
from puna.tokenizer import Tokenizer
from tests.posttrain.conftest import check_gradients, golden_model


def _rows(num_rows: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, size=rng.integers(1, 30)).tolist() for _ in range(num_rows)]


def _judged(num: int, seed: int = 0) -> list[EncodedPreference]:
    """Judgements of two and three answers in turn."""
    rows = iter(_rows(4 * num, seed))
    return [EncodedPreference(next(rows), tuple(next(rows) for _ in range(2 + i % 2)), {}) for i in range(num)]


@pytest.fixture
def model(make_model: Callable[..., Llama]) -> RewardModel:
    """A reward model whose head is drawn."""
    backbone = make_model(3)
    return RewardModel(backbone, torch.randn(backbone.config.dim, generator=torch.Generator().manual_seed(1)))


def test_pairwise_loss_and_its_gradient_by_hand() -> None:
    better = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    worse = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64, requires_grad=True)
    margin = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    loss = pairwise_loss(better, worse, margin)
    loss.backward()
    differences = [1.0, -3.3, -1.0]
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(-d)) for d in differences) / 3, abs=1e-12)
    expected = [-1 / (1 + math.exp(d)) / 3 for d in differences]
    assert better.grad is not None and worse.grad is not None
    np.testing.assert_allclose(better.grad, expected, atol=1e-12)
    np.testing.assert_allclose(worse.grad, [-one for one in expected], atol=1e-12)
    assert pairwise_loss(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("name", ["reward", "reward_margin"])
def test_pairwise_loss_equals_trl_s(golden: dict[str, Any], name: str, dtype: str, tolerance: float) -> None:
    entry = golden[f"{name}_{dtype}"]
    tensors = {key: torch.tensor(values, dtype=getattr(torch, dtype)) for key, values in entry["inputs"].items()}
    better, worse = tensors["chosen"].requires_grad_(), tensors["rejected"].requires_grad_()
    loss = pairwise_loss(better, worse, tensors.get("margin", 0.0))
    loss.backward()
    assert loss.item() == pytest.approx(entry["outputs"]["loss"], abs=tolerance)
    assert better.grad is not None and worse.grad is not None
    np.testing.assert_allclose(better.grad, entry["outputs"]["grad_chosen"], atol=tolerance)
    np.testing.assert_allclose(worse.grad, entry["outputs"]["grad_rejected"], atol=tolerance)


def test_a_whole_model_s_loss_and_gradients_equal_trl_s(golden: dict[str, Any]) -> None:
    entry = golden["reward_model"]
    backbone, score = golden_model(entry["inputs"]["config"], entry["inputs"]["seed"], head=True)
    model = RewardModel(backbone, score)
    batch = [
        EncodedPreference(pair["prompt_ids"], (pair["chosen_ids"], pair["rejected_ids"]), {})
        for pair in entry["inputs"]["pairs"]
    ]
    row = ranking(micro_batch=2)(model, batch)
    outputs = entry["outputs"]
    assert row["loss"] == pytest.approx(outputs["loss"], abs=1e-5)
    named = {huggingface_name(name): parameter for name, parameter in backbone.named_parameters()}
    check_gradients({**named, SCORE: model.score}, outputs)
    with torch.no_grad():
        for which, expected in enumerate((outputs["chosen"], outputs["rejected"])):
            rows = Responses.of([one.prompt for one in batch], [one.answers[which] for one in batch])
            lengths = torch.tensor([len(one.prompt) + len(one.answers[which]) for one in batch])
            np.testing.assert_allclose(model(rows.tokens, lengths), expected, atol=1e-5)


def test_three_answers_are_three_pairs_and_groups_do_not_mix() -> None:
    better, worse = ranked_pairs(torch.tensor([10.0, 11, 12, 20, 21]), [3, 2])
    assert list(zip(better.tolist(), worse.tolist())) == [(10, 11), (10, 12), (11, 12), (20, 21)]


def test_a_batch_is_the_mean_over_its_pairs_each_row_alone(model: RewardModel) -> None:
    batch = _judged(4)
    losses, right = [], []
    with torch.no_grad():
        for one in batch:
            states = [model.backbone.hidden(torch.tensor([one.prompt + answer]))[0, -1] for answer in one.answers]
            rewards = [float(state.double() @ model.score.double()) for state in states]
            for i in range(len(rewards)):
                for j in range(i + 1, len(rewards)):
                    losses.append(math.log1p(math.exp(rewards[j] - rewards[i])))
                    right.append(rewards[i] > rewards[j])
    row = ranking(micro_batch=3)(model, batch)
    assert len(losses) == 1 + 3 + 1 + 3
    assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert row["accuracy"] == np.mean(right)
    assert row["targets"] == sum(len(one.prompt) + len(answer) for one in batch for answer in one.answers)


def test_micro_batches_change_no_gradient(make_model: Callable[..., Llama]) -> None:
    batch, grads = _judged(5), []
    for micro_batch in (1, 2, 5):
        model = RewardModel(make_model(3), torch.linspace(-1, 1, 32))
        ranking(micro_batch)(model, batch)
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in grads[1:]:
        assert torch.linalg.norm(other - grads[0]) <= 1e-5 * torch.linalg.norm(grads[0])
    assert torch.linalg.norm(grads[0]) > 0.1


def test_rewards_do_not_depend_on_company(
    model: RewardModel, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward, "_SCORED_TOKENS", 64)  # several parts
    scorer, rows = Scorer(model, tokenizer), _rows(12)
    alone = [scorer.raw([row])[0] for row in rows]
    np.testing.assert_allclose(scorer.raw(rows), alone, atol=1e-5 * max(map(abs, alone)))
    assert len({round(value, 3) for value in alone}) == len(rows)


def test_scores_are_in_deviations_and_a_cut_off_answer_ends_there(model: RewardModel, tokenizer: Tokenizer) -> None:
    eot = tokenizer.eot_id
    scorer = Scorer(model, tokenizer, mean=2.0, deviation=4.0)
    [raw] = scorer.raw([[1, 2, 3, eot]])
    came = scorer.score([[1, 2], [1, 2], [1, 2, 3]], [[3, eot], [3], [eot]])
    np.testing.assert_allclose(came, [(raw - 2) / 4] * 3, atol=1e-5)


def test_transformers_reads_the_folder_with_the_same_rewards(
    model: RewardModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    save_model(model.backbone, tokenizer, tmp_path, score=model.score)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert type(theirs).__name__ == "LlamaForSequenceClassification"
    rows = _rows(5)
    tokens = torch.full((5, max(map(len, rows))), tokenizer.pad_id)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    with torch.inference_mode():
        expected = theirs(tokens, attention_mask=(tokens != tokenizer.pad_id).long()).logits[:, 0].tolist()
    np.testing.assert_allclose(Scorer(model, tokenizer).raw(rows), expected, atol=1e-5 * max(map(abs, expected)))


def test_a_folder_without_a_head_is_refused(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"found no reward\.json; give a reward stage"):
        Scorer.load(folder)
    save_model(load_model(folder), tokenizer, tmp_path)
    write_json(tmp_path / "reward.json", {"mean": 0.0, "deviation": 1.0})
    with pytest.raises(ArtifactError, match=r"expected a reward model with a tensor score\.weight"):
        Scorer.load(tmp_path)


class Known:
    """In place of a scorer: the reward of a row is its last token's number."""

    def raw(self, rows: list[list[int]]) -> list[float]:
        return [float(row[-1]) for row in rows]


def test_accuracies_of_a_hand_made_case(tmp_path: Path) -> None:
    """Agreement with the annotators, with length alone, and with what is true where an annotator is known to err."""
    judged = [
        EncodedPreference([0], ([5], [1]), {"error": False}),  # agrees, true; as long as the other
        EncodedPreference([0], ([1, 2], [3]), {"error": True}),  # does not agree, true; longer
        EncodedPreference([0], ([0], [9, 9, 4], [7]), {"error": True}),  # chosen 4, rejected 7: true; longer
        EncodedPreference([0], ([6], [1, 2]), {"error": True}),  # agrees, untrue; shorter
        EncodedPreference([0], ([2], [2]), {}),  # neither; nothing known
    ]
    out = StageOutput(tmp_path)
    reward._measure(Known(), judged, out)  # type: ignore[arg-type]
    scores = {score["metric"]: (score["value"], score["n"]) for score in out.scores}
    assert scores == {
        "accuracy": (2 / 5, 5),
        "accuracy/length-only": (2 / 5, 5),
        "accuracy/truth": (3 / 4, 4),
    }


def _inputs(folder: Path, tmp_path: Path, num: int) -> Inputs:
    words = ("an ant", "the hat", "a ten", "tea", "nest", "theme")
    rows = [
        {"prompt": f"Number {i}?", "chosen": words[i % 6], "rejected": f"{words[i % 6]} no", "error": False}
        for i in range(num)
    ]
    write_jsonl(tmp_path / "p.jsonl", rows)
    return Inputs({"model": folder, "preferences": [tmp_path / "p.jsonl"]})


def test_it_learns_a_trivial_preference(folder: Path, tmp_path: Path) -> None:
    config = RewardConfig(epochs=4, batch_pairs=8, lr=1e-3, heldout=4, schedule=ScheduleConfig(warmup_steps=2))
    out = StageOutput(tmp_path / "out")
    run(config, _inputs(folder, tmp_path, 60), out)
    assert out.metrics["accuracy"] > 0.7 and out.metrics["final_loss"] < 0.3
    scores = {score["metric"]: score["value"] for score in out.scores}
    assert scores["accuracy"] == scores["accuracy/truth"] == 1 and scores["accuracy/length-only"] == 0
    scorer = Scorer.load(out.path)
    read = read_preferences([tmp_path / "p.jsonl"])
    learned, heldout = reward._split(encode_preferences(read, scorer.tokenizer, 256)[0], 4)
    assert out.metrics["num_preferences"] == 60 and len(heldout) == out.scores[0]["n"] > 5
    rows = [(one.prompt, answer) for one in learned for answer in one.answers]
    values = scorer.score([prompt for prompt, _ in rows], [answer for _, answer in rows])
    assert np.mean(values) == pytest.approx(0, abs=1e-4) and np.std(values, ddof=1) == pytest.approx(1, abs=1e-4)
    assert np.mean(values[::2]) > 0.7 and np.mean(values[1::2]) < -0.7  # chosen and rejected


def test_a_prompt_is_on_one_side_and_all_held_back_is_an_error() -> None:
    judged = [EncodedPreference([i % 20], ([1], [i]), {}) for i in range(100)]
    learned, heldout = reward._split(judged, 4)
    assert len(learned) + len(heldout) == 100 and 10 <= len(heldout) <= 45
    assert not {one.prompt[0] for one in learned} & {one.prompt[0] for one in heldout}
    assert reward._split(judged, 0) == (judged, [])
    with pytest.raises(DataError, match=r"came 100, all held back; set reward\.heldout=0"):
        reward._split(judged, 1)

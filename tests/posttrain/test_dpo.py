"""DPO: the formula by hand and by TRL, what the format mask leaves out, both averages of the NLL, learning."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.engine import Engine
from puna.model import Llama, load_model
from puna.model.convert.huggingface import huggingface_name
from puna.posttrain.dpo import (
    DpoConfig,
    Pair,
    PairLogProbs,
    _pair_logprobs,
    dpo_loss,
    implicit_rewards,
    preferring,
    run,
    with_reference,
)
from puna.posttrain.preferences import EncodedPreference
from puna.pretrain.schedule import ScheduleConfig
from puna.tokenizer import Tokenizer
from tests.posttrain.conftest import check_gradients, golden_model


def _preferences(tokenizer: Tokenizer, num: int) -> list[EncodedPreference]:
    """Prompts with two or three answers of unequal length, each with its end."""
    rng = np.random.default_rng(0)

    def ids(longest: int) -> list[int]:
        return rng.integers(0, 256, size=rng.integers(1, longest)).tolist()  # type: ignore[no-any-return]

    return [
        EncodedPreference(ids(9), tuple([*ids(12), tokenizer.eot_id] for _ in range(2 + i % 2)), {"id": f"p{i}"})
        for i in range(num)
    ]


def _scores(model: Llama, tokenizer: Tokenizer, one: EncodedPreference) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of the tokens of the best and of the worst answer, by the engine."""
    best, worst = Engine(model, tokenizer).score([one.prompt] * 2, [one.answers[0], one.answers[-1]])
    return best.astype(np.float64), worst.astype(np.float64)


def test_loss_and_gradient_by_hand() -> None:
    def column(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)

    policy = PairLogProbs(column(-10.0, -4.0), column(-12.0, -3.0))
    reference = PairLogProbs(column(-11.0, -1.0), column(-11.5, -6.0))
    losses = dpo_loss(policy, reference, 0.1)
    margins = [0.1 * (1 - -0.5), 0.1 * (-3 - 3)]
    np.testing.assert_allclose(losses.detach(), [math.log1p(math.exp(-m)) for m in margins], atol=1e-12)
    losses.sum().backward()
    slopes = [-0.1 / (1 + math.exp(m)) for m in margins]
    assert policy.chosen.grad is not None and policy.rejected.grad is not None
    np.testing.assert_allclose(policy.chosen.grad, slopes, atol=1e-12)
    np.testing.assert_allclose(policy.rejected.grad, [-one for one in slopes], atol=1e-12)
    better, worse = implicit_rewards(policy, reference, 0.1)
    np.testing.assert_allclose((better - worse).detach(), margins, atol=1e-12)


def test_loss_and_gradient_equal_trl_s(golden: dict[str, Any]) -> None:
    entry = golden["dpo"]
    inputs, outputs = entry["inputs"], entry["outputs"]
    assert inputs["label_smoothing"] == 0
    columns = {name: torch.tensor(v, dtype=torch.float64) for name, v in inputs.items() if isinstance(v, list)}
    policy = PairLogProbs(columns["chosen_logps"].requires_grad_(), columns["rejected_logps"].requires_grad_())
    reference = PairLogProbs(columns["ref_chosen_logps"], columns["ref_rejected_logps"])
    losses = dpo_loss(policy, reference, inputs["beta"])
    losses.mean().backward()
    better, worse = implicit_rewards(policy, reference, inputs["beta"])
    assert policy.chosen.grad is not None and policy.rejected.grad is not None
    for came, name in (
        (losses, "losses"), (losses.mean(), "loss"), (better, "chosen_rewards"), (worse, "rejected_rewards"),
        (policy.chosen.grad, "grad_chosen_logps"), (policy.rejected.grad, "grad_rejected_logps"),
    ):  # fmt: skip
        np.testing.assert_allclose(came.detach(), outputs[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("nll_average", ["tokens", "answers"])
def test_a_whole_model_s_loss_and_gradients_equal_trl_s(golden: dict[str, Any], nll_average: str) -> None:
    """Sigmoid and SFT losses, weights 1 and 0.2. TRL keeps the end of the turn in the DPO part."""
    entry = golden["dpo_model"]
    inputs, outputs = entry["inputs"], entry["outputs"]
    assert (inputs["loss_type"], inputs["loss_weights"]) == (["sigmoid", "sft"], [1.0, 0.2])
    model, reference = (golden_model(inputs["config"], inputs[name])[0] for name in ("seed", "reference_seed"))
    preferences = [
        EncodedPreference(pair["prompt_ids"], (pair["chosen_ids"], pair["rejected_ids"]), {})
        for pair in inputs["pairs"]
    ]
    config = DpoConfig(
        beta=inputs["beta"], nll=0.2, mask_format=False, nll_average=nll_average, micro_batch=2  # type: ignore[arg-type]
    )  # fmt: skip
    pairs = with_reference(reference, preferences, config)
    np.testing.assert_allclose([pair.reference[0] for pair in pairs], outputs["ref_chosen_logps"], atol=1e-4)
    np.testing.assert_allclose([pair.reference[1] for pair in pairs], outputs["ref_rejected_logps"], atol=1e-4)
    row = preferring(config)(model, pairs)
    assert row["dpo"] == pytest.approx(np.mean(outputs["sigmoid_losses"]), abs=1e-5)
    if nll_average == "answers":
        assert row["nll"] == pytest.approx(np.mean(outputs["nll_of_each_pair"]), abs=1e-5)
        return
    assert row["nll"] == pytest.approx(outputs["nll"], abs=1e-5)
    assert row["loss"] == pytest.approx(outputs["loss"], abs=1e-5)
    check_gradients({huggingface_name(name): p for name, p in model.named_parameters()}, outputs)


def test_the_model_as_it_came_has_loss_log_2_and_no_margin(
    make_model: Callable[..., Llama], tokenizer: Tokenizer
) -> None:
    model, config = make_model(), DpoConfig(micro_batch=2)
    row = preferring(config)(model, with_reference(model, _preferences(tokenizer, 6), config))
    assert row["dpo"] == pytest.approx(math.log(2), abs=1e-5)
    assert row["margin"] == pytest.approx(0, abs=1e-5) and row["chosen_gain"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("mask_format", [True, False])
def test_the_format_mask_leaves_out_the_end_of_the_turn_and_nothing_else(
    make_model: Callable[..., Llama], tokenizer: Tokenizer, mask_format: bool
) -> None:
    model, preferences = make_model(), _preferences(tokenizer, 5)
    with torch.no_grad():
        sums, whole, lengths = _pair_logprobs(model, preferences, mask_format)
    for i, one in enumerate(preferences):
        best, worst = _scores(model, tokenizer, one)
        kept = slice(None, -1) if mask_format else slice(None)
        assert float(sums.chosen[i]) == pytest.approx(best[kept].sum(), abs=1e-4)
        assert float(sums.rejected[i]) == pytest.approx(worst[kept].sum(), abs=1e-4)
        assert float(whole[i]) == pytest.approx(best.sum(), abs=1e-4)  # the NLL learns the end
        assert int(lengths[i]) == len(one.answers[0]) and abs(best[-1]) > 1


@pytest.mark.parametrize("nll_average", ["tokens", "answers"])
def test_a_batch_is_the_formula_written_out(
    make_model: Callable[..., Llama], tokenizer: Tokenizer, nll_average: str
) -> None:
    model, reference, preferences = make_model(1), make_model(4), _preferences(tokenizer, 5)
    config = DpoConfig(beta=0.3, nll=0.7, nll_average=nll_average, micro_batch=2)  # type: ignore[arg-type]
    losses, margins, gains, nlls, nll_tokens = [], [], [], [], []
    for one in preferences:
        (best, worst), (best0, worst0) = (_scores(m, tokenizer, one) for m in (model, reference))
        gain, loss = best[:-1].sum() - best0[:-1].sum(), worst[:-1].sum() - worst0[:-1].sum()
        margins.append(0.3 * (gain - loss))
        losses.append(np.logaddexp(0, -margins[-1]))
        gains.append(gain)
        nlls.append(-best.mean())
        nll_tokens += (-best).tolist()
    nll = np.mean(nll_tokens) if nll_average == "tokens" else np.mean(nlls)
    row = preferring(config)(model, with_reference(reference, preferences, config))
    expected = {
        "dpo": np.mean(losses),
        "nll": nll,
        "loss": np.mean(losses) + 0.7 * nll,
        "margin": np.mean(margins),
        "chosen_gain": np.mean(gains),
        "accuracy": np.mean(np.array(margins) > 0),
        "targets": sum(len(one.answers[0]) + len(one.answers[-1]) for one in preferences),
    }
    assert row == {name: pytest.approx(value, rel=1e-4) for name, value in expected.items()}


@pytest.mark.parametrize("nll_average", ["tokens", "answers"])
def test_micro_batches_change_no_gradient(
    make_model: Callable[..., Llama], tokenizer: Tokenizer, nll_average: str
) -> None:
    preferences, grads = _preferences(tokenizer, 5), []
    for micro_batch in (1, 2, 5):
        config = DpoConfig(micro_batch=micro_batch, nll_average=nll_average)  # type: ignore[arg-type]
        model = make_model(1)
        preferring(config)(model, with_reference(make_model(4), preferences, config))
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in grads[1:]:
        assert torch.linalg.norm(other - grads[0]) <= 1e-5 * torch.linalg.norm(grads[0])


def test_a_log_probability_that_is_no_number_names_the_preference(
    make_model: Callable[..., Llama], tokenizer: Tokenizer
) -> None:
    model = make_model()
    with torch.no_grad():
        model.norm.weight.fill_(float("nan"))
    with pytest.raises(DataError, match="preference p0: its log-probability is nan"):
        with_reference(model, _preferences(tokenizer, 2), DpoConfig())


def _inputs(folder: Path, tmp_path: Path, num: int) -> Inputs:
    rows = [{"prompt": f"Number {i % 5}?", "chosen": "the hat", "rejected": "an ant"} for i in range(num)]
    write_jsonl(tmp_path / "p.jsonl", rows)
    return Inputs({"model": folder, "preferences": [tmp_path / "p.jsonl"]})


def test_it_learns_and_the_chosen_answer_s_probability_rises(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    config = DpoConfig(epochs=10, batch_pairs=5, lr=1e-3, schedule=ScheduleConfig(warmup_steps=2))
    out = StageOutput(tmp_path / "out")
    run(config, _inputs(folder, tmp_path, 10), out)
    assert out.metrics["num_steps"] == 20 and out.metrics["accuracy"] == 1 and out.metrics["margin"] > 1
    log = list(read_jsonl(out.path / "log.jsonl"))
    assert log[0]["dpo"] == pytest.approx(math.log(2), abs=1e-4) and log[-1]["loss"] < log[0]["loss"]
    one = EncodedPreference(
        tokenizer.encode("Number"), ([*tokenizer.encode("the hat"), tokenizer.eot_id], [tokenizer.eot_id]), {}
    )
    before, after = (_scores(load_model(path), tokenizer, one)[0] for path in (folder, out.path))
    assert after.sum() > before.sum() + 3
    assert after[-1] > before[-1] + 1  # the end of the turn too, by the NLL
    assert Tokenizer.load(out.path).fingerprint == tokenizer.fingerprint


def test_only_the_newest_pairs_are_read(folder: Path, tmp_path: Path) -> None:
    out = StageOutput(tmp_path / "out")
    run(DpoConfig(limit=3, batch_pairs=3), _inputs(folder, tmp_path, 10), out)
    assert out.metrics["num_preferences"] == 3


def test_a_pair_is_the_best_answer_against_the_worst(make_model: Callable[..., Llama], tokenizer: Tokenizer) -> None:
    model, config = make_model(), DpoConfig()
    one = _preferences(tokenizer, 2)[1]
    assert len(one.answers) == 3
    without = EncodedPreference(one.prompt, (one.answers[0], one.answers[2]), {})
    assert isinstance(with_reference(model, [one], config)[0], Pair)
    a, b = (with_reference(model, [each], config)[0].reference for each in (one, without))
    np.testing.assert_allclose(a, b, atol=1e-4)

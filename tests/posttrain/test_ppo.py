"""PPO: every formula by brute force and by TRL, answers judged as documented, the first update, learning."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.base.config import validate
from puna.base.errors import ArtifactError, ConfigError, DataError, RunError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.engine import Completion, Engine
from puna.lineage.report.panels import render_panel
from puna.model import Llama, load_model, save_model
from puna.posttrain.advantages import fitted_value, gae, penalised_rewards, whiten
from puna.posttrain.ppo import (
    ActorCritic,
    Experience,
    PpoConfig,
    Rollouts,
    clipped,
    panels,
    policy_loss,
    run,
    value_loss,
)
from puna.posttrain.prompts import Prompt
from puna.posttrain.responses import Responses, answer_logprobs
from puna.pretrain.schedule import ScheduleConfig
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from tests.posttrain.conftest import asked, prompt_rows

lengths_of = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def _responses(lengths: Sequence[int]) -> Responses:
    return Responses.of([[1] * (1 + i % 3) for i in range(len(lengths))], [[2] * length for length in lengths])


def _parts(values: torch.Tensor, lengths: Sequence[int]) -> list[np.ndarray]:
    return [part.numpy() for part in values.split(list(lengths))]


# --- formulas ------------------------------------------------------------------------------------------------------


@given(lengths_of, st.floats(0.1, 1), st.floats(0, 1), st.integers(0, 99))
def test_gae_is_the_discounted_sum_of_all_later_errors(lengths: list[int], gamma: float, lam: float, seed: int) -> None:
    """A_t = sum over l of (gamma lam)^l delta_{t+l}, each sum on its own; after an answer's end nothing follows."""
    rng = np.random.default_rng(seed)
    rewards, values = torch.from_numpy(rng.normal(size=(2, sum(lengths))))
    advantages, returns = gae(_responses(lengths), rewards, values, gamma, lam)
    expected = []
    for r, v in zip(_parts(rewards, lengths), _parts(values, lengths)):
        delta = r + gamma * np.append(v[1:], 0.0) - v
        expected += [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, len(r))) for t in range(len(r))]
    np.testing.assert_allclose(advantages, expected, atol=1e-12)
    np.testing.assert_allclose(returns, np.array(expected) + values.numpy(), atol=1e-12)


def test_whitened_values_have_mean_0_and_unbiased_deviation_1() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(3, 5, size=40))
    came, x = whiten(values), values.numpy()
    np.testing.assert_allclose(came, (x - x.mean()) / np.sqrt(x.var(ddof=1) + 1e-8), atol=1e-12)
    assert whiten(torch.full((5,), 2.0)).tolist() == [0.0] * 5
    assert whiten(torch.tensor([7.0])).tolist() == [0.0]


def test_policy_loss_is_clipped_only_where_that_is_worse() -> None:
    """By hand: ratio 2 or 1/2, advantage 3 or -3, clip 0.2; the clipped ones have no gradient."""
    ratios, advantages = [2.0, 2.0, 0.5, 0.5, 1.1], [3.0, -3.0, 3.0, -3.0, 3.0]
    logprobs = torch.tensor(ratios, dtype=torch.float64).log().requires_grad_()
    losses = policy_loss(logprobs, torch.zeros(5, dtype=torch.float64), torch.tensor(advantages).double(), 0.2)
    np.testing.assert_allclose(losses.detach(), [-3.6, 6.0, -1.5, 2.4, -3.3], atol=1e-12)
    losses.sum().backward()
    assert logprobs.grad is not None
    np.testing.assert_allclose(logprobs.grad, [0.0, 6.0, -1.5, 0.0, -3.3], atol=1e-12)


def test_value_loss_is_the_larger_of_both_errors() -> None:
    """By hand: old value 0, clip 0.2; a step beyond the clip is no gain, and has no gradient where it would be."""
    values = torch.tensor([0.1, 1.0, 1.0, -1.0], dtype=torch.float64, requires_grad=True)
    returns = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    losses = value_loss(values, torch.zeros(4, dtype=torch.float64), returns, 0.2)
    np.testing.assert_allclose(losses.detach(), [0.405, 0.32, 0.5, 2.0], atol=1e-12)
    losses.sum().backward()
    assert values.grad is not None
    np.testing.assert_allclose(values.grad, [-0.9, 0.0, 1.0, -2.0], atol=1e-12)


@given(lengths_of)
def test_the_reward_is_at_the_token_that_ended_the_answer(lengths: list[int]) -> None:
    n = sum(lengths)
    logprobs, reference = -torch.arange(n, dtype=torch.float64), -torch.ones(n, dtype=torch.float64)
    rewards = torch.arange(1.0, len(lengths) + 1, dtype=torch.float64)
    came = penalised_rewards(_responses(lengths), logprobs, reference, rewards, 0.5)
    expected = [-0.5 * (1 - i) for i in range(n)]
    for i, end in enumerate(np.cumsum(lengths)):
        expected[end - 1] += i + 1
    np.testing.assert_allclose(came, expected, atol=1e-12)


def _golden_rows(entry: dict[str, Any]) -> tuple[Responses, dict[str, torch.Tensor]]:
    """TRL's answers without their padding, and every table of its inputs as [M]."""
    inputs = entry["inputs"]
    keep = torch.tensor(inputs["mask"], dtype=torch.bool)
    names = ("old_logprobs", "ref_logprobs", "old_values", "logprobs", "values")
    return _responses(inputs["lengths"]), {name: torch.tensor(inputs[name]).double()[keep] for name in names}


@pytest.mark.parametrize("name", ["ppo_unpadded", "row_0", "row_1", "row_2", "row_3"])
def test_from_rewards_to_gradients_equal_to_trl_s(golden: dict[str, Any], name: str) -> None:
    """Runs without padding, where TRL has the reward at the token that ended the answer."""
    entry = golden.get(name) or golden["ppo_rows"][name]
    inputs, outputs = entry["inputs"], entry["outputs"]
    batch, given = _golden_rows(entry)
    scores = torch.tensor(inputs["scores"], dtype=torch.float64)
    rewards = penalised_rewards(batch, given["old_logprobs"], given["ref_logprobs"], scores, inputs["kl_coef"])
    advantages, returns = gae(batch, rewards, given["old_values"], inputs["gamma"], inputs["lam"])
    whitened = whiten(advantages)
    logprobs, values = given["logprobs"].requires_grad_(), given["values"].requires_grad_()
    policy = policy_loss(logprobs, given["old_logprobs"], whitened, inputs["cliprange"])
    value = value_loss(values, given["old_values"], returns, inputs["cliprange_value"])
    loss = policy.mean() + inputs["vf_coef"] * value.mean()
    loss.backward()
    assert logprobs.grad is not None and values.grad is not None
    for came, expected in (
        (rewards, "rewards"), (advantages, "advantages"), (returns, "returns"), (whitened, "whitened_advantages"),
        (logprobs.grad, "grad_logprobs"), (values.grad, "grad_values"),
    ):  # fmt: skip
        np.testing.assert_allclose(came, np.ravel(outputs[expected]), atol=1e-6, err_msg=expected)
    came = (policy.mean().item(), value.mean().item(), loss.item())
    np.testing.assert_allclose(came, [outputs[key] for key in ("policy_loss", "value_loss", "loss")], atol=1e-6)


@pytest.mark.parametrize("name", ["ppo_gamma_1", "ppo_gamma_0.99"])
def test_losses_and_gradients_equal_trl_s(golden: dict[str, Any], name: str) -> None:
    """Padded rows: TRL's own advantages and returns are taken, because its reward is one token late there."""
    inputs, outputs = golden[name]["inputs"], golden[name]["outputs"]

    def kept(table: Any, mask: str) -> torch.Tensor:
        return torch.tensor(table).double()[torch.tensor(inputs[mask], dtype=torch.bool)]

    logprobs = kept(inputs["logprobs"], "mask").requires_grad_()
    old, advantages = kept(inputs["old_logprobs"], "mask"), kept(outputs["whitened_advantages"], "mask")
    policy = policy_loss(logprobs, old, advantages, inputs["cliprange"]).mean()
    values = kept(inputs["values"], "value_mask").requires_grad_()
    old, returns = kept(inputs["old_values"], "value_mask"), kept(outputs["returns"], "value_mask")
    value = value_loss(values, old, returns, inputs["cliprange_value"]).mean()
    loss = policy + inputs["vf_coef"] * value
    loss.backward()
    came = (policy.item(), value.item(), loss.item())
    np.testing.assert_allclose(came, [outputs[key] for key in ("policy_loss", "value_loss", "loss")], atol=1e-6)
    assert logprobs.grad is not None and values.grad is not None
    np.testing.assert_allclose(logprobs.grad, kept(outputs["grad_logprobs"], "mask"), atol=1e-6)
    np.testing.assert_allclose(values.grad, kept(outputs["grad_values"], "value_mask"), atol=1e-6)


def test_whitening_equals_trl_s(golden: dict[str, Any]) -> None:
    entry = golden["whiten"]
    keep = torch.tensor(entry["inputs"]["mask"], dtype=torch.bool)
    values = torch.tensor(entry["inputs"]["values"], dtype=torch.float64)[keep]
    expected = torch.tensor(entry["outputs"]["whitened"], dtype=torch.float64)[keep]
    np.testing.assert_allclose(whiten(values), expected, atol=1e-12)


# --- experience ----------------------------------------------------------------------------------------------------


class Scores:
    """In place of a reward model: gives the scores it was made with, then begins anew."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = list(values)

    def score(self, prompts: Sequence[Any], answers: Sequence[Any]) -> list[float]:
        return (self.values * len(answers))[: len(answers)]


Maker = Callable[..., Rollouts]


@pytest.fixture
def rollouts(digits: Path, tokenizer: Tokenizer, tmp_path: Path) -> Maker:
    """rollouts(scores=None, num_prompts=6, **settings) -> Rollouts of the model of digits."""

    def make(scores: Sequence[float] | None = None, num_prompts: int = 6, **settings: Any) -> Rollouts:
        given = {"batch_prompts": 4, "samples": 3, "max_tokens": 6, "minibatches": 3, "micro_batch": 5, **settings}
        config = validate(PpoConfig, given, "ppo")
        write_jsonl(tmp_path / "prompts.jsonl", prompt_rows(num_prompts))
        scorer: Any = None if scores is None else Scores(scores)
        model, reference = ActorCritic(load_model(digits)), load_model(digits)
        made = Rollouts(config, model, reference, scorer, tokenizer, StageOutput(tmp_path / "rollouts", seed=3))
        made.read(Inputs({"prompts": tmp_path / "prompts.jsonl", "heldout": tmp_path / "prompts.jsonl"}))
        return made

    return make


def _disturb(model: Llama) -> None:
    weight = model.embedding.weight
    weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))


def _completion(text: str, tokens: list[int], finish: Any = "stop") -> Completion:
    return Completion(text, tokens, None, finish, 0)


def test_answers_are_judged_as_documented(rollouts: Maker, tokenizer: Tokenizer) -> None:
    """Right, wrong, empty, right but cut off, and one to which nothing is known."""
    made = rollouts([0.5, -1.0], verifier=2.0, score=0.1, cut_off=0.25)
    known, unknown = Prompt("a", asked(0), "t", "number", "7"), Prompt("b", asked(1))
    eot = tokenizer.eot_id
    completions = [
        _completion("7", [1, eot]), _completion("8", [1, eot]), _completion("", [eot]),
        _completion("It is 7", [1, 2], "length"), _completion("7", [1, eot]),
    ]  # fmt: skip
    prompts = [(prompt, [1]) for prompt in (known, known, known, known, unknown)]
    rewards, measured = made._rewards(prompts, completions)
    np.testing.assert_allclose(rewards, [2 + 0.05, -0.1, 0.05, 2 - 0.1 - 0.25, 0.05], atol=1e-6)
    assert measured["verified"] == pytest.approx(2 / 4) and measured["cut_off"] == pytest.approx(1 / 5)
    assert measured["score"] == pytest.approx(-0.1) and measured["reward"] == pytest.approx(3.7 / 5)


def test_a_reward_that_is_no_number_is_left_out_and_counted(rollouts: Maker) -> None:
    made = rollouts([1.0, math.nan, 0.5, math.inf], score=1.0)
    experience = made.experience(0)
    assert len(experience.batch.tokens) == 6 and experience.measured["bad_rewards"] == 6  # of 12
    for value in (experience.logprobs, experience.values, experience.advantages, experience.returns):
        assert len(value) == experience.batch.mask.sum() and value.isfinite().all()
    assert all(math.isfinite(value) for value in experience.measured.values())
    whole = rollouts([1.0, 0.7, 0.5, 0.2], score=1.0).experience(0)
    kept = [i for i in range(12) if i % 4 in (0, 2)]
    assert torch.equal(whole.batch.select(torch.tensor(kept)).tokens, experience.batch.tokens)
    with pytest.raises(RunError, match="0 of 12 rewards of a batch are numbers; look at the reward model"):
        rollouts([math.nan], score=1.0).experience(0)


def test_experience_is_what_the_formulas_say(rollouts: Maker, tokenizer: Tokenizer, digits: Path) -> None:
    made = rollouts(num_prompts=8, kl=0.5, gamma=0.9, lam=0.8)
    with torch.no_grad():
        made.model.value += torch.linspace(-1, 1, 32)
        _disturb(made.reference)
    came = made.experience(1)
    rows = [
        (row[~mask][: int(mask.nonzero()[0])].tolist(), row[mask].tolist())
        for row, mask in zip(came.batch.tokens, came.batch.mask)
    ]
    assert len(rows) == 12 and len({tuple(prompt) for prompt, _ in rows}) == 4
    prompts, answers = [prompt for prompt, _ in rows], [answer for _, answer in rows]
    own, other = (Engine(m, tokenizer).score(prompts, answers) for m in (made.model.policy, made.reference))
    np.testing.assert_allclose(came.logprobs, np.concatenate(own), atol=1e-5)
    distances = [a.sum(dtype=np.float64) - b.sum(dtype=np.float64) for a, b in zip(own, other)]
    assert came.measured["kl"] == pytest.approx(np.mean(distances), abs=1e-4)
    assert abs(came.measured["kl"]) > 0.01
    assert came.measured["entropy"] == pytest.approx(-np.concatenate(own).mean(), abs=1e-5)
    assert came.measured["length"] == pytest.approx(np.mean([len(answer) for answer in answers]))
    texts = [tokenizer.decode(answer, skip_special=True) for answer in answers]
    assert came.measured["verified"] == pytest.approx(np.mean([text.strip() == "7" for text in texts]))
    advantages = []
    for i, (prompt, answer) in enumerate(rows):
        with torch.no_grad():
            states = made.model.policy.hidden(torch.tensor([prompt + answer]))[0, len(prompt) - 1 : -1]
        v = (states @ made.model.value.detach()).double().numpy()
        r = -0.5 * (own[i].astype(np.float64) - other[i])
        r[-1] += float(texts[i].strip() == "7") - (answer[-1] not in tokenizer.stop_ids)
        delta = r + 0.9 * np.append(v[1:], 0) - v
        advantages.append([sum(0.72 ** (k - t) * delta[k] for k in range(t, len(r))) for t in range(len(r))])
        np.testing.assert_allclose(_parts(came.values, [len(a) for a in answers])[i], v, atol=1e-4)
        np.testing.assert_allclose(_parts(came.returns, [len(a) for a in answers])[i], advantages[-1] + v, atol=1e-4)
    flat = np.concatenate(advantages)
    np.testing.assert_allclose(came.advantages, (flat - flat.mean()) / flat.std(ddof=1), atol=1e-3)


def test_samples_differ_between_prompts_places_and_iterations(rollouts: Maker) -> None:
    """Four of six prompts twice: the second time some come again, and are answered anew."""
    made = rollouts(num_prompts=1, batch_prompts=4)
    first, second = made.experience(0).batch.tokens, made.experience(1).batch.tokens
    assert not torch.equal(first, second) and torch.equal(first, made.experience(0).batch.tokens)
    groups = first.reshape(4, 3, -1).tolist()
    assert len({str(group) for group in groups}) > 1  # one prompt in four places is not sampled alike


def test_minibatches_are_a_partition_of_the_answers_in_every_epoch(rollouts: Maker) -> None:
    made = rollouts(epochs=2, minibatches=5)
    whole = [row.tolist() for row in made.experience(0).batch.tokens]
    orders = []
    for epoch in range(2):
        seen: list[list[int]] = []
        for part in range(5):
            one = made.minibatch(5 * epoch + part)
            assert len(one.logprobs) == one.batch.mask.sum() == len(one.returns)
            width = one.batch.tokens.shape[1]
            padding = [0] * (len(whole[0]) - width)
            seen += [row.tolist() + padding for row in one.batch.tokens]
            with torch.no_grad():
                np.testing.assert_allclose(answer_logprobs(made.reference, one.batch), one.logprobs, atol=1e-5)
        assert sorted(seen) == sorted(whole)
        orders.append(seen)
    assert orders[0] != orders[1]


# --- updates -------------------------------------------------------------------------------------------------------


def _gradient(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_the_first_update_is_the_policy_gradient(rollouts: Maker) -> None:
    """On its own samples the ratio is 1: the gradient is that of -mean(A log p) plus the value's squared error."""
    made = rollouts(minibatches=1, value=0.3)
    with torch.no_grad():
        made.model.value += torch.linspace(-1, 1, 32)
    experience = made.minibatch(0)
    row = clipped(made.config)(made.model, experience)
    assert row["clipped"] == 0 and row["moved"] < 1e-10
    came = _gradient(made.model)
    made.model.zero_grad()
    tokens, mask = experience.batch.tokens, experience.batch.mask
    logits = made.model.policy(tokens)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0][mask[:, 1:]]
    values = (made.model.policy.hidden(tokens) @ made.model.value)[:, :-1][mask[:, 1:]]
    loss = -(experience.advantages * logits).mean() + 0.3 * 0.5 * (values - experience.returns).square().mean()
    loss.backward()
    expected = _gradient(made.model)
    assert torch.linalg.norm(came - expected) <= 1e-4 * torch.linalg.norm(expected)
    assert row["policy_loss"] == pytest.approx(float(-experience.advantages.mean()), abs=1e-5)


def test_micro_batches_change_no_gradient(rollouts: Maker) -> None:
    made, grads = rollouts(minibatches=1), []
    experience = made.minibatch(0)
    with torch.no_grad():
        _disturb(made.model.policy)  # away from the sampler, so that some ratios are clipped
    for micro_batch in (1, 5, 64):
        made.model.zero_grad()
        row = clipped(made.config.model_copy(update={"micro_batch": micro_batch}))(made.model, experience)
        assert row["clipped"] > 0
        grads.append(_gradient(made.model))
    for other in grads[1:]:
        assert torch.linalg.norm(other - grads[0]) <= 1e-5 * torch.linalg.norm(grads[0])


def test_some_answers_of_an_experience_are_theirs() -> None:
    batch = _responses([2, 3, 1])
    numbers = torch.arange(6.0)
    some = Experience(batch, numbers, numbers + 10, numbers + 20, numbers + 30).select(torch.tensor([0, 2]))
    assert some.logprobs.tolist() == [0, 1, 5] and some.values.tolist() == [10, 11, 15]
    assert some.advantages.tolist() == [20, 21, 25] and some.returns.tolist() == [30, 31, 35]
    assert some.batch.lengths.tolist() == [2, 1]


# --- the stage -----------------------------------------------------------------------------------------------------


def _files(digits: Path, tmp_path: Path, num: int, **more: Any) -> Inputs:
    write_jsonl(tmp_path / "prompts.jsonl", prompt_rows(num))
    write_jsonl(tmp_path / "heldout.jsonl", prompt_rows(4))
    return Inputs({"model": digits, "prompts": tmp_path / "prompts.jsonl", **more})


def test_the_answer_that_pays_is_learned(digits: Path, tmp_path: Path) -> None:
    config = PpoConfig(
        iterations=14, batch_prompts=8, samples=8, max_tokens=6, minibatches=2, lr=3e-3, kl=0.0, heldout_every=5,
        schedule=ScheduleConfig(warmup_steps=1),
    )  # fmt: skip
    inputs = _files(digits, tmp_path, 8, heldout=tmp_path / "heldout.jsonl")
    out = StageOutput(tmp_path / "out", seed=1)
    run(config, inputs, out)
    log = list(read_jsonl(out.path / "log.jsonl"))
    assert len(log) == 28 and log[0]["verified"] < 0.4
    assert out.metrics["verified"] > 0.9 and out.metrics["heldout"] == 1 and out.metrics["kl"] > 0.5
    assert out.metrics["num_tokens"] == sum(row["sampled"] for row in log[::2])
    assert [i for i, row in enumerate(log[::2]) if "heldout" in row] == [0, 5, 10]
    assert "heldout_score" not in out.metrics  # there is no reward model to give one
    titles = [panel["title"] for panel in out.panels]
    assert titles[0] == "Reward and the held-out verifier" and len(titles) == 4
    assert [series["x"] for series in out.panels[0]["series"]] == [list(range(14)), [0, 5, 10, 14]]
    assert load_model(out.path).config == load_model(digits).config


def test_fitted_value_is_ridge_regression() -> None:
    torch.manual_seed(3)
    states, returns = torch.randn(400, 12), torch.randn(400)
    ridge = 1e-3 * float(states.square().sum(0).mean())
    rows = np.vstack([states.numpy().astype(np.float64), math.sqrt(ridge) * np.eye(12)])
    expected = np.linalg.lstsq(rows, np.concatenate([returns.numpy().astype(np.float64), np.zeros(12)]), rcond=None)[0]
    assert np.allclose(fitted_value(states, returns).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heldout", [{}, {"heldout": 0.5}, {"heldout": 0.5, "heldout_score": 2.0}])
def test_the_held_out_share_has_an_axis_of_its_own(heldout: dict[str, float]) -> None:
    row = dict.fromkeys(("reward", "kl", "length", "entropy"), 1.0)
    made = panels([row | heldout, row, row | heldout], heldout, PpoConfig())
    right = [series["name"] for series in made[0]["series"] if series.get("right")]
    left = [series["name"] for series in made[0]["series"] if not series.get("right")]
    assert right == (["right, held-out prompts"] if heldout else [])
    assert left == ["reward of the samples"] + ["reward model, held-out prompts"] * ("heldout_score" in heldout)
    assert made[0].get("right_label") == ("share right" if heldout else None)
    assert not any("right_label" in panel for panel in made[1:])
    assert not any("could not be drawn" in render_panel(panel, None) for panel in made)


def test_prompts_without_room_for_an_answer_are_counted(digits: Path, tmp_path: Path) -> None:
    long = {"id": "long", "messages": [{"role": "user", "content": "why? " * 20}], "kind": "number", "answer": "7"}
    write_jsonl(tmp_path / "p.jsonl", [*prompt_rows(3), long])
    config = PpoConfig(iterations=1, batch_prompts=4, samples=1, max_tokens=8, minibatches=1)
    out = StageOutput(tmp_path / "out")
    run(config, Inputs({"model": digits, "prompts": tmp_path / "p.jsonl"}), out)
    assert out.metrics["too_long"] == 1
    write_jsonl(tmp_path / "p.jsonl", [long])
    with pytest.raises(DataError, match=r"expected prompts of at most 88 tokens, came 1 \(1 too long\)"):
        run(config, Inputs({"model": digits, "prompts": tmp_path / "p.jsonl"}), StageOutput(tmp_path / "none"))


def test_what_nothing_can_judge_is_refused(digits: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    inputs = _files(digits, tmp_path, 3)
    with pytest.raises(DataError, match='expected an input "reward" for score 0.5, came none'):
        run(PpoConfig(score=0.5, max_tokens=8), inputs, StageOutput(tmp_path / "a"))
    with pytest.raises(DataError, match="came 3 prompts that nothing judges"):
        run(PpoConfig(verifier=0, max_tokens=8), inputs, StageOutput(tmp_path / "b"))
    write_jsonl(tmp_path / "open.jsonl", [{"messages": asked(i)} for i in range(2)])
    inputs = Inputs({"model": digits, "prompts": tmp_path / "open.jsonl"})
    with pytest.raises(DataError, match="came 2 prompts that nothing judges"):
        run(PpoConfig(max_tokens=8), inputs, StageOutput(tmp_path / "c"))
    other = Tokenizer({bytes([255 - i]): i for i in range(256)}, special_ids(256, 16), split_pattern())
    save_model(load_model(digits), other, tmp_path / "other")
    with pytest.raises(ArtifactError, match="reference: expected the model's tokenizer"):
        run(PpoConfig(), _files(digits, tmp_path, 3, reference=tmp_path / "other"), StageOutput(tmp_path / "d"))
    with pytest.raises(ConfigError, match="at most as many minibatches as an iteration has answers"):
        validate(PpoConfig, {"batch_prompts": 1, "samples": 3, "minibatches": 4}, "ppo")

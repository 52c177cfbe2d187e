"""Proximal policy optimisation with a reward from a verifier and a reward model (Schulman 2017; Ouyang 2022).

prompts -> samples with their log-probabilities (engine) -> rewards -> GAE -> clipped updates of policy and value

What becomes of a reward is in advantages.py. An iteration is one batch of samples and
`epochs` x `minibatches` optimizer steps on it. A step of the training loop is an optimizer step; checkpoints are
written between iterations, so that a resumed run samples the same answers again from the same weights.

N answers, A tokens of the longest, B prompt and answer in a row, D model width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from puna.base.errors import ArtifactError, DataError, RunError
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.base.rng import generator, hash64
from puna.engine import Completion, Engine, SamplingParams
from puna.model import Llama, load_model
from puna.posttrain.advantages import fitted_value, gae, penalised_rewards, whiten
from puna.posttrain.batches import shuffled_batches
from puna.posttrain.prompts import Prompt, encode_prompts, read_prompts
from puna.posttrain.responses import Responses, answer_logprobs, answer_states, logprobs_of
from puna.posttrain.reward import Scorer
from puna.pretrain.loop import Backward, LoopConfig, train
from puna.pretrain.run import save_base
from puna.tokenizer import Tokenizer

_SHOWN = ("reward", "verified", "heldout", "kl", "length")


class PpoConfig(LoopConfig):
    """Settings of PPO. The reward of an answer is verifier * (1 if right, else 0) + score * its reward-model score.

    batch_prompts prompts with `samples` answers each make an iteration; micro_batch counts answers. kl: weight of the
    per-token log-probability over the reference's, taken off the reward. cut_off: taken off an answer that did not end
    in max_tokens. heldout_every: iterations between greedy answers to held-out prompts, judged by the verifier.
    """

    iterations: int = Field(default=20, ge=1)
    batch_prompts: int = Field(default=64, ge=1)
    samples: int = Field(default=4, ge=1)
    epochs: int = Field(default=1, ge=1)
    minibatches: int = Field(default=4, ge=1)
    micro_batch: int = Field(default=64, ge=1)
    max_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    verifier: float = Field(default=1.0, ge=0)
    score: float = Field(default=0.0, ge=0)
    cut_off: float = Field(default=1.0, ge=0)
    kl: float = Field(default=0.02, ge=0)
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    ratio_clip: float = Field(default=0.2, gt=0)
    value_clip: float = Field(default=0.2, gt=0)
    value: float = Field(default=0.1, ge=0)
    heldout_every: int = Field(default=5, ge=1)
    heldout_limit: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _every_minibatch_has_an_answer(self) -> "PpoConfig":
        if self.minibatches > self.batch_prompts * self.samples:
            raise ValueError("at most as many minibatches as an iteration has answers (batch_prompts x samples)")
        return self

    @property
    def updates(self) -> int:
        """Optimizer steps of an iteration."""
        return self.epochs * self.minibatches


class ActorCritic(nn.Module):
    """A policy and, on its last states, a value head [D]; PPO's first batch gives it its start (`fitted_value`)."""

    def __init__(self, policy: Llama) -> None:
        super().__init__()
        self.policy = policy
        self.value = nn.Parameter(torch.zeros(policy.config.dim))


@dataclass(frozen=True)
class Experience:
    """Answers with all that an update needs; logprobs, values, advantages and returns are [M], one an answer token."""

    batch: Responses
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    measured: dict[str, float] = field(default_factory=dict)

    def select(self, rows: Tensor) -> "Experience":
        """Some of the answers, `rows` ascending."""
        of_rows = self.batch.tokens_of(rows)
        logprobs, values = self.logprobs[of_rows], self.values[of_rows]
        advantages, returns = self.advantages[of_rows], self.returns[of_rows]
        return Experience(self.batch.select(rows), logprobs, values, advantages, returns, self.measured)


@dataclass(frozen=True)
class _Judged:
    """Answers with log-probabilities [M], states [M, D] and rewards [M] of their tokens, before any value."""

    batch: Responses
    logprobs: Tensor
    states: Tensor
    rewards: Tensor
    measured: dict[str, float]


def run(config: PpoConfig, inputs: Inputs, out: StageOutput) -> None:
    """Train a policy. Inputs: `model`, `prompts`; `heldout` (prompts), `reward` (a reward stage), `reference` (a model;
    by default the model as it came).

    Raises DataError if no prompt fits or none can be judged, ArtifactError if `reward` or `reference` has another
    tokenizer, RunError if rewards are no numbers.
    """
    prepare_machine(out.threads)
    tokenizer = Tokenizer.load(inputs.one("model"))
    model = ActorCritic(load_model(inputs.one("model")))
    reference = load_model(inputs.one("reference" if inputs.has("reference") else "model")).eval()
    scorer = Scorer.load(inputs.one("reward")) if inputs.has("reward") else None
    for name in ("reward", "reference"):
        if inputs.has(name) and Tokenizer.load(inputs.one(name)).fingerprint != tokenizer.fingerprint:
            raise ArtifactError(f"{name}: expected the model's tokenizer, came another; ids would mean other texts")
    rollouts = Rollouts(config, model, reference, scorer, tokenizer, out)
    rollouts.read(inputs)
    num_steps = config.iterations * config.updates
    log = train(
        model, rollouts.minibatch, num_steps, config, out, clipped(config), boundary=config.updates, show=_SHOWN
    )
    iterations = log[:: config.updates]
    final = rollouts.examine()
    save_base(model.policy, tokenizer, log, out)
    last = iterations[-1]
    out.metric(num_steps=num_steps, too_long=rollouts.too_long, bad_rewards=sum(r["bad_rewards"] for r in iterations))
    out.metric(**{name: last[name] for name in ("reward", "verified", "score", "kl", "length", "entropy")}, **final)
    out.metric(num_tokens=sum(r["sampled"] for r in iterations))
    out.panels += panels(iterations, final, config)


class Rollouts:
    """Makes the experience of each iteration from the policy as it is, and its minibatches by step."""

    def __init__(
        self,
        config: PpoConfig,
        model: ActorCritic,
        reference: Llama,
        scorer: Scorer | None,
        tokenizer: Tokenizer,
        out: StageOutput,
    ) -> None:
        self.config, self.model, self.reference, self.scorer = config, model, reference, scorer
        self.tokenizer, self.seed, self.too_long = tokenizer, out.seed, 0
        self.engine = Engine(model.policy, tokenizer, config.batch_prompts * config.samples, out.threads)
        self._heldout: list[tuple[Prompt, list[int]]] = []
        self._experience: Experience | None = None

    def read(self, inputs: Inputs) -> None:
        """Read the prompts. Raises DataError if none fits, or none can be judged by what the settings weigh."""
        if self.config.score and self.scorer is None:
            raise DataError(f'expected an input "reward" for score {self.config.score:g}, came none')
        encoded = self._encoded(inputs, "prompts")
        if not self.config.score and not (self.config.verifier and any(prompt.verifiable for prompt, _ in encoded)):
            raise DataError(
                f"expected prompts with a known answer, or score > 0, came {len(encoded)} prompts that nothing judges"
            )
        self._prompts = shuffled_batches(encoded, self.config.batch_prompts, self.seed)
        if inputs.has("heldout"):
            self._heldout = self._encoded(inputs, "heldout")[: self.config.heldout_limit]

    def minibatch(self, step: int) -> Experience:
        """What optimizer step number `step` learns from."""
        iteration, update = divmod(step, self.config.updates)
        if update == 0:
            self._experience = self.experience(iteration)
        assert self._experience is not None, "a resumed run begins with an iteration"
        epoch, part = divmod(update, self.config.minibatches)
        num_rows = len(self._experience.batch.tokens)
        order = torch.from_numpy(generator(self.seed, "minibatches", iteration, epoch).permutation(num_rows))
        return self._experience.select(order[part :: self.config.minibatches].sort().values)

    def experience(self, iteration: int) -> Experience:
        """Sample, judge, and estimate advantages. Raises RunError if too few rewards of the batch are numbers."""
        if iteration == 0:
            self._start_value()
        judged = self._judged(iteration)
        values = judged.states @ self.model.value.detach()
        advantages, returns = gae(judged.batch, judged.rewards, values, self.config.gamma, self.config.lam)
        if self._heldout and iteration % self.config.heldout_every == 0:
            judged.measured.update(self.examine())
        return Experience(judged.batch, judged.logprobs, values, whiten(advantages), returns, judged.measured)

    def _start_value(self) -> None:
        """Fit the value head on a batch of its own: fitted on what it judges, it would explain the rewards away."""
        judged = self._judged(self.config.iterations)
        returns, _ = gae(judged.batch, judged.rewards, torch.zeros_like(judged.rewards), self.config.gamma, 1.0)
        self.model.value.data.copy_(fitted_value(judged.states, returns))

    def _judged(self, number: int) -> "_Judged":
        """Batch number `number` of answers with their rewards."""
        prompts = [one for one in self._prompts(number) for _ in range(self.config.samples)]
        completions = self._sample(prompts[:: self.config.samples], number)
        rewards, measured = self._rewards(prompts, completions)
        good = rewards.isfinite()
        if good.sum() < self.config.minibatches:  # no minibatch may be empty
            raise RunError(f"{int(good.sum())} of {len(good)} rewards of a batch are numbers; look at the reward model")
        kept = good.nonzero()[:, 0].tolist()
        batch = Responses.of([prompts[i][1] for i in kept], [completions[i].tokens for i in kept])
        logprobs = torch.tensor([value for i in kept for value in completions[i].logprobs or ()])
        states, reference = torch.empty(len(logprobs), self.model.policy.config.dim), torch.empty(len(logprobs))
        with torch.inference_mode():
            for rows in batch.parts(self.config.micro_batch):
                part, of_rows = batch.select(rows), batch.tokens_of(rows)
                states[of_rows] = answer_states(self.model.policy, part)
                reference[of_rows] = answer_logprobs(self.reference, part)
        measured |= {
            "bad_rewards": float((~good).sum()),
            "kl": float((logprobs - reference).sum() / len(kept)),
            "entropy": float(-logprobs.mean()),
            "length": float(batch.lengths.float().mean()),
            "sampled": float(len(logprobs)),
        }
        per_token = penalised_rewards(batch, logprobs, reference, rewards[good], self.config.kl)
        return _Judged(batch, logprobs, states, per_token, measured)

    def examine(self) -> dict[str, float]:
        """Greedy answers to the held-out prompts: the share found right, and the mean score where a model gives one."""
        if not self._heldout:
            return {}
        params = SamplingParams(max_tokens=self.config.max_tokens)
        completions = self.engine.generate([ids for _, ids in self._heldout], params)
        _, measured = self._rewards(self._heldout, completions)
        score = {} if self.scorer is None else {"heldout_score": measured["score"]}
        return {"heldout": measured["verified"], **score}

    def _encoded(self, inputs: Inputs, name: str) -> list[tuple[Prompt, list[int]]]:
        room = self.model.policy.config.max_position - self.config.max_tokens
        prompts, ids, too_long = encode_prompts(read_prompts(inputs.many(name)), self.tokenizer, room)
        self.too_long += too_long
        return list(zip(prompts, ids, strict=True))

    def _sample(self, prompts: Sequence[tuple[Prompt, list[int]]], iteration: int) -> list[Completion]:
        params = [
            SamplingParams(
                max_tokens=self.config.max_tokens,
                temperature=self.config.temperature,
                seed=hash64(self.seed, "ppo", iteration, place, prompt.id),
                n=self.config.samples,
                logprobs=True,
            )
            for place, (prompt, _) in enumerate(prompts)
        ]
        return self.engine.generate([ids for _, ids in prompts], params)

    def _rewards(
        self, prompts: Sequence[tuple[Prompt, list[int]]], completions: Sequence[Completion]
    ) -> tuple[Tensor, dict[str, float]]:
        """The reward of each answer [N], and means of what it is composed of."""
        verified = torch.tensor(
            [
                float(p.verifiable and p.verify(one.text).correct)
                for (p, _), one in zip(prompts, completions, strict=True)
            ]
        )
        scores = torch.zeros(len(completions))
        if self.scorer is not None:
            scores = torch.tensor(self.scorer.score([ids for _, ids in prompts], [one.tokens for one in completions]))
        cut_off = torch.tensor([float(one.finish_reason == "length") for one in completions])
        config = self.config
        rewards = config.verifier * verified + config.score * scores - config.cut_off * cut_off
        checked = [p.verifiable for p, _ in prompts]
        means = {
            "reward": _mean(rewards),
            "verified": float(verified[torch.tensor(checked)].mean()) if any(checked) else math.nan,
            "score": _mean(scores),
            "cut_off": float(cut_off.mean()),
        }
        return rewards, {name: 0.0 if math.isnan(value) else value for name, value in means.items()}


def clipped(config: PpoConfig) -> Backward[Experience]:
    """The clipped losses of policy and value over a minibatch, as means over its answer tokens."""

    def backward(model: nn.Module, whole: Experience) -> dict[str, float]:
        assert isinstance(model, ActorCritic)
        num_tokens = len(whole.logprobs)
        row = dict.fromkeys(("loss", "policy_loss", "value_loss", "clipped", "moved"), 0.0)
        for part in map(whole.select, whole.batch.parts(config.micro_batch)):
            states = answer_states(model.policy, part.batch)
            logprobs, values = logprobs_of(model.policy, states, part.batch), states @ model.value
            policy = policy_loss(logprobs, part.logprobs, part.advantages, config.ratio_clip).sum() / num_tokens
            value = value_loss(values, part.values, part.returns, config.value_clip).sum() / num_tokens
            loss = policy + config.value * value
            loss.backward()
            ratio = (logprobs.detach() - part.logprobs).exp()
            outside = ((ratio - 1).abs() > config.ratio_clip).float().sum() / num_tokens
            moved = 0.5 * (logprobs.detach() - part.logprobs).square().sum() / num_tokens
            measured = (loss, policy, value, outside, moved)
            row = {name: row[name] + one.item() for name, one in zip(row, measured, strict=True)}
        return {**whole.measured, **row, "targets": num_tokens}

    return backward


def policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """[M]: -min(ratio A, clip(ratio, 1 - clip, 1 + clip) A) (Schulman 2017, eq. 7)."""
    ratio = (logprobs - old).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """[M]: half the larger squared error of the value and of the value kept within `clip` of the old one."""
    kept = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (kept - returns).square())


def panels(iterations: Sequence[dict[str, float]], final: dict[str, float], config: PpoConfig) -> list[dict[str, Any]]:
    """What the report shows: reward against the held-out verifier, and how far the policy has gone."""
    x = list(range(len(iterations)))
    checked = [(i, row) for i, row in enumerate(iterations) if "heldout" in row]
    places = [i for i, _ in checked] + ([len(iterations)] if final else [])
    rows = [row for _, row in checked] + ([final] if final else [])
    reward: list[dict[str, Any]] = [
        {"name": "reward of the samples", "x": x, "y": [row["reward"] for row in iterations]}
    ]
    if rows and "heldout_score" in rows[0]:
        scores = [row["heldout_score"] for row in rows]
        reward.append({"name": "reward model, held-out prompts", "x": places, "y": scores})
    if rows:
        shares = [row["heldout"] for row in rows]
        reward.append({"name": "right, held-out prompts", "x": places, "y": shares, "right": True})
    note = (
        f"Reward = {config.verifier:g} x right + {config.score:g} x reward model - {config.cut_off:g} x cut off. "
        "Over-optimisation is a reward that goes on rising while the held-out share of right answers falls."
    )
    kl = [{"name": "KL from the reference, nats an answer", "x": x, "y": [row["kl"] for row in iterations]}]
    length = [{"name": "tokens an answer", "x": x, "y": [row["length"] for row in iterations]}]
    entropy = [{"name": "entropy, nats a token", "x": x, "y": [row["entropy"] for row in iterations]}]
    right_label = {"right_label": "share right"} if rows else {}
    shown = [
        {"kind": "lines", "title": title, "x_label": "iteration", "y_label": unit, "series": series, "note": text}
        for title, unit, series, text in (
            ("Reward and the held-out verifier", "reward", reward, note),
            ("Distance from the reference", "nats", kl, ""),
            ("Length of the answers", "tokens", length, ""),
            ("Entropy of the samples", "nats", entropy, ""),
        )
    ]
    return [shown[0] | right_label, *shown[1:]]


def _mean(values: Tensor) -> float:
    """The mean of the finite values, NaN if there is none."""
    finite = values[values.isfinite()]
    return float(finite.mean()) if len(finite) else math.nan

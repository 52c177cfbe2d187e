"""Golden numbers from TRL for rewards, DPO and PPO: makes trl.json beside this file, each number by TRL's own code.

Made with TRL 1.10.0 (its PPO is the same up to 1.12.0, then removed), transformers 5.23.0 and the CPU build of torch
2.13.0, pinned in benchmarks/peers/trl.txt. To make it again:

    python -m venv trl-venv && trl-venv/bin/pip install -r benchmarks/peers/trl.txt
    trl-venv/bin/python tests/posttrain/golden/make_trl.py

TRL writes its formulas in the middle of long methods. Those methods run here unchanged, on a model that answers with
the numbers we drew or on a tiny Llama, and the caller's variables are read where TRL calls its accelerator.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
import trl
from datasets import Dataset
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

GOLDEN = Path(__file__).with_name("trl.json")
PAD, EOS, VOCAB = 0, 2, 64
PAIRS = [  # unequal lengths on purpose: the collator pads all six to one length
    {"prompt_ids": [11, 5, 23], "chosen_ids": [40, 41, 17, 2], "rejected_ids": [9, 33, 60, 4, 28, 2]},
    {"prompt_ids": [7, 7, 52, 30, 12], "chosen_ids": [19, 3, 44, 58, 6, 21, 2], "rejected_ids": [19, 50, 2]},
    {"prompt_ids": [63, 14, 8, 36], "chosen_ids": [25, 2], "rejected_ids": [47, 10, 55, 29, 2]},
]
PAIRWISE = "trl.RewardTrainer.compute_loss"
PREFERENCE = "trl.DPOTrainer.compute_loss"
PROXIMAL = "trl.experimental.ppo.PPOTrainer.train"


def main() -> None:
    """Write every entry."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory() as out:
        entries = {
            "about": {
                "versions": {
                    "trl": trl.__version__,
                    "transformers": transformers.__version__,
                    "torch": torch.__version__.split("+")[0],
                },
                "weights": "rng = numpy.random.Generator(numpy.random.Philox(seed)); for each name of "
                "sorted(named_parameters): float32(0.3 * rng.standard_normal(shape)), plus 1 if it ends in "
                "norm.weight. Tied: lm_head.weight is model.embed_tokens.weight and draws nothing.",
                "shape": "B pairs or responses, T tokens of the response; masks: 1 is kept",
            },
            **reward_entries(out),
            **dpo_entries(out),
            "whiten": whiten_entry(),
            **ppo_entries(out),
        }
    GOLDEN.write_text(_to_json(entries) + "\n", encoding="utf-8")


def reward_entries(out: str) -> dict[str, Any]:
    """The pairwise loss on given rewards, with and without margins, and on a tiny Llama with a score head."""
    model = _fill(LlamaForSequenceClassification(_tiny_config(num_labels=1)), seed=77)
    trainer = trl.RewardTrainer(
        model=model,
        args=trl.RewardConfig(**_quiet(out), center_rewards_coefficient=None),
        processing_class=_tokenizer(),
        train_dataset=Dataset.from_dict({"chosen_ids": [[3]], "rejected_ids": [[4]]}),
    )
    rng = np.random.default_rng(11)
    chosen, rejected = 1.5 * rng.standard_normal(8) + 0.3, 1.5 * rng.standard_normal(8)
    margin = np.array([0.0, 1 / 3, 2 / 3, 1.0, 0.0, 0.5, 1.0, 3.0])
    entries = {}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        for margins in (None, margin):
            inputs = {"chosen": torch.tensor(chosen, dtype=dtype), "rejected": torch.tensor(rejected, dtype=dtype)}
            batch: dict[str, Tensor] = {"attention_mask": torch.ones(16, 1)}
            if margins is not None:
                batch["margin"] = inputs["margin"] = torch.tensor(margins, dtype=dtype)
            logits = torch.cat([inputs["chosen"], inputs["rejected"]]).unsqueeze(1).requires_grad_()
            loss = trainer.compute_loss(_answering(logits), batch)
            of_chosen, of_rejected = torch.autograd.grad(loss, logits)[0].squeeze(1).chunk(2)
            outputs = {"loss": loss, "grad_chosen": of_chosen, "grad_rejected": of_rejected}
            entries[f"reward{'' if margins is None else '_margin'}_{name}"] = _entry(PAIRWISE, inputs, outputs)

    rows = [{f"{side}_ids": p["prompt_ids"] + p[f"{side}_ids"] for side in ("chosen", "rejected")} for p in PAIRS]
    loss, answer = trainer.compute_loss(model, trainer.data_collator(rows), return_outputs=True)
    loss.backward()
    rewards = answer.logits.squeeze(-1).chunk(2)
    outputs = {"chosen": rewards[0], "rejected": rewards[1], "loss": loss, **_gradients(model)}
    note = "LlamaForSequenceClassification: score.weight (1, 32) has no bias; the reward is read at the last token."
    entries["reward_model"] = _entry(PAIRWISE, {**_model_inputs(model.config), "seed": 77}, outputs, note)
    return entries


def dpo_entries(out: str) -> dict[str, Any]:
    """DPO on given log-probabilities, then Llama 3's DPO + 0.2 NLL on a tiny Llama."""
    policy = _fill(LlamaForCausalLM(_tiny_config()), seed=1234)
    reference = _fill(LlamaForCausalLM(_tiny_config()), seed=4321)
    trainer = trl.DPOTrainer(
        model=policy,
        ref_model=reference,
        args=trl.DPOConfig(**_quiet(out), beta=0.1, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.2]),
        processing_class=_tokenizer(),
        train_dataset=Dataset.from_dict({"prompt": ["t3"], "chosen": ["t4"], "rejected": ["t5"]}),
    )
    return {"dpo": _dpo_entry(trainer), "dpo_model": _dpo_model_entry(trainer)}


def whiten_entry() -> dict[str, Any]:
    """TRL's whitening alone."""
    rng = np.random.default_rng(31)
    values = torch.tensor(2 * rng.standard_normal((4, 7)) + 1)
    mask = torch.arange(7) < torch.tensor([7, 6, 4, 3]).unsqueeze(1)
    with _float64():
        outputs = {
            "mean": ppo_trainer.masked_mean(values, mask),
            "variance": ppo_trainer.masked_var(values, mask),
            "whitened": ppo_trainer.masked_whiten(values, mask),
            "whitened_mean_kept": ppo_trainer.masked_whiten(values, mask, shift_mean=False),
        }
    note = "Unbiased variance (n - 1), rsqrt(variance + 1e-8). Masked places are whitened too: set them to 0 yourself."
    names = "trl.experimental.ppo.ppo_trainer.masked_mean, masked_var, masked_whiten"
    return _entry(names, {"values": values, "mask": mask}, outputs, note)


def ppo_entries(out: str) -> dict[str, Any]:
    """One PPO step on drawn rollouts: padded at both gammas, unpadded, with k3, and each padded row run alone."""
    padded, full = _Rollout(41, [7, 6, 4, 3], ends=[0, 1, 1, 1]), _Rollout(43, [7] * 4, ends=[1, 1, 1, 0])
    score_note = (
        "TRL adds the score one place after the last token (EOS) where the response is padded, at the last token where "
        "it fills the row (issue 3750); the value there is trained too (value_mask) and serves as the next value of "
        "EOS, where a textbook has score at EOS and no value after it: see ppo_rows, the same rows run without padding."
    )
    kl_note = "Masked log-probabilities are 1.0, so their difference is 0. approx_kl divides by all B x T places."
    notes = f"{score_note} {kl_note}"
    whole = f"{kl_note} No padding: the score is at the last token, as in a textbook."
    return {
        "ppo_gamma_1": _ppo_entry(padded, out, notes, gamma=1.0),
        "ppo_gamma_0.99": _ppo_entry(padded, out, notes, gamma=0.99),
        "ppo_k3": _ppo_entry(padded, out, notes, gamma=1.0, kl_estimator="k3"),
        "ppo_unpadded": _ppo_entry(full, out, whole, gamma=0.99),
        "ppo_rows": {
            f"row_{row}": _ppo_entry(padded.alone(row), out, f"Row {row} of ppo_gamma_0.99. {whole}", gamma=0.99)
            for row in range(4)
        },
    }


def _dpo_entry(trainer: trl.DPOTrainer) -> dict[str, Any]:
    rng = np.random.default_rng(21)
    reference = torch.tensor(-rng.uniform(2, 40, 16))
    wanted = (reference + torch.tensor(6 * rng.standard_normal(16))).clamp(max=-0.05)
    # two tokens, vocabulary of two: the completion's one log-probability is the sum that was wanted
    logits = torch.zeros(16, 2, 2, dtype=torch.float64)
    logits[:, 0, 0] = wanted - torch.log1p(-wanted.exp())
    batch = {
        "input_ids": torch.zeros(16, 2, dtype=torch.int64),
        "attention_mask": torch.ones(16, 2, dtype=torch.int64),
        "completion_mask": torch.tensor([[0, 1]]).expand(16, 2),
        "ref_chosen_logps": reference[:8],
        "ref_rejected_logps": reference[8:],
    }
    trainer.precompute_ref_logps = True
    with _losses(trainer, sigmoid=1.0):
        loss, seen = _dpo_loss(trainer, _answering(logits.requires_grad_()), batch)
    trainer.precompute_ref_logps = False
    of_chosen, of_rejected = torch.autograd.grad(loss, [seen["chosen_logps"], seen["rejected_logps"]])
    inputs = {
        "beta": trainer.beta,
        "label_smoothing": trainer.label_smoothing,
        **{name: seen[name] for name in ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")},
    }
    outputs = {
        "losses": seen["per_sequence_loss"],
        "loss": loss,
        "chosen_rewards": seen["chosen_rewards"],
        "rejected_rewards": seen["rejected_rewards"],
        "grad_chosen_logps": of_chosen,
        "grad_rejected_logps": of_rejected,
    }
    return _entry(PREFERENCE, inputs, outputs, "Gradients are of the mean loss over the 8 pairs.")


def _dpo_model_entry(trainer: trl.DPOTrainer) -> dict[str, Any]:
    model, batch = trainer.model, trainer.data_collator(PAIRS)
    alone = [trainer.data_collator([pair]) for pair in PAIRS]
    loss, seen = _dpo_loss(trainer, model, batch)
    loss.backward()
    outputs = {
        **{name: seen[name] for name in ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")},
        "loss": loss,
        **_gradients(model),
    }
    with _losses(trainer, sigmoid=1.0):
        outputs["sigmoid_losses"] = _dpo_loss(trainer, model, batch)[1]["per_sequence_loss"]
    with _losses(trainer, sft=1.0):
        outputs["nll"] = _dpo_loss(trainer, model, batch)[0]
        outputs["nll_of_each_pair"] = torch.stack([_dpo_loss(trainer, model, pair)[0] for pair in alone])
    inputs = {
        **_model_inputs(model.config),
        "seed": 1234,
        "reference_seed": 4321,
        "beta": trainer.beta,
        "loss_type": trainer.loss_types,
        "loss_weights": trainer.loss_weights,
    }
    note = (
        "loss = mean(sigmoid_losses) + 0.2 * nll. nll is over all chosen tokens of the batch together; "
        "nll_of_each_pair is TRL on each pair as its own batch, whose mean weighs sequences equally."
    )
    return _entry(PREFERENCE, inputs, outputs, note)


def _dpo_loss(trainer: trl.DPOTrainer, model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
    seen: dict[str, Any] = {}
    trainer.accelerator.gather = _reading(seen)
    return trainer.compute_loss(model, dict(batch)), seen


@contextmanager
def _losses(trainer: trl.DPOTrainer, **weights: float) -> Iterator[None]:
    before = trainer.loss_types, trainer.loss_weights
    trainer.loss_types, trainer.loss_weights = list(weights), list(weights.values())
    yield
    trainer.loss_types, trainer.loss_weights = before


class _Rollout:
    """Drawn responses with everything that the models of PPO will say about them; row number = first prompt token."""

    def __init__(self, seed: int, lengths: list[int], ends: list[int]) -> None:
        rng, size = np.random.default_rng(seed), (len(lengths), max(lengths))
        vocab = 8
        self.responses = torch.tensor(rng.integers(EOS + 1, vocab, size))
        for row, (length, has_end) in enumerate(zip(lengths, ends)):
            self.responses[row, length:] = PAD
            if has_end:
                self.responses[row, length - 1] = EOS
        drawn = [torch.tensor(rng.standard_normal((*size, vocab))) for _ in range(3)]
        self.old, self.new, self.ref = drawn[0], drawn[0] + 0.4 * drawn[1], drawn[0] + 0.6 * drawn[2]
        self.values = torch.tensor(0.5 * rng.standard_normal(size))
        self.new_values = self.values + torch.tensor(0.3 * rng.standard_normal(size))
        self.scores = torch.tensor(rng.standard_normal(size[0]))

    def alone(self, row: int) -> "_Rollout":
        """One row at its own length."""
        alone = object.__new__(_Rollout)
        kept = int((self.responses[row] != PAD).sum())
        for name, value in vars(self).items():
            setattr(alone, name, value[row : row + 1] if value.ndim == 1 else value[row : row + 1, :kept])
        return alone


class _Policy(nn.Module):
    """Answers with the given logits; generate() returns the drawn responses."""

    is_gradient_checkpointing = False

    def __init__(self, rollout: _Rollout, logits: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))  # something for the optimizer
        self.rollout, self.logits = rollout, logits
        self.config, self.generation_config = _tiny_config(), transformers.GenerationConfig()

    def generate(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        rows = _rows(input_ids)
        sequences = torch.cat([input_ids, self.rollout.responses[rows]], dim=1)
        return SimpleNamespace(sequences=sequences, scores=self.rollout.old[rows].unbind(1))

    def forward(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        logits = self.logits[_rows(input_ids)]
        return SimpleNamespace(logits=torch.cat([logits, logits[:, :1]], dim=1) + 0 * self.weight)


class _Critic(nn.Module):
    """Answers with `rolled` without gradients and `trained` with them, a number for each token."""

    base_model_prefix = "backbone"

    def __init__(self, rolled: Tensor, trained: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.rolled, self.trained = rolled, trained

    def backbone(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        numbers = (self.trained if torch.is_grad_enabled() else self.rolled)[_rows(input_ids)]
        numbers = torch.cat([numbers, numbers[:, :1]], dim=1)  # after the last token: TRL cuts it off
        return SimpleNamespace(hidden_states=[numbers.unsqueeze(-1) + 0 * self.weight])

    def score(self, hidden: Tensor) -> Tensor:
        return hidden


def _ppo_entry(rollout: _Rollout, out: str, note: str, gamma: float, kl_estimator: str = "k1") -> dict[str, Any]:
    size, length = rollout.responses.shape
    args = PPOConfig(
        **_quiet(out),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=1,
        num_ppo_epochs=1,
        total_episodes=size,
        num_sample_generations=0,
        response_length=length,
        stop_token="eos",
        temperature=1.0,
        kl_coef=0.05,
        kl_estimator=kl_estimator,
        cliprange=0.2,
        cliprange_value=0.2,
        vf_coef=0.1,
        gamma=gamma,
        lam=0.95,
    )
    policy, value = _Policy(rollout, rollout.new), _Critic(rollout.values, rollout.new_values)
    scores = rollout.scores.unsqueeze(1).expand(size, length)
    optimizer = torch.optim.SGD([policy.weight, value.weight], lr=0.0)
    prompts = Dataset.from_dict({"input_ids": [[row + 1] for row in range(size)]})
    trainer = PPOTrainer(
        args=args,
        processing_class=SimpleNamespace(pad_token_id=PAD, eos_token_id=EOS),
        model=policy,
        ref_model=_Policy(rollout, rollout.ref),
        reward_model=_Critic(scores, scores),
        value_model=value,
        train_dataset=prompts,
        data_collator=lambda rows: rows,
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
    )
    trainer.dataloader = [{"input_ids": torch.tensor(prompts["input_ids"])}]  # in order: the loader would shuffle
    seen = _train_one_step(trainer)
    return _entry(PROXIMAL, _ppo_inputs(seen, args), _ppo_outputs(seen), note)


def _train_one_step(trainer: PPOTrainer) -> dict[str, Any]:
    """TRL's train(), and its variables: after the advantages (empty_cache is called there) and at the backward."""
    seen: dict[str, Any] = {}

    def empty_cache() -> None:
        names = sys._getframe(1).f_locals
        if "returns" in names:
            seen.update((name, value) for name, value in names.items() if name not in seen)

    def backward(loss: Tensor) -> None:
        names = dict(sys._getframe(1).f_locals)
        of_logprobs, of_values = torch.autograd.grad(loss, [names["new_logprobs"], names["vpred"]], retain_graph=True)
        order = np.argsort(names["micro_batch_inds"])  # TRL shuffles the rows
        by_row = {name: names[name][order] for name in ("new_logprobs", "vpred", "ratio")}
        by_row |= {"grad_logprobs": of_logprobs[order], "grad_values": of_values[order]}
        seen.update(by_row | {name: names[name] for name in ("pg_loss", "vf_loss", "loss")})

    def log(metrics: dict[str, float]) -> None:
        seen["metrics"] = metrics

    kept = ppo_trainer.empty_cache
    trainer.accelerator.backward, trainer.log = backward, log
    ppo_trainer.empty_cache = empty_cache
    try:
        with _float64():
            trainer.train()
    finally:
        ppo_trainer.empty_cache = kept
    return seen


@contextmanager
def _float64() -> Iterator[None]:
    """TRL's n / (n - 1) of whitening and its statistics take the default dtype: in float32 they are off by 1e-7."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def _ppo_inputs(seen: dict[str, Any], args: PPOConfig) -> dict[str, Any]:
    numbers = ("kl_coef", "kl_estimator", "gamma", "lam", "cliprange", "cliprange_value", "vf_coef")
    return {
        **{name: getattr(args, name) for name in numbers},
        "responses": seen["responses"],
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "lengths": seen["sequence_lengths"] + 1,
        "mask": ~seen["padding_mask"],
        "value_mask": ~seen["padding_mask_p1"],
        "scores": seen["scores"],
        "old_logprobs": seen["logprobs"],
        "ref_logprobs": seen["ref_logprobs"],
        "old_values": seen["values"],
        "logprobs": seen["new_logprobs"],
        "values": seen["vpred"],
    }


def _ppo_outputs(seen: dict[str, Any]) -> dict[str, Any]:
    return {
        "kl": seen["kl"],
        "score_position": seen["actual_end"],
        "rewards": seen["rewards"],
        "advantages": torch.stack(seen["advantages_reversed"][::-1], dim=1),
        "returns": seen["returns"],
        "whitened_advantages": seen["advantages"],
        "ratio": seen["ratio"],
        "policy_loss": seen["pg_loss"],
        "value_loss": seen["vf_loss"],
        "loss": seen["loss"],
        "grad_logprobs": seen["grad_logprobs"],
        "grad_values": seen["grad_values"],
        "clip_fraction": seen["metrics"]["policy/clipfrac_avg"],  # TRL averages these two in float32
        "value_clip_fraction": seen["metrics"]["val/clipfrac_avg"],
        "approx_kl": seen["metrics"]["policy/approxkl_avg"],
        "mean_kl": seen["metrics"]["objective/kl"],
    }


def _rows(input_ids: Tensor) -> Tensor:
    return input_ids[:, 0] - 1  # prompts are 1, 2, ...: 0 is padding


def _answering(logits: Tensor) -> Callable[..., SimpleNamespace]:
    return lambda **_: SimpleNamespace(logits=logits)


def _reading(seen: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """An accelerator's gather that hands the tensor back and keeps the variables of the method that called it."""

    def gather(tensor: Tensor) -> Tensor:
        seen.update(sys._getframe(1).f_locals)
        return tensor

    return gather


def _quiet(out: str) -> dict[str, Any]:
    settings = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True}
    return {"output_dir": out, "report_to": "none", "save_strategy": "no", **settings}


def _tokenizer() -> PreTrainedTokenizerFast:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"t{i}": i for i in range(VOCAB)}, unk_token="t1"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=f"t{PAD}", eos_token=f"t{EOS}")


def _tiny_config(**more: Any) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        vocab_size=VOCAB,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-5,
        pad_token_id=PAD,
        eos_token_id=EOS,
        attn_implementation="eager",
        **more,
    )


def _fill(model: Any, seed: int) -> Any:
    """The model with the weights that about.weights describes."""
    rng = np.random.Generator(np.random.Philox(seed))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            drawn = 0.3 * rng.standard_normal(tuple(parameter.shape)) + name.endswith("norm.weight")
            parameter.copy_(torch.tensor(drawn.astype(np.float32)))
    return model


def _model_inputs(config: LlamaConfig) -> dict[str, Any]:
    names = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size"]
    names += ["vocab_size", "tie_word_embeddings", "rms_norm_eps", "rope_parameters"]
    return {"config": {name: getattr(config, name) for name in names}, "pairs": PAIRS}


def _gradients(model: nn.Module) -> dict[str, Any]:
    """Norms, and the first entries too: a norm would not see a transposed or permuted gradient."""
    gradients = {name: p.grad for name, p in sorted(model.named_parameters()) if p.grad is not None}
    return {
        "weight_heads": {name: p.detach().flatten()[:2] for name, p in sorted(model.named_parameters())},
        "grad_norms": {name: gradient.double().norm() for name, gradient in gradients.items()},
        "grad_heads": {name: gradient.flatten()[:4] for name, gradient in gradients.items()},
    }


def _entry(source: str, inputs: dict[str, Any], outputs: dict[str, Any], note: str = "") -> dict[str, Any]:
    return {"trl": trl.__version__, "source": source, "note": note, "inputs": inputs, "outputs": outputs}


def _to_json(value: Any, indent: int = 0) -> str:
    """JSON with a line for each name: a difference in review is then a number's name."""
    if isinstance(value, dict):
        space = " " * (indent + 1)
        lines = [f"{space}{json.dumps(str(key))}: {_to_json(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    if isinstance(value, Tensor):
        value = (value.int() if value.dtype == torch.bool else value.detach()).tolist()
    return json.dumps(value, allow_nan=False)


if __name__ == "__main__":
    main()

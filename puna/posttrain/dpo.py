"""Direct preference optimisation as Llama 3 does it (section 4.1.4): no reward model, no sampling.

preferences -> log-probabilities under the model as it came (once) -> DPO + 0.2 NLL on the chosen -> chat model

Of a preference the best answer (edited, else chosen) stands against the worst. Two changes are Llama 3's: tokens of the
format (headers and the end of the turn), which both answers share, are left out of the DPO loss, or it would push them
up and down at once; and the log-likelihood of the chosen answer is kept up by a term of its own, which does learn the
end of the turn.

B pairs, M answer tokens of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from puna.base.errors import DataError
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.model import Llama, load_model
from puna.posttrain.batches import shuffled_batches
from puna.posttrain.preferences import EncodedPreference, encode_preferences, read_preferences
from puna.posttrain.responses import Responses, answer_logprobs
from puna.pretrain.loop import Backward, LoopConfig, train
from puna.pretrain.panels import loss_panel
from puna.pretrain.run import save_base
from puna.tokenizer import Tokenizer

_SCORED_PAIRS = 32


class DpoConfig(LoopConfig):
    """Settings of DPO; Llama 3: beta 0.1, nll 0.2, lr 1e-5 at 8B and more. micro_batch counts pairs.

    mask_format: leave the end of the turn out of the DPO loss. nll_average: over all chosen tokens of a batch
    ("tokens", as TRL) or per answer first ("answers", as OpenRLHF). limit: only the newest pairs, the last ones read
    (0: all).
    """

    epochs: float = Field(default=1.0, gt=0)
    row_tokens: int = Field(default=256, ge=8)
    batch_pairs: int = Field(default=16, ge=1)
    beta: float = Field(default=0.1, gt=0)
    nll: float = Field(default=0.2, ge=0)
    mask_format: bool = True
    nll_average: Literal["tokens", "answers"] = "tokens"
    strengths: tuple[str, ...] = ()
    limit: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class PairLogProbs:
    """Summed log-probabilities in nats of chosen and rejected answers, each [B]."""

    chosen: Tensor
    rejected: Tensor


@dataclass(frozen=True)
class Pair:
    """A preference with the log-probabilities of its answers under the reference model."""

    preference: EncodedPreference
    reference: tuple[float, float]


def dpo_loss(policy: PairLogProbs, reference: PairLogProbs, beta: float) -> Tensor:
    """[B]: -log sigmoid(beta (gain of chosen - gain of rejected)) in nats (Rafailov 2023, eq. 7)."""
    chosen, rejected = implicit_rewards(policy, reference, beta)
    return -F.logsigmoid(chosen - rejected)


def implicit_rewards(policy: PairLogProbs, reference: PairLogProbs, beta: float) -> tuple[Tensor, Tensor]:
    """The rewards [B], [B] that a policy implies: beta times its gain in log-probability over the reference."""
    return beta * (policy.chosen - reference.chosen), beta * (policy.rejected - reference.rejected)


def run(config: DpoConfig, inputs: Inputs, out: StageOutput) -> None:
    """Train on preferences. Inputs: `model`, which is the reference too, and `preferences` (JSONL, any known form)."""
    prepare_machine(out.threads)
    tokenizer = Tokenizer.load(inputs.one("model"))
    read = read_preferences(inputs.many("preferences"))
    read = read[-config.limit :] if config.limit else read
    encoded, counts = encode_preferences(read, tokenizer, config.row_tokens, config.strengths)
    model = load_model(inputs.one("model"))
    pairs = with_reference(model, encoded, config)
    num_steps = max(1, round(config.epochs * len(pairs) / config.batch_pairs))
    batch_at = shuffled_batches(pairs, config.batch_pairs, out.seed)
    log = train(model, batch_at, num_steps, config, out, preferring(config), show=("loss", "accuracy", "margin"))
    save_base(model, tokenizer, log, out)
    last = log[-max(1, len(log) // 10) :]
    means = {name: sum(row[name] for row in last) / len(last) for name in ("accuracy", "margin", "chosen_gain")}
    out.metric(**counts, num_steps=num_steps, final_loss=log[-1]["loss"], **means)
    out.panels.append(loss_panel(log, "DPO loss"))
    out.panels.append(_gains_panel(log))


def with_reference(model: Llama, encoded: Sequence[EncodedPreference], config: DpoConfig) -> list[Pair]:
    """Every preference with its reference log-probabilities. Raises DataError if a log-probability is not finite."""
    pairs = []
    with torch.inference_mode():
        for start in range(0, len(encoded), _SCORED_PAIRS):
            part = encoded[start : start + _SCORED_PAIRS]
            sums, _, _ = _pair_logprobs(model, part, config.mask_format)
            for one, chosen, rejected in zip(part, sums.chosen.tolist(), sums.rejected.tolist(), strict=True):
                if not abs(chosen) + abs(rejected) < float("inf"):
                    raise DataError(f"preference {one.row.get('id', '')}: its log-probability is {chosen}, {rejected}")
                pairs.append(Pair(one, (chosen, rejected)))
    return pairs


def preferring(config: DpoConfig) -> Backward[list[Pair]]:
    """DPO and NLL over a batch of pairs, the same for any micro-batch."""

    def backward(model: nn.Module, batch: list[Pair]) -> dict[str, float]:
        assert isinstance(model, Llama)
        num_chosen = sum(len(pair.preference.answers[0]) for pair in batch)
        row = dict.fromkeys(("loss", "dpo", "nll", "accuracy", "margin", "chosen_gain"), 0.0)
        for start in range(0, len(batch), config.micro_batch):
            part = batch[start : start + config.micro_batch]
            policy, chosen, lengths = _pair_logprobs(model, [pair.preference for pair in part], config.mask_format)
            reference = PairLogProbs(*torch.tensor([pair.reference for pair in part]).T)
            dpo = dpo_loss(policy, reference, config.beta).sum() / len(batch)
            nll = (
                -chosen.sum() / num_chosen if config.nll_average == "tokens" else -(chosen / lengths).sum() / len(batch)
            )
            loss = dpo + config.nll * nll
            loss.backward()
            better, worse = implicit_rewards(policy, reference, config.beta)
            shares = (better > worse).float(), better - worse, policy.chosen - reference.chosen
            measured = (loss, dpo, nll, *(share.sum() / len(batch) for share in shares))
            row = {name: row[name] + value.item() for name, value in zip(row, measured, strict=True)}
        return {**row, "targets": num_chosen + sum(len(pair.preference.answers[-1]) for pair in batch)}

    return backward


def _pair_logprobs(
    model: Llama, preferences: Sequence[EncodedPreference], mask_format: bool
) -> tuple[PairLogProbs, Tensor, Tensor]:
    """Log-probabilities for DPO; and of the whole chosen answers, their end included, [B], with their lengths [B]."""
    answers = [one.answers[0] for one in preferences] + [one.answers[-1] for one in preferences]
    batch = Responses.of([one.prompt for one in preferences] * 2, answers)
    logprobs = answer_logprobs(model, batch)
    whole = batch.sums(logprobs)
    summed = batch.sums(logprobs * ~_last_of_row(batch)) if mask_format else whole
    half = len(preferences)
    return PairLogProbs(summed[:half], summed[half:]), whole[:half], batch.lengths[:half]


def _last_of_row(batch: Responses) -> Tensor:
    """[M] bool: true on the last token of each answer, its <|eot_id|>."""
    rows = batch.mask.nonzero()[:, 0]
    return torch.cat([rows[1:] != rows[:-1], torch.ones(1, dtype=torch.bool)])


def _gains_panel(log: Sequence[dict[str, float]]) -> dict[str, object]:
    """How far the chosen answers' log-probability has moved: where it falls, DPO unlearns what it should prefer."""
    x = [row["step"] for row in log]
    series = [
        {"name": "margin of implicit rewards", "x": x, "y": [row["margin"] for row in log]},
        {"name": "log P of chosen over the reference", "x": x, "y": [row["chosen_gain"] for row in log]},
    ]
    return {"kind": "lines", "title": "Preferences learned", "x_label": "step", "y_label": "nats", "series": series}

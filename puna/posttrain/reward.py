"""The reward model: a base model with one number in place of logits, trained on preferences (Llama 3, section 4.1.2).

preferences -> pairs (edited > chosen > rejected) -> -log sigmoid(better - worse) -> model folder + score head

The loss is Llama 2's (Touvron 2023, eq. 2) without its margin, which Llama 3 found of no more use. The reward of an
answer is read at its <|eot_id|>. `reward.json` keeps mean and deviation on training answers: rewards are used in
units of that deviation, so that a weight beside a verifier's 0 and 1 means the same for every reward model.

B answers, T tokens, D model width.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from puna.base.errors import ArtifactError, DataError
from puna.base.files import read_json, write_json
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.base.records import write_jsonl
from puna.base.rng import hash64
from puna.evals.statistics import wilson_interval
from puna.model import Llama, load_model, save_model
from puna.model.convert.huggingface import load_score
from puna.posttrain.batches import shuffled_batches
from puna.posttrain.preferences import EncodedPreference, encode_preferences, read_preferences
from puna.posttrain.responses import Responses
from puna.pretrain.loop import Backward, LoopConfig, train
from puna.pretrain.panels import loss_panel
from puna.pretrain.run import adopt
from puna.tokenizer import Tokenizer

_SCORED_TOKENS = 8192


class RewardConfig(LoopConfig):
    """Settings of the reward model; batch_pairs and micro_batch count preferences.

    strengths: Llama 3 trains on pairs judged "significantly better" and "better" alone; rows without one are taken.
    heldout: every so many-th preference is kept for measuring (0: none).
    """

    epochs: float = Field(default=1.0, gt=0)
    row_tokens: int = Field(default=256, ge=8)
    batch_pairs: int = Field(default=16, ge=1)
    strengths: tuple[str, ...] = ("significantly better", "better")
    heldout: int = Field(default=5, ge=0)


class RewardModel(nn.Module):
    """A Llama whose last state is turned into one number by `score` [D]; the score's weights start at zero."""

    def __init__(self, backbone: Llama, score: Tensor | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.score = nn.Parameter(torch.zeros(backbone.config.dim) if score is None else score)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Rewards [B] of `tokens` [B, T], padded on the right, each read at its last token, lengths[b] - 1."""
        states = self.backbone.hidden(tokens)
        return states[torch.arange(len(tokens)), lengths - 1] @ self.score


def pairwise_loss(better: Tensor, worse: Tensor, margin: Tensor | float = 0.0) -> Tensor:
    """Mean of -log sigmoid(better - worse - margin) over pairs, in nats (Llama 2, eq. 1 and 2)."""
    return -F.logsigmoid(better - worse - margin).mean()


def run(config: RewardConfig, inputs: Inputs, out: StageOutput) -> None:
    """Train a reward model. Inputs: `model` (the base model), `preferences` (JSONL, any known form)."""
    prepare_machine(out.threads)
    tokenizer = Tokenizer.load(inputs.one("model"))
    read = read_preferences(inputs.many("preferences"))
    encoded, counts = encode_preferences(read, tokenizer, config.row_tokens, config.strengths)
    learned, heldout = _split(encoded, config.heldout)
    num_steps = max(1, round(config.epochs * len(learned) / config.batch_pairs))
    model = RewardModel(load_model(inputs.one("model")))
    batch_at = shuffled_batches(learned, config.batch_pairs, out.seed)
    show = ("loss", "accuracy")
    log = train(model, batch_at, num_steps, config, out, ranking(config.micro_batch), show=show)
    scorer = Scorer(model, tokenizer)
    scorer.mean, scorer.deviation = _spread(scorer, learned)
    _save(scorer, log, out)
    out.metric(**counts, num_steps=num_steps, final_loss=log[-1]["loss"], accuracy=_mean_of(log, "accuracy"))
    out.metric(score_mean=scorer.mean, score_deviation=scorer.deviation)
    if heldout:
        _measure(scorer, heldout, out)
    out.panels.append(loss_panel(log, "Reward model's loss"))


def ranking(micro_batch: int) -> Backward[list[EncodedPreference]]:
    """The loss over every (better, worse) pair of a batch, the mean over its pairs whatever the micro-batches are."""

    def backward(model: nn.Module, batch: list[EncodedPreference]) -> dict[str, float]:
        num_pairs = sum(math.comb(len(one.answers), 2) for one in batch)
        total, right, tokens = 0.0, 0, 0
        for start in range(0, len(batch), micro_batch):
            part = batch[start : start + micro_batch]
            rows = [(one.prompt, answer) for one in part for answer in one.answers]
            responses = Responses.of([prompt for prompt, _ in rows], [answer for _, answer in rows])
            lengths = torch.tensor([len(prompt) + len(answer) for prompt, answer in rows])
            better, worse = ranked_pairs(model(responses.tokens, lengths), [len(one.answers) for one in part])
            loss = pairwise_loss(better, worse) * (len(better) / num_pairs)
            loss.backward()
            total += loss.item()
            right += int((better > worse).sum())
            tokens += int(lengths.sum())
        return {"loss": total, "accuracy": right / num_pairs, "targets": tokens}

    return backward


def ranked_pairs(rewards: Tensor, group_sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rewards of the better and of the worse of every pair, groups of answers lying side by side from best to worst."""
    better, worse, start = [], [], 0
    for size in group_sizes:
        for i, j in itertools.combinations(range(start, start + size), 2):
            better.append(i)
            worse.append(j)
        start += size
    return rewards[better], rewards[worse]


@dataclass
class Scorer:
    """A reward model ready for use: rewards in units of the deviation it had on its training answers."""

    model: RewardModel
    tokenizer: Tokenizer
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def load(cls, folder: Path) -> "Scorer":
        """The reward model of an artifact. Raises ArtifactError if the folder has no score head."""
        if not (folder / "reward.json").is_file():
            raise ArtifactError(f"expected a reward model at {folder}, found no reward.json; give a reward stage")
        values = read_json(folder / "reward.json")
        model = RewardModel(load_model(folder), load_score(folder)).eval()
        return cls(model, Tokenizer.load(folder), values["mean"], values["deviation"])

    @torch.inference_mode()
    def raw(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Rewards of whole rows of ids, each read at its last token, in their order."""
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
        rewards = [0.0] * len(rows)
        for part in _parts(order, [len(row) for row in rows]):
            lengths = torch.tensor([len(rows[i]) for i in part])
            tokens = torch.zeros((len(part), int(lengths.max())), dtype=torch.int64)
            for row, i in enumerate(part):
                tokens[row, : len(rows[i])] = torch.as_tensor(rows[i])
            for i, reward in zip(part, self.model(tokens, lengths).tolist(), strict=True):
                rewards[i] = reward
        return rewards

    def score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[float]:
        """Rewards of answers (ids, ended by <|eot_id|>) in deviations from the mean of the training answers.

        An answer that was cut off is scored as if it had ended there: the model knows rewards at <|eot_id|> only.
        """
        eot = self.tokenizer.eot_id
        rows = [
            [*prompt, *answer] if answer and answer[-1] == eot else [*prompt, *answer, eot]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return [(reward - self.mean) / self.deviation for reward in self.raw(rows)]


def _parts(order: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Neighbours of like length, at most _SCORED_TOKENS with their padding."""
    start = 0
    while start < len(order):
        size = max(1, _SCORED_TOKENS // lengths[order[start]])
        yield list(order[start : start + size])
        start += size


def _split(encoded: list[EncodedPreference], every: int) -> tuple[list[EncodedPreference], list[EncodedPreference]]:
    """Learned and held-back preferences, by the hash of the prompt, so that no prompt is on both sides."""
    held = [bool(every) and hash64(0, "preference", *one.prompt) % every == 0 for one in encoded]
    learned = [one for one, is_held in zip(encoded, held) if not is_held]
    if not learned:
        raise DataError(f"expected preferences to learn from, came {len(encoded)}, all held back; set reward.heldout=0")
    return learned, [one for one, is_held in zip(encoded, held) if is_held]


def _spread(scorer: Scorer, learned: Sequence[EncodedPreference]) -> tuple[float, float]:
    rewards = torch.tensor(scorer.raw([[*one.prompt, *answer] for one in learned[:512] for answer in one.answers]))
    return float(rewards.mean()), max(float(rewards.std()), 1e-6) if len(rewards) > 1 else 1.0


def _measure(scorer: Scorer, heldout: Sequence[EncodedPreference], out: StageOutput) -> None:
    """Accuracy on held-back pairs: as the annotators said, as is true where that is known, and by length alone."""
    rewards = iter(scorer.raw([[*one.prompt, *answer] for one in heldout for answer in one.answers]))
    right: dict[str, list[bool]] = {"accuracy": [], "accuracy/length-only": [], "accuracy/truth": []}
    for one in heldout:
        *_, chosen, rejected = [next(rewards) for _ in one.answers]
        agrees = chosen > rejected
        right["accuracy"].append(agrees)
        right["accuracy/length-only"].append(len(one.answers[-2]) > len(one.answers[-1]))
        if "error" in one.row:
            right["accuracy/truth"].append(agrees != bool(one.row["error"]))
    for metric, values in right.items():
        if values:
            share = sum(values) / len(values)
            out.score("preference", metric, share, wilson_interval(sum(values), len(values)), len(values))


def _save(scorer: Scorer, log: list[dict[str, float]], out: StageOutput) -> None:
    with out.unit("log.jsonl") as unit:
        write_jsonl(unit.path, log)
    with out.unit("reward.json") as unit:
        write_json(unit.path, {"mean": scorer.mean, "deviation": scorer.deviation})
    folder = out.state / "model"
    save_model(scorer.model.backbone, scorer.tokenizer, folder, score=scorer.model.score)
    adopt(folder, out)


def _mean_of(log: Sequence[dict[str, float]], name: str, last: int = 20) -> float:
    """The mean of a logged value over the last steps."""
    values = [row[name] for row in log[-last:]]
    return sum(values) / len(values)

"""Prompts with an answer each as one batch, and the log-probabilities of the answers: what DPO and PPO share.

Token in, token out: an answer is the ids that were sampled or encoded once, never text that is tokenised again.

B rows, T tokens, M answer tokens of the whole batch, D model width, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.model import Llama


@dataclass(frozen=True)
class Responses:
    """`tokens` [B, T] int64, padded on the right, and `mask` [B, T] bool, true on the tokens of the answers."""

    tokens: Tensor
    mask: Tensor

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> "Responses":
        """One row a prompt and its answer. Raises ValueError for an empty prompt or answer."""
        lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
        tokens = torch.zeros((len(lengths), max(lengths)), dtype=torch.int64)
        mask = torch.zeros(tokens.shape, dtype=torch.bool)
        for row, (prompt, answer) in enumerate(zip(prompts, answers)):
            if not len(prompt) or not len(answer):
                raise ValueError(
                    f"row {row}: expected a prompt and an answer, came {len(prompt)}, {len(answer)} tokens"
                )
            tokens[row, : lengths[row]] = torch.tensor([*prompt, *answer])
            mask[row, len(prompt) : lengths[row]] = True
        return cls(tokens, mask)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer, [B]."""
        return self.mask.sum(-1)

    def select(self, rows: Tensor) -> "Responses":
        """Some rows, without the columns that only the others need."""
        mask = self.mask[rows]
        width = int(mask.any(0).nonzero().max()) + 1
        return Responses(self.tokens[rows, :width], mask[:, :width])

    def parts(self, size: int) -> list[Tensor]:
        """Rows in parts of at most `size`, rows of like length in one: `select`ed, they hold little padding."""
        columns = torch.arange(1, self.mask.shape[1] + 1)
        order = (self.mask * columns).amax(-1).argsort(descending=True, stable=True)
        return [rows.sort().values for rows in order.split(size)]

    def tokens_of(self, rows: Tensor) -> Tensor:
        """[M] bool: which of the answer tokens, in the order of `mask`, belong to some rows."""
        return torch.isin(self.mask.nonzero()[:, 0], rows)

    def sums(self, values: Tensor) -> Tensor:
        """[B]: sums over each answer of `values` [M], in the order of `mask`."""
        rows = self.mask.nonzero()[:, 0]
        return torch.zeros(len(self.tokens), dtype=values.dtype).index_add(0, rows, values)

    def spread(self, values: Tensor) -> Tensor:
        """[B, T]: `values` [M] where the answers' tokens are, 0 elsewhere."""
        return torch.zeros(self.mask.shape, dtype=values.dtype).masked_scatter(self.mask, values)


def answer_states(model: Llama, batch: Responses) -> Tensor:
    """[M, D]: the state before each answer token, from which it is predicted. Padding on the right needs no mask."""
    return model.hidden(batch.tokens[:, :-1])[batch.mask[:, 1:]]


def answer_logprobs(model: Llama, batch: Responses) -> Tensor:
    """[M]: log-probability in nats of each answer token, equal to the engine's `logprobs` within 1e-5."""
    return logprobs_of(model, answer_states(model, batch), batch)


def logprobs_of(model: Llama, states: Tensor, batch: Responses) -> Tensor:
    """[M]: log-probabilities of the answer tokens from their `answer_states`."""
    logits = F.linear(states, model.output_weight).float()
    return -F.cross_entropy(logits, batch.tokens[batch.mask], reduction="none")

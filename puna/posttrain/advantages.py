"""From rewards of answers to advantages of their tokens (Schulman 2016): functions of tensors and nothing else.

rewards [N] -> rewards per token [M] -> advantages and returns [M]

N answers, M answer tokens of them all, D model width.
"""

import torch
from torch import Tensor

from puna.posttrain.responses import Responses

_RIDGE = 1e-3


def penalised_rewards(batch: Responses, logprobs: Tensor, reference: Tensor, rewards: Tensor, kl: float) -> Tensor:
    """[M]: -kl (log p - log p of the reference) at every answer token, and the answer's reward [N] at its last one.

    The reward stands at the token that ended the answer, <|eot_id|>: one place later would be the padding's.
    """
    last = _last_tokens(batch)
    per_token = -kl * (logprobs - reference)
    per_token[last] += rewards
    return per_token


def gae(batch: Responses, rewards: Tensor, values: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages and returns [M] by generalised advantage estimation (Schulman 2016, eq. 16); nothing follows the end.

    delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lam A_{t+1}, return_t = A_t + V_t.
    """
    r, v = batch.spread(rewards), batch.spread(values)
    mask = batch.mask
    advantages = torch.zeros_like(r)
    following = torch.zeros(len(r), dtype=r.dtype)
    next_value = torch.zeros(len(r), dtype=r.dtype)
    for t in reversed(range(r.shape[1])):
        here = mask[:, t]
        delta = r[:, t] + gamma * next_value - v[:, t]
        following = torch.where(here, delta + gamma * lam * following, torch.zeros_like(following))
        next_value = torch.where(here, v[:, t], torch.zeros_like(next_value))
        advantages[:, t] = following
    flat = advantages[mask]
    return flat, flat + values


def whiten(values: Tensor) -> Tensor:
    """Values [M] of mean 0 and, with the unbiased variance, deviation 1; a batch of equal values becomes zeros."""
    if len(values) < 2:
        return torch.zeros_like(values)
    return (values - values.mean()) * torch.rsqrt(values.var() + 1e-8)


def fitted_value(states: Tensor, returns: Tensor) -> Tensor:
    """The value head [D] that fits `returns` [M] from `states` [M, D] best (ridge regression).

    PPO begins with it: the rate of a policy moves a head of zeros too slowly to tell easy prompts from hard ones, and
    an advantage without that is mostly noise. (TRL begins with the reward model's weights.)
    """
    square = states.double().T @ states.double()
    square += square.diagonal().mean() * _RIDGE * torch.eye(len(square), dtype=torch.float64)
    return torch.linalg.solve(square, states.double().T @ returns.double()).float()


def _last_tokens(batch: Responses) -> Tensor:
    """[N]: where in the M answer tokens each answer's last one is."""
    return batch.lengths.cumsum(0) - 1

"""Optimizers: AdamW as Llama uses it, and Muon for the matrices inside the layers.

Muon (Jordan 2024) replaces the momentum of a matrix by the nearest matrix whose singular values are all about one:
every direction of the update counts the same, where Adam's are dominated by a few. At a million parameters it learns as
much from 2.5M tokens as AdamW does from 4M (docs/log.md), for 7% more time a step.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from puna.base.config import Config
from puna.parallel.data import local, share_of, whole_tensor
from puna.pretrain.schedule import ScheduleConfig

# The quintic of Jordan (2024): five steps take singular values of 0.005 to 1 to about 0.7 to 1.2.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


class OptimizerConfig(Config):
    """AdamW as Llama uses it (Touvron 2023, section 2.3): betas .9/.95, decay .1 on matrices, clip 1.

    optimizer: "muon" updates the matrices of the layers by Muon at the rate `matrix_lr` with `momentum`, everything
    else (embedding, output, norms) by AdamW at `lr`. Both rates follow the schedule.
    """

    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=3e-3, gt=0)
    matrix_lr: float = Field(default=0.015, gt=0)
    momentum: float = Field(default=0.95, ge=0, lt=1)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)


class Optimizer:
    """The optimizers of one model as one: a step, a rate, and the state that a checkpoint keeps."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        by_muon = [pair for pair in named if config.optimizer == "muon" and _is_inner_matrix(*pair)]
        taken = {name for name, _ in by_muon}
        rest = [pair for pair in named if pair[0] not in taken]
        self._names = {parameter: name for name, parameter in named}
        self._config = config
        self._parts: list[torch.optim.Optimizer] = [_adamw(rest, config)] if rest else []
        if by_muon:
            parameters = [parameter for _, parameter in by_muon]
            self._parts.append(Muon(parameters, config.matrix_lr, config.momentum, config.weight_decay))

    def step(self, lr: float) -> None:
        """One update at the rate `lr` of AdamW, Muon's in the same proportion; the gradients are cleared after it."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = lr * (self._config.matrix_lr / self._config.lr if isinstance(part, Muon) else 1.0)
            part.step()
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The state by parameter name: the optimizers' own tensors, so that loading into them restores it."""
        found = {}
        for part in self._parts:
            for parameter in itertools.chain.from_iterable(group["params"] for group in part.param_groups):
                if not part.state[parameter]:
                    part.state[parameter] |= _first_state(part, parameter)
                found[self._names[parameter]] = dict(part.state[parameter])
        return found


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for matrices; the rate is times sqrt(rows / columns) where a matrix is tall.

    Matrices of one shape are orthogonalised together: one batched product instead of one a matrix.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            for same_shape in _by_shape([p for p in group["params"] if p.grad is not None]):
                # Of a divided matrix every rank makes the whole update, and keeps its share.
                updates = orthogonalised(
                    torch.stack([whole_tensor(self._direction(p, group["momentum"])) for p in same_shape])
                )
                scale = max(1.0, updates.shape[-2] / updates.shape[-1]) ** 0.5
                for parameter, update in zip(same_shape, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    local(parameter).add_(share_of(parameter, update), alpha=-group["lr"] * scale)

    def _direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's look ahead: gradient and running mean, mixed as the next mean would."""
        if not self.state[parameter]:
            self.state[parameter] |= _first_state(self, parameter)
        mean: Tensor = self.state[parameter]["momentum"]
        assert parameter.grad is not None
        mean.lerp_(parameter.grad, 1 - momentum)
        return torch.lerp(parameter.grad, mean, momentum)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices [N, R, C] with their singular values moved to about one (0.7 to 1.2), singular vectors kept.

    Newton-Schulz: X <- a X + (b A + c A A) X with A = X X^T, in the dtype that comes (bf16, usual on GPUs, is slow on
    CPUs without it).
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def _is_inner_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.dim() == 2 and ".layers." in f".{name}"


def _adamw(named: list[tuple[str, nn.Parameter]], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW; vectors are not decayed."""
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in named if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for _, p in named if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=1e-8, fused=True)


def _first_state(part: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    if isinstance(part, Muon):
        return {"momentum": torch.zeros_like(parameter)}
    zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    return {"step": torch.zeros((), dtype=torch.float32, device=parameter.device), **zeros}


def _by_shape(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    groups: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.shape, []).append(parameter)
    yield from groups.values()

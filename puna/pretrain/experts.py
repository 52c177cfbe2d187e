"""Training a mixture of experts: keep their load even, and measure it.

Two ways, together or alone: a loss that pulls the routers (Fedus 2021), and a bias for the choice that is moved against
the load and leaves the gradients alone (Wang 2024, used in DeepSeek-V3).

N tokens, E experts, k experts a token, L layers.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from puna.base.config import Config
from puna.model import Llama, Routing
from puna.model.feed_forward import Experts, Routed, Share


class ExpertsConfig(Config):
    """How experts are kept busy; as it stands, nothing is done.

    balance_weight: of the balance loss (Fedus 2021: 0.01). bias_rate: what each expert's bias moves a step (Wang 2024:
    0.001). capacity_factor: the most an expert takes, times an even share of a micro-batch (0: all that come).
    """

    balance_weight: float = Field(default=0.0, ge=0)
    bias_rate: float = Field(default=0.0, ge=0)
    capacity_factor: float = Field(default=0.0, ge=0)


def balance_loss(routed: Routed, share: Share | None = None) -> Tensor:
    """E * sum over experts of (share of tokens that chose it) * (its mean probability): Fedus 2021, eq. 4 to 6.

    With k choices a token the shares sum to k, and k is the value of an even load. share: that of `Routing`, if other
    processes have tokens of the same micro-batch; the loss is then that of all of them, on each.
    """
    num_experts = routed.probabilities.shape[1]
    probabilities = routed.probabilities.sum(0)
    sums = torch.cat((_counts(routed), probabilities, probabilities.new_tensor([len(routed.chosen)])))
    if share is not None:
        sums = share.total(sums)
    chosen, probable = (sums[:-1] / sums[-1].clamp(min=1)).chunk(2)
    return num_experts * (chosen * probable).sum()


class ExpertLoad:
    """What the experts of every layer did with one batch, added up over its micro-batches."""

    def __init__(self) -> None:
        self._counts = torch.zeros(0)
        self._num_dropped = 0

    def add(self, routing: Routing) -> None:
        """Count a micro-batch."""
        counts = torch.stack([_counts(routed) for routed in routing.layers])
        self._counts = self._counts + counts if len(self._counts) else counts
        self._num_dropped += sum(routed.num_dropped for routed in routing.layers)

    def put(self, numbers: Iterable[int], part: "ExpertLoad", layers: int) -> None:
        """Take in what some of the `layers` layers, by number, did."""
        if not len(self._counts):
            self._counts = part._counts.new_zeros(layers, part._counts.shape[1])
        self._counts[list(numbers)] = part._counts
        self._num_dropped += part._num_dropped

    def add_up(self, total: Callable[[Tensor], Tensor]) -> None:
        """Make it that of every process that has a part of the batch; `total` adds a tensor up over them."""
        self._counts = total(self._counts)
        self._num_dropped = int(total(torch.tensor(self._num_dropped, device=self._counts.device)))

    def row(self) -> dict[str, float]:
        """`expert_load`: the busiest expert's load by the mean, of the worst layer; `dropped`: share of choices."""
        worst = (self._counts.amax(1) / self._counts.mean(1)).max()
        return {"expert_load": worst.item(), "dropped": self._num_dropped / self._counts.sum().item()}

    def move_biases(self, model: Llama, rate: float) -> None:
        """Raise the bias of experts with less than the mean load by `rate`, lower the others' (Wang 2024, alg. 1)."""
        self.move_biases_of(dict(enumerate(layer.get_submodule("feed_forward") for layer in model.layers)), rate)

    def move_biases_of(self, routers: Mapping[int, nn.Module], rate: float) -> None:
        """The same of some layers' experts, by the number of the layer."""
        for number, experts in routers.items():
            assert isinstance(experts, Experts) and experts.router_bias is not None
            counts = self._counts[number]
            experts.router_bias.data += rate * (counts.mean() - counts).sign()


def _counts(routed: Routed) -> Tensor:
    """Choices of each expert, [E]."""
    return F.one_hot(routed.chosen.flatten(), routed.probabilities.shape[1]).sum(0).float()

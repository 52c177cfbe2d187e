"""Experts over several processes beside one process that has them all, and experts in a divided row."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from puna.base.errors import ConfigError
from puna.model import Llama, LlamaConfig, Routing
from puna.model.feed_forward import Routed
from puna.parallel.context import ContextCache, ContextShare, own_chunks, whole_rows
from puna.parallel.expert import divide_experts
from puna.pretrain.experts import ExpertLoad, balance_loss
from tests.parallel.ranks import Ranks

CONFIG = LlamaConfig(
    dim=16, layers=2, heads=2, kv_heads=1, ffn_dim=12, vocab_size=31, num_experts=4, experts_per_token=2
)
BIASED = dataclasses.replace(CONFIG, router_bias=True)
BALANCE = 0.3


@dataclasses.dataclass(frozen=True)
class Part:
    """A micro-batch; `counted` is false for padding."""

    tokens: Tensor
    targets: Tensor
    counted: Tensor


def part_of(number: int, num_rows: int = 2, num_tokens: int = 12, padding: int = 0) -> Part:
    generator = torch.Generator().manual_seed(number)
    drawn = torch.randint(CONFIG.vocab_size, (num_rows, num_tokens + 1), generator=generator)
    tokens, targets, counted = drawn[:, :-1], drawn[:, 1:].clone(), torch.ones(num_rows, num_tokens, dtype=torch.bool)
    if padding:
        counted[0, -padding:] = False
        targets[0, -padding:] = -100
    return Part(tokens, targets, counted)


def model_of(config: LlamaConfig, biases: list[float], dtype: torch.dtype = torch.float64) -> Llama:
    model = Llama(config)
    model.initialise(4, std=0.3)
    with torch.no_grad():
        for layer in model.layers:
            if config.router_bias:
                layer.feed_forward.router_bias.copy_(torch.tensor(biases))
    return model.to(dtype)


def outcome(model: Llama, part: Part, capacity_factor: float) -> dict[str, Any]:
    """States, what was routed, and the gradients of loss and balance loss."""
    routing = Routing(part.counted, capacity_factor)
    hidden = model.hidden(part.tokens, routing=routing)
    loss = F.cross_entropy((hidden @ model.output_weight.T).flatten(0, 1), part.targets.flatten(), reduction="sum")
    balance = torch.stack([balance_loss(routed) for routed in routing.layers]).mean()
    (loss + BALANCE * balance).backward()
    reports = [(routed.probabilities.detach(), routed.chosen, routed.num_dropped) for routed in routing.layers]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return {"hidden": hidden.detach(), "reports": reports, "gradients": gradients}


def on_a_rank(config: LlamaConfig, biases: list[float], parts: list[Part], capacity_factor: float) -> dict[str, Any]:
    model = model_of(config, biases)
    divide_experts(model)
    return outcome(model, parts[dist.get_rank()], capacity_factor)


def check(world: Ranks, config: LlamaConfig, biases: list[float], parts: list[Part], factor: float = 0.0) -> list[Any]:
    """Each rank's states and reports are those of the whole model on its micro-batch, summed gradients those of all."""
    found = world.call(on_a_rank, config, biases, parts, factor)
    model = model_of(config, biases)
    for part, one in zip(parts, found, strict=True):
        expected = outcome(model, part, factor)  # gradients add up over the parts
        assert relative(one["hidden"], expected["hidden"]) <= 1e-12
        for ours, theirs in zip(one["reports"], expected["reports"], strict=True):
            torch.testing.assert_close(ours[0], theirs[0], rtol=1e-12, atol=1e-14)
            assert torch.equal(ours[1], theirs[1]) and ours[2] == theirs[2]
    share = config.num_experts // len(parts)
    for name, gradient in expected["gradients"].items():
        owners = found
        if ".experts." in name:
            owners = [found[int(name.split(".")[4]) // share]]
        assert sum(name in one["gradients"] for one in found) == len(owners), name
        difference = sum(one["gradients"][name] for one in owners) - gradient
        assert difference.norm() <= 1e-12 * gradient.norm() + 1e-14, name
    return found


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("size, per_token, factor", [(2, 2, 0.0), (2, 3, 0.7), (4, 2, 1.0), (4, 1, 0.0)])
def test_states_reports_and_gradients_are_those_of_one_process(
    ranks: Callable[[int], Ranks], size: int, per_token: int, factor: float
) -> None:
    """Micro-batches of unlike sizes and padding, more experts than ranks and as many."""
    config = dataclasses.replace(CONFIG, experts_per_token=per_token, num_experts=8 if size == 2 else 4)
    parts = [part_of(number, num_rows=1 + number, padding=4 * number) for number in range(size)]
    found = check(ranks(size), config, [], parts, factor)
    dropped = sum(report[2] for one in found for report in one["reports"])
    assert (dropped > 0) == (factor > 0)


@pytest.mark.parametrize("size", [2, 4])
def test_experts_that_no_token_reaches_have_a_gradient_of_zero(ranks: Callable[[int], Ranks], size: int) -> None:
    """A bias sends every token of every rank to experts 0 and 1: of four ranks two compute nothing but that zero."""
    parts = [part_of(number, padding=3) for number in range(size)]
    found = check(ranks(size), BIASED, [5.0, 5.0, 0.0, 0.0], parts)
    assert not found[-1]["gradients"]["layers.1.feed_forward.experts.3.up.weight"].any()
    assert found[0]["gradients"]["layers.1.feed_forward.experts.0.up.weight"].any()


def test_the_bias_moves_the_choice_as_in_one_process(ranks: Callable[[int], Ranks]) -> None:
    check(ranks(4), BIASED, [0.3, -0.2, 0.0, 0.1], [part_of(number) for number in range(4)])


def test_a_rank_without_a_counted_token_computes_those_of_the_others(ranks: Callable[[int], Ranks]) -> None:
    empty = part_of(1)
    empty.counted.fill_(False)
    empty.targets[:, 1:] = -100  # one target for each row, so that states have a gradient
    check(ranks(2), CONFIG, [], [part_of(0), empty], 1.0)


def names() -> list[str]:
    model = model_of(BIASED, [0.0] * 4)
    divide_experts(model)
    return [name for name, _ in model.named_parameters() if name.startswith("layers.1.feed_forward.")]


def test_parameters_keep_their_names(ranks: Callable[[int], Ranks]) -> None:
    whole = [name for name, _ in model_of(BIASED, [0.0] * 4).named_parameters() if "layers.1.feed_forward." in name]
    for rank, found in enumerate(ranks(2).call(names)):
        others = [f".experts.{number}." for number in range(4) if number // 2 != rank]
        assert found == [name for name in whole if not any(other in name for other in others)]


def refused(config: LlamaConfig) -> str:
    with pytest.raises(ConfigError) as error:
        divide_experts(Llama(config))
    return str(error.value)


@pytest.mark.parametrize(
    "num_experts, message", [(3, "expected a multiple of mesh.experts = 2, came 3"), (1, "came 2")]
)
def test_experts_that_do_not_divide_are_refused(ranks: Callable[[int], Ranks], num_experts: int, message: str) -> None:
    config = dataclasses.replace(CONFIG, num_experts=num_experts, experts_per_token=1)
    assert all(message in found for found in ranks(2).call(refused, config))


# Context parallelism: the routing of a micro-batch whose rows are divided.


def in_a_divided_row(part: Part, capacity_factor: float) -> dict[str, Any]:
    """What `outcome` finds, of a rank's chunks; balance counts by the share of the targets that the rank has."""
    rank, size = dist.get_rank(), dist.get_world_size()
    own = Part(*(own_chunks(field, rank, size) for field in dataclasses.astuple(part)))
    positions = own_chunks(torch.arange(part.tokens.shape[1]).expand_as(part.tokens), rank, size)
    model, share = model_of(CONFIG, []), ContextShare()
    routing = Routing(own.counted, capacity_factor, share=share)
    cache = ContextCache(torch.zeros_like(part.tokens))
    hidden = model.hidden(own.tokens, positions, cache=cache, routing=routing)
    loss = F.cross_entropy((hidden @ model.output_weight.T).flatten(0, 1), own.targets.flatten(), reduction="sum")
    balances = torch.stack([balance_loss(routed, share) for routed in routing.layers])
    weight = (own.targets != -100).sum() / (part.targets != -100).sum()
    (loss + BALANCE * weight * balances.mean()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    dropped = [routed.num_dropped for routed in routing.layers]
    load = ExpertLoad()
    load.add(routing)
    load.add_up(share.total)
    return {"hidden": hidden.detach(), "gradients": gradients, "dropped": dropped, "balances": balances.detach(),
            "row": load.row()}  # fmt: skip


@pytest.mark.parametrize("size, factor", [(2, 0.0), (2, 0.6), (4, 0.8)])
def test_balance_and_capacity_of_a_divided_row_are_those_of_the_whole(
    ranks: Callable[[int], Ranks], size: int, factor: float
) -> None:
    part = part_of(7, num_rows=3, num_tokens=16, padding=5)
    found = ranks(size).call(in_a_divided_row, part, factor)
    expected = outcome(model_of(CONFIG, []), part, factor)
    assert relative(whole_rows([one["hidden"] for one in found]), expected["hidden"]) <= 1e-12
    for layer, (probabilities, chosen, dropped) in enumerate(expected["reports"]):
        assert sum(one["dropped"][layer] for one in found) == dropped
        assert dropped > 0 or factor != 0.6
        balance = balance_loss(Routed(probabilities, chosen, dropped)).item()
        assert [one["balances"][layer].item() for one in found] == [pytest.approx(balance, rel=1e-6)] * size
    for name, gradient in expected["gradients"].items():
        assert relative(sum(one["gradients"][name] for one in found), gradient) <= 1e-6, name
    load, routing = ExpertLoad(), Routing(part.counted)
    routing.layers = [Routed(*report) for report in expected["reports"]]
    load.add(routing)
    assert all(one["row"] == pytest.approx(load.row()) for one in found)


def test_the_balance_loss_alone_has_the_gradient_of_the_whole(ranks: Callable[[int], Ranks]) -> None:
    """Without the loss beside it, which would hide it."""
    logits = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = logits.clone().requires_grad_()
    balance_loss(routed_of(whole)).backward()
    found = ranks(2).call(balanced, logits)
    assert relative(whole_rows(found), whole.grad) <= 1e-12


def routed_of(logits: Tensor) -> Routed:
    flat = logits.flatten(0, 1)
    return Routed(flat.softmax(-1), flat.topk(2).indices, 0)


def balanced(logits: Tensor) -> Tensor:
    share = ContextShare()
    own = share.own(logits).clone().requires_grad_()
    (balance_loss(routed_of(own), share) * (0.25, 0.75)[dist.get_rank()]).backward()
    return own.grad

"""The load of experts: transformers' balance loss as the witness, and whether it evens out."""

import pytest
import torch
from torch import Tensor
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from puna.model import Llama, LlamaConfig, Routing
from puna.model.feed_forward import Routed
from puna.pretrain.experts import ExpertLoad, balance_loss

CONFIG = LlamaConfig(
    dim=16, layers=2, heads=2, kv_heads=1, ffn_dim=16, vocab_size=31, num_experts=4, experts_per_token=2
)


def routed_of(logits: Tensor, per_token: int) -> Routed:
    return Routed(logits.softmax(-1), logits.topk(per_token).indices, 0)


@pytest.mark.parametrize("per_token", [1, 2, 3])
def test_the_balance_loss_and_its_gradient_are_those_of_transformers(per_token: int) -> None:
    logits = [torch.randn(40, 5, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2)]
    ours = balance_loss(routed_of(logits[0], per_token))
    theirs = load_balancing_loss_func((logits[1],), num_experts=5, top_k=per_token)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    ours.backward()
    theirs.backward()
    assert (logits[0].grad - logits[1].grad).norm() <= 1e-5 * logits[1].grad.norm()


def test_an_even_load_costs_k_and_a_crowd_more() -> None:
    even = torch.eye(4).repeat(8, 1) * 1e-3
    assert balance_loss(routed_of(even, 1)).item() == pytest.approx(1.0, rel=1e-5)
    crowd = torch.tensor([[9.0, 0.0, 0.0, 0.0]]).repeat(8, 1)
    assert balance_loss(routed_of(crowd, 1)).item() == pytest.approx(4.0, rel=1e-2)


def test_the_load_is_counted_by_hand_over_micro_batches() -> None:
    load = ExpertLoad()
    for chosen in ([[0, 1], [0, 2]], [[0, 1], [0, 3]]):
        routing = Routing(torch.ones(1, 2, dtype=torch.bool))
        probabilities = torch.full((2, 4), 0.25)
        routing.layers = [
            Routed(probabilities, torch.tensor(chosen), 1),
            Routed(probabilities, torch.tensor([[0, 1], [2, 3]]), 0),
        ]
        load.add(routing)
    # Layer 0: loads 4, 2, 1, 1; layer 1: 2 each. Two of 16 choices were dropped.
    assert load.row() == {"expert_load": 2.0, "dropped": 2 / 16}
    model = Llama(LlamaConfig(**{**CONFIG.to_dict(), "router_bias": True}))
    load.move_biases(model, 0.125)
    biases = [layer.feed_forward.router_bias.tolist() for layer in model.layers]
    assert biases == [[-0.125, 0.0, 0.125, 0.125], [0.0] * 4]


def test_biases_even_out_a_crowded_layer() -> None:
    """Tokens that all prefer one expert; nothing but the biases moves."""
    model = Llama(LlamaConfig(**{**CONFIG.to_dict(), "router_bias": True}), seed=1)
    model.initialise(1, std=0.5)
    tokens = torch.randint(31, (4, 32), generator=torch.Generator().manual_seed(0))
    loads = []
    for _ in range(150):
        load, routing = ExpertLoad(), Routing(torch.ones(4, 32, dtype=torch.bool))
        with torch.no_grad():
            model.hidden(tokens, routing=routing)
        load.add(routing)
        load.move_biases(model, 0.005)
        loads.append(load.row()["expert_load"])
    assert loads[0] > 1.3
    assert loads[-1] < 1.12

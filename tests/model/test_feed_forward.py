"""Experts beside transformers' Mixtral, brute force, and the dense model that they must be if there is one."""

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from puna.base.errors import ConfigError
from puna.model import Llama, LlamaConfig, Routing, SlotCache, save_model
from puna.model.convert.huggingface import huggingface_name
from puna.model.feed_forward import Experts, FeedForward
from puna.model.upcycling import upcycled

CONFIG = LlamaConfig(
    dim=24, layers=2, heads=4, kv_heads=2, ffn_dim=40, vocab_size=67, num_experts=4, experts_per_token=2
)
BIASED = dataclasses.replace(CONFIG, router_bias=True)


def tokens_of(*shape: int) -> Tensor:
    return torch.randint(CONFIG.vocab_size, shape, generator=torch.Generator().manual_seed(1))


def model_of(config: LlamaConfig = CONFIG) -> Llama:
    model = Llama(config)
    model.initialise(4, std=0.3)
    return model


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def written_out(experts: Experts, x: Tensor) -> Tensor:
    """Token by token: softmax over the logits of the chosen alone, times what they say."""
    out = torch.zeros_like(x)
    bias = torch.zeros(len(experts.experts)) if experts.router_bias is None else experts.router_bias
    for i, token in enumerate(x):
        logits = experts.router(token)
        ranking = (logits.softmax(0) + bias).sort(descending=True).indices[: experts.experts_per_token]
        for weight, number in zip(logits[ranking].softmax(0), ranking):
            out[i] += weight * experts.experts[number](token)
    return out


@pytest.mark.parametrize("config", [CONFIG, BIASED, dataclasses.replace(CONFIG, experts_per_token=3)])
@torch.no_grad()
def test_experts_are_the_weighted_sum_of_the_chosen(config: LlamaConfig) -> None:
    experts = model_of(config).layers[0].feed_forward
    if experts.router_bias is not None:
        experts.router_bias.copy_(torch.tensor([0.5, -0.5, 0.0, 0.1]))
    x = torch.randn(30, config.dim, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(experts(x[None])[0], written_out(experts, x), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_the_bias_moves_the_choice_and_not_the_weights() -> None:
    experts = model_of(BIASED).layers[0].feed_forward
    x = torch.randn(50, CONFIG.dim, generator=torch.Generator().manual_seed(2))
    experts.router_bias.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0]))
    probabilities, weights, chosen = experts.route(x)
    assert (chosen == 0).any(1).all()
    picked = probabilities.gather(1, chosen)
    torch.testing.assert_close(weights, picked / picked.sum(1, keepdim=True))


def test_one_expert_is_the_dense_model() -> None:
    dense = dataclasses.replace(CONFIG, num_experts=1, experts_per_token=1)
    assert type(Llama(dense).layers[0].feed_forward) is FeedForward
    assert {name for name, _ in Llama(dense).named_parameters() if "layers.0.feed" in name} == {
        "layers.0.feed_forward_norm.weight",
        *(f"layers.0.feed_forward.{part}.weight" for part in ("gate", "up", "down")),
    }
    assert LlamaConfig(**{k: v for k, v in dense.to_dict().items() if "expert" not in k}) == dense


def test_dense_weights_are_drawn_as_before_there_were_experts() -> None:
    """Figures of version 0.1 without experts; the sum goes by place, so that a draw in another order shows."""
    config = LlamaConfig(dim=32, layers=2, heads=4, kv_heads=2, ffn_dim=48, vocab_size=97, rope_theta=10_000.0)
    model = Llama(config, seed=3)
    weights = torch.cat([parameter.detach().double().flatten() for parameter in model.parameters()])
    assert (weights * torch.arange(len(weights))).sum().item() == pytest.approx(1729382.01617817, rel=1e-12)
    down = torch.tensor([0.011599097400903702, 0.0038150297477841377, 0.002925454406067729])
    assert torch.equal(model.layers[1].feed_forward.down.weight[0, :3].detach(), down)


@pytest.mark.parametrize("tied", [False, True])
def test_logits_and_gradients_are_mixtrals(tmp_path: Path, tied: bool) -> None:
    ours = model_of(dataclasses.replace(CONFIG, tied=tied))
    save_model(ours, None, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs) is transformers.MixtralForCausalLM
    tokens = tokens_of(3, 21)
    logits, expected = ours(tokens), theirs(tokens).logits
    assert relative(logits, expected) <= 1e-5
    for out in (logits, expected):
        F.cross_entropy(out[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    found = {huggingface_name(name): p.grad for name, p in ours.named_parameters()}
    for layer in range(CONFIG.layers):  # transformers 5 keeps the experts of a layer in two tensors
        part = f"model.layers.{layer}.block_sparse_moe"
        each = [{w: found.pop(f"{part}.experts.{e}.{w}.weight") for w in ("w1", "w2", "w3")} for e in range(4)]
        mlp = f"model.layers.{layer}.mlp"
        found[f"{mlp}.experts.gate_up_proj"] = torch.stack([torch.cat([one["w1"], one["w3"]]) for one in each])
        found[f"{mlp}.experts.down_proj"] = torch.stack([one["w2"] for one in each])
        found[f"{mlp}.gate.weight"] = found.pop(f"{part}.gate.weight")
    reference = {name: p.grad for name, p in theirs.named_parameters()}
    assert set(found) == set(reference)
    for name, gradient in found.items():
        assert relative(gradient, reference[name]) <= 1e-4, name


def test_with_a_cache_and_packed_it_is_as_alone() -> None:
    model, tokens = model_of(), tokens_of(1, 17)
    whole = model(tokens)
    cache = SlotCache(CONFIG, 1, 17)
    steps = [model(part, cache=cache) for part in tokens.split([5, *[1] * 12], dim=1)]
    assert relative(torch.cat(steps, dim=1), whole) <= 1e-5
    documents = torch.tensor([[0] * 6 + [1] * 11])
    alone = torch.cat([model(part) for part in tokens.split([6, 11], dim=1)], dim=1)
    assert relative(model(tokens, documents=documents), alone) <= 1e-5


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.3])
@torch.no_grad()
def test_an_expert_takes_no_more_than_its_capacity(factor: float) -> None:
    """Beside a queue written out: first choices of all tokens, then second ones; padding takes no room."""
    experts = model_of().layers[0].feed_forward
    x = torch.randn(2, 20, CONFIG.dim, generator=torch.Generator().manual_seed(3)) + 0.5  # uneven
    counted = torch.ones(2, 20, dtype=torch.bool)
    counted[0, 15:] = False
    routing = Routing(counted, factor)
    out = experts(x, routing).flatten(0, 1)
    _, weights, chosen = experts.route(x.flatten(0, 1))
    room, expected, dropped = [-(-factor * 35 * 2 // 4)] * 4, torch.zeros_like(out), 0
    for choice in range(2):
        for token in range(40):
            number = int(chosen[token, choice])
            if not counted.flatten()[token]:
                continue
            if factor and room[number] == 0:
                dropped += 1
                continue
            room[number] -= 1
            expected[token] += weights[token, choice] * experts.experts[number](x.flatten(0, 1)[token])
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=1e-5)
    assert routing.layers[0].num_dropped == dropped
    assert dropped > 0 or factor in (0.0, 1.3)
    assert routing.layers[0].chosen.shape == (35, 2)


def test_every_layer_reports_to_the_pass_that_asked() -> None:
    model, tokens = model_of(), tokens_of(2, 9)
    routing = Routing(torch.ones(2, 9, dtype=torch.bool))
    assert torch.equal(model.hidden(tokens, routing=routing), model.hidden(tokens))
    assert [tuple(routed.probabilities.shape) for routed in routing.layers] == [(18, 4), (18, 4)]
    assert not torch.equal(routing.layers[0].chosen, routing.layers[1].chosen)
    sum(routed.probabilities[:, 0].sum() for routed in routing.layers).backward()
    assert all(layer.feed_forward.router.weight.grad.norm() > 0 for layer in model.layers)


def test_an_expert_without_tokens_has_a_gradient_of_zero() -> None:
    model = model_of(BIASED)
    with torch.no_grad():
        for layer in model.layers:
            layer.feed_forward.router_bias.copy_(torch.tensor([5.0, 5.0, 0.0, 0.0]))
    model(tokens_of(1, 8)).sum().backward()
    experts = model.layers[1].feed_forward.experts
    assert experts[0].up.weight.grad.norm() > 0
    assert torch.equal(experts[2].up.weight.grad, torch.zeros_like(experts[2].up.weight))


def test_parameters_are_counted_and_so_are_those_that_a_token_uses() -> None:
    mixtral = LlamaConfig(
        dim=4096, layers=32, heads=32, kv_heads=8, ffn_dim=14336, vocab_size=32_000, tied=False,
        num_experts=8, experts_per_token=2,
    )  # fmt: skip
    assert mixtral.num_parameters() == 46_702_792_704  # as published: 46.7B and 12.9B
    assert mixtral.num_active_parameters() == 12_879_925_248
    for config in (CONFIG, BIASED):
        assert sum(parameter.numel() for parameter in Llama(config).parameters()) == config.num_parameters()
    dense = dataclasses.replace(CONFIG, num_experts=1, experts_per_token=1)
    assert dense.num_active_parameters() == dense.num_parameters()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experts_per_token": 5}, "experts_per_token: expected 1 to num_experts = 4, came 5"),
        ({"num_experts": 0}, "num_experts: expected at least 1, came 0"),
        ({"num_experts": 1, "experts_per_token": 1, "router_bias": True}, "a dense layer has no router"),
    ],
)
def test_numbers_of_experts_that_do_not_fit_are_refused(change, message) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **change)


@pytest.mark.parametrize("per_token", [1, 2, 4])
def test_an_upcycled_model_says_what_the_dense_one_says(per_token: int) -> None:
    dense = model_of(dataclasses.replace(CONFIG, num_experts=1, experts_per_token=1))
    model = upcycled(dense, num_experts=4, experts_per_token=per_token, seed=3)
    tokens = tokens_of(2, 15)
    assert relative(model(tokens), dense(tokens)) <= 1e-6
    routers = [layer.feed_forward.router.weight for layer in model.layers]
    assert all(router.std().item() == pytest.approx(0.02, rel=0.3) for router in routers)
    assert not torch.equal(*routers)
    with pytest.raises(ConfigError, match="expected a dense model to copy experts from, came one of 4"):
        upcycled(model, 2, 1, seed=0)

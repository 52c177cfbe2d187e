from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from puna.model import Llama, LlamaConfig
from puna.model.config import LLAMA31_ROPE_SCALING

CONFIG = LlamaConfig(dim=32, layers=3, heads=4, kv_heads=2, ffn_dim=48, vocab_size=97, rope_theta=10_000.0)


@pytest.fixture
def model():
    model = Llama(CONFIG, seed=3)
    model.initialise(3, std=0.2)  # large enough that attention is far from uniform
    return model


def tokens_of(*shape, seed=0):
    return torch.randint(0, CONFIG.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def test_packed_documents_are_as_if_alone(model):
    lengths = [7, 1, 12, 5]
    tokens = tokens_of(2, sum(lengths))
    documents = torch.repeat_interleave(torch.tensor([4, 2, 9, 0]), torch.tensor(lengths)).expand(2, -1)
    packed = model(tokens, documents=documents)
    alone = torch.cat([model(part) for part in tokens.split(lengths, dim=1)], dim=1)
    assert relative(packed, alone) < 1e-5
    assert relative(model(tokens), alone) > 1e-2  # without the mask it is something else


def test_packed_gradients_are_as_if_alone(model):
    lengths = [6, 10]
    tokens = tokens_of(1, sum(lengths))
    documents = torch.tensor([[0] * 6 + [1] * 10])
    gradients = []
    for logits in (
        model(tokens, documents=documents),
        torch.cat([model(part) for part in tokens.split(lengths, dim=1)], dim=1),
    ):
        model.zero_grad()
        F.cross_entropy(logits[0], tokens[0]).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert relative(*gradients) < 1e-4


def test_a_later_token_changes_nothing_before_it(model):
    tokens = tokens_of(1, 10)
    changed = tokens.clone()
    changed[0, 6] = (changed[0, 6] + 1) % CONFIG.vocab_size
    before, after = model(tokens), model(changed)
    assert torch.equal(before[0, :6], after[0, :6])
    assert (before[0, 6:] - after[0, 6:]).abs().amax(-1).min() > 1e-4


def test_only_distances_between_positions_matter(model):
    tokens = tokens_of(2, 11)
    shifted = model(tokens, positions=torch.arange(11).expand(2, -1) + 500)
    assert relative(shifted, model(tokens)) < 1e-4
    stretched = model(tokens, positions=torch.arange(11).expand(2, -1) * 3)
    assert relative(stretched, model(tokens)) > 1e-3


def test_hidden_and_output_weight_make_the_logits(model):
    tokens = tokens_of(2, 5)
    assert torch.equal(model.hidden(tokens) @ model.output_weight.T, model(tokens))
    untied = Llama(LlamaConfig(**{**CONFIG.to_dict(), "tied": False}))
    assert untied.output_weight is untied.output.weight
    assert untied.output_weight.shape == (97, 32)


def test_a_seed_names_the_weights_whatever_was_drawn_before():
    first = Llama(CONFIG, seed=7).state_dict()
    torch.rand(13)
    second = Llama(CONFIG, seed=7).state_dict()
    other = Llama(CONFIG, seed=8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_initial_weights_have_the_documented_spread():
    config = LlamaConfig(dim=128, layers=8, heads=4, kv_heads=4, ffn_dim=256, vocab_size=512)
    model = Llama(config, seed=1)
    layer = model.layers[2]
    for weight, std in [
        (model.embedding.weight, 0.02),
        (layer.attention.q.weight, 0.02),
        (layer.feed_forward.up.weight, 0.02),
        (layer.attention.o.weight, 0.02 / 4),
        (layer.feed_forward.down.weight, 0.02 / 4),
    ]:
        assert weight.std().item() == pytest.approx(std, rel=0.03)
    assert torch.equal(model.norm.weight, torch.ones(128))


def test_frequencies_stay_exact_when_the_model_is_cast():
    model = Llama(CONFIG).to(torch.bfloat16)
    assert model.frequencies.dtype == torch.float32
    assert model(tokens_of(1, 4)).dtype == torch.bfloat16


def test_another_rope_makes_the_model_that_was_made_with_it(model):
    scaling = {**LLAMA31_ROPE_SCALING, "original_max_position_embeddings": 16}
    other = Llama(replace(CONFIG, rope_theta=2e4, rope_scaling=scaling, max_position=64))
    other.load_state_dict(model.state_dict())
    tokens = tokens_of(1, 50)
    before = model(tokens)
    model.set_rope(2e4, scaling, 64)
    assert torch.equal(model(tokens), other(tokens)) and model.config == other.config
    assert relative(before, other(tokens)) > 1e-3

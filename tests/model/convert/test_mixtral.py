"""Folders of models with experts: transformers reads ours, we read theirs, and what Mixtral lacks is refused."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import transformers

from puna.base.errors import ArtifactError
from puna.model import Llama, LlamaConfig, load_model, save_model
from puna.model.convert.huggingface import load_score

CONFIG = LlamaConfig(
    dim=24, layers=2, heads=4, kv_heads=2, ffn_dim=40, vocab_size=67, num_experts=3, experts_per_token=2
)
SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
TOKENS = torch.randint(67, (2, 50), generator=torch.Generator().manual_seed(1))


def model_of(config: LlamaConfig = CONFIG) -> Llama:
    model = Llama(config)
    model.initialise(4, std=0.3)
    return model


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("scaling", [None, SCALING])
@torch.no_grad()
def test_our_folder_is_a_mixtral_and_is_read_back_to_the_bit(tmp_path: Path, scaling: dict | None) -> None:
    model = model_of(dataclasses.replace(CONFIG, rope_scaling=scaling))
    save_model(model, None, tmp_path, shard_bytes=20_000)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "mixtral"
    again = load_model(tmp_path)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert theirs.num_parameters() == model.config.num_parameters()
    assert relative(model(TOKENS), theirs(TOKENS).logits) <= 1e-5


@torch.no_grad()
def test_we_load_what_transformers_saves(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.MixtralForCausalLM(
        transformers.MixtralConfig(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=67,
            num_local_experts=3,
            num_experts_per_tok=2,
            initializer_range=0.3,
            rope_parameters={"rope_type": "default", "rope_theta": 30_000.0},
        )
    )
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert (ours.config.num_experts, ours.config.experts_per_token, ours.config.tied) == (3, 2, False)
    assert relative(ours(TOKENS), theirs(TOKENS).logits) <= 1e-5


def test_a_router_with_a_bias_is_read_back_by_us_and_refused_by_others(tmp_path: Path) -> None:
    model = model_of(dataclasses.replace(CONFIG, router_bias=True))
    with torch.no_grad():
        model.layers[1].feed_forward.router_bias.copy_(torch.tensor([0.5, -0.25, 0.0]))
    save_model(model, None, tmp_path)
    again = load_model(tmp_path)
    assert torch.equal(again(TOKENS), model(TOKENS))
    assert not again.layers[1].feed_forward.router_bias.requires_grad
    assert again.layers[1].feed_forward.router.weight.requires_grad
    with pytest.raises(ValueError, match="mixtral-router-bias"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_a_reward_model_with_experts_is_one_of_mixtrals(tmp_path: Path) -> None:
    save_model(model_of(), None, tmp_path, score=torch.arange(24.0))
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["architectures"] == ["MixtralForSequenceClassification"]
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(theirs) is transformers.MixtralForSequenceClassification
    assert torch.equal(theirs.score.weight[0], load_score(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sliding_window": 4096}, "expected no sliding_window, came 4096"),
        ({"num_experts_per_tok": 9}, "experts_per_token: expected 1 to num_experts = 3, came 9"),
        ({"num_local_experts": 4}, r"expected tensor .*experts\.3\.w1\.weight and 5 more|of shape \[4, 24\]"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, change: dict, message: str) -> None:
    save_model(model_of(), None, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(ArtifactError, match=message) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_number_is_named(tmp_path: Path) -> None:
    save_model(model_of(), None, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["num_local_experts"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match="expected num_local_experts, found none"):
        load_model(tmp_path)

"""A byte tokenizer, small models with opinions, and their folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from puna.model import Llama, LlamaConfig, save_model
from puna.model.convert.huggingface import SCORE, huggingface_name
from puna.posttrain.responses import Responses, answer_logprobs
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from puna.tokenizer.dialog import encode_dialog

JOINED = (b"th", b"the", b" a", b"an", b"\n\n")
GOLDEN = Path(__file__).parent / "golden" / "trl.json"


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {word: 256 + i for i, word in enumerate(JOINED)}
    return Tokenizer(ranks, special_ids(len(ranks), 16), split_pattern())


@pytest.fixture(scope="session")
def make_model(tokenizer: Tokenizer) -> Callable[..., Llama]:
    """make_model(seed, scale=6) -> a model of two layers; as drawn (scale 1) the logits are nearly flat."""

    def make(seed: int = 1, scale: float = 6.0) -> Llama:
        shape = LlamaConfig(
            dim=32, layers=2, heads=4, kv_heads=2, ffn_dim=64, vocab_size=tokenizer.vocab_size, max_position=96
        )
        model = Llama(shape, seed=seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter *= scale
        return model

    return make


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, make_model: Callable[..., Llama]) -> Path:
    """The folder of make_model(1)."""
    path = tmp_path_factory.mktemp("model")
    save_model(make_model(1), tokenizer, path)
    return path


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Numbers that TRL gave (its version and the script are in the file)."""
    if not GOLDEN.is_file():
        pytest.skip(f"TRL's numbers are not at {GOLDEN.relative_to(GOLDEN.parents[3])}")
    return json.loads(GOLDEN.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, make_model: Callable[..., Llama]) -> Path:
    """The folder of a model that answers any question with one digit, each about as often, and ends."""
    model = make_model(2, scale=2.0)
    prompts = [encode_dialog(tokenizer, asked(i), generation_prompt=True)[0] for i in range(4) for _ in range(10)]
    answers = [[*tokenizer.encode(str(i % 10)), tokenizer.eot_id] for i in range(40)]
    batch = Responses.of(prompts, answers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        (-answer_logprobs(model, batch).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    path = tmp_path_factory.mktemp("digits")
    save_model(model, tokenizer, path)
    return path


def asked(number: int) -> list[dict[str, str]]:
    """A question, as messages."""
    return [{"role": "user", "content": f"What is the {'than'[number % 4]} of {number}?"}]


def prompt_rows(num: int, answer: str = "7") -> list[dict[str, Any]]:
    """Rows of prompts with a known answer, always the same."""
    return [{"id": f"q{i}", "messages": asked(i), "task": "t", "kind": "number", "answer": answer} for i in range(num)]


def golden_tensors(shapes: dict[str, torch.Size], seed: int) -> dict[str, torch.Tensor]:
    """The weights that TRL was given, by their Hugging Face names: `about.weights` of the golden file says how."""
    rng = np.random.Generator(np.random.Philox(seed))
    drawn = {name: 0.3 * rng.standard_normal(shapes[name]) + name.endswith("norm.weight") for name in sorted(shapes)}
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in drawn.items()}


def golden_model(config: dict[str, Any], seed: int, head: bool = False) -> tuple[Llama, torch.Tensor | None]:
    """The tiny Llama that TRL was given, and its score head [D]."""
    model = Llama(
        LlamaConfig(
            dim=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            ffn_dim=config["intermediate_size"],
            vocab_size=config["vocab_size"],
            rope_theta=config["rope_parameters"]["rope_theta"],
            norm_eps=config["rms_norm_eps"],
            tied=config["tie_word_embeddings"],
            max_position=128,
        )
    )
    shapes = {huggingface_name(name): parameter.shape for name, parameter in model.named_parameters()}
    score = {SCORE: torch.Size([1, config["hidden_size"]])} if head else {}
    tensors = golden_tensors({**shapes, **score}, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[huggingface_name(name)])
    return model, tensors[SCORE][0] if head else None


def check_gradients(parameters: dict[str, torch.nn.Parameter], outputs: dict[str, Any]) -> None:
    """Norms and first values of all gradients, by Hugging Face names, as TRL had them: 1e-4 relative."""
    assert set(parameters) == set(outputs["grad_norms"])
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert float(parameter.grad.norm()) == pytest.approx(outputs["grad_norms"][name], rel=1e-4), name
        head = outputs["grad_heads"][name]
        np.testing.assert_allclose(
            parameter.grad.flatten()[: len(head)], head, rtol=1e-4, atol=1e-4 * outputs["grad_norms"][name]
        )

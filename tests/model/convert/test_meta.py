import json

import pytest
import torch
import torch.nn.functional as F

from puna.base.errors import ArtifactError, ConfigError
from puna.model import PRESETS, load_model
from puna.model.config import LLAMA32_ROPE_SCALING
from puna.model.convert.layout import open_checkpoint
from puna.model.convert.meta import ffn_dim, solve_ffn
from puna.tokenizer import Tokenizer
from tests.model.convert.example import SCALING, converted, folder, model, relative, same_files, tokenizer, tokens


def meta(tmp_path, **options):
    """A Meta folder of the example, and the dictionaries of its parts."""
    shards = options.pop("num_shards", None)
    converted(folder(tmp_path / "hf", **options), tmp_path / "meta", "meta", num_shards=shards)
    files = sorted((tmp_path / "meta").glob("consolidated.*.pth"))
    return tmp_path / "meta", [torch.load(file, weights_only=True) for file in files]


def meta_forward(ids, weights, params):
    """Logits [T, V] as Meta defines the model: neighbouring channels are a complex number that RoPE multiplies."""
    heads, kv_heads, num = params["n_heads"], params["n_kv_heads"], len(ids)
    width = params["dim"] // heads
    angles = torch.outer(torch.arange(num), params["rope_theta"] ** -(torch.arange(0, width, 2) / width))
    turn = torch.polar(torch.ones_like(angles), angles)[:, None]

    def norm(x, name):
        return x * torch.rsqrt((x**2).mean(-1, keepdim=True) + params["norm_eps"]) * weights[name]

    def turned(x):
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turn).flatten(-2)

    x = weights["tok_embeddings.weight"][ids]
    future = torch.full((num, num), float("-inf")).triu(1)
    for at in (f"layers.{number}." for number in range(params["n_layers"])):
        y = norm(x, at + "attention_norm.weight")
        q, k, v = ((y @ weights[f"{at}attention.w{one}.weight"].T).unflatten(-1, (-1, width)) for one in "qkv")
        k, v = turned(k).repeat_interleave(heads // kv_heads, 1), v.repeat_interleave(heads // kv_heads, 1)
        share = (torch.einsum("thc,shc->hts", turned(q), k) / width**0.5 + future).softmax(-1)
        x = x + torch.einsum("hts,shc->thc", share, v).flatten(-2) @ weights[at + "attention.wo.weight"].T
        y = norm(x, at + "ffn_norm.weight")
        w1, w2, w3 = (weights[f"{at}feed_forward.w{number}.weight"].T for number in (1, 2, 3))
        x = x + (F.silu(y @ w1) * (y @ w3)) @ w2
    return norm(x, "norm.weight") @ weights["output.weight"].T


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_metas_own_mathematics_give_the_same_logits(tmp_path, tied):
    path, (weights,) = meta(tmp_path, tied=tied, rope_theta=10_000.0)
    params = json.loads((path / "params.json").read_text())
    ids = tokens(1, 60)
    ours = model(tied=tied, rope_theta=10_000.0)(ids)[0]
    assert relative(meta_forward(ids[0], weights, params), ours) <= 1e-5


@pytest.mark.parametrize("num_shards", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [{}, {"tied": True, "rope_scaling": dict(LLAMA32_ROPE_SCALING)}])
def test_there_and_back_again_is_the_same_to_the_last_byte(tmp_path, num_shards, dtype, sizes):
    path, parts = meta(tmp_path, num_shards=num_shards, dtype=dtype, **sizes)
    assert len(parts) == (num_shards or 1) and parts[0]["output.weight"].dtype == dtype
    converted(path, tmp_path / "back", "hf")
    same_files(tmp_path / "hf", tmp_path / "back")


def test_parts_are_cut_as_tensor_parallel_ranks_hold_them(tmp_path):
    _, parts = meta(tmp_path, num_shards=2)
    converted(tmp_path / "hf", tmp_path / "whole", "meta")
    whole = torch.load(tmp_path / "whole/consolidated.00.pth", weights_only=True)
    by_columns = ("attention.wo.weight", "feed_forward.w2.weight")
    for name, tensor in whole.items():
        pieces = [part[name] for part in parts]
        if tensor.dim() == 1:
            assert torch.equal(pieces[0], tensor) and torch.equal(pieces[1], tensor)
        else:
            assert torch.equal(torch.cat(pieces, dim=1 if name.endswith(by_columns) else 0), tensor)
            assert pieces[0].shape == pieces[1].shape != tensor.shape


@torch.no_grad()
def test_parts_of_llama_2_have_the_embedding_cut_by_columns(tmp_path):
    path, parts = meta(tmp_path, num_shards=2)
    embedding = torch.cat([part["tok_embeddings.weight"] for part in parts])
    for number, (part, piece) in enumerate(zip(parts, embedding.chunk(2, dim=1), strict=True)):
        part |= {"tok_embeddings.weight": piece.clone(), "rope.freqs": torch.ones(8)}
        torch.save(part, path / f"consolidated.{number:02d}.pth")
    params = json.loads((path / "params.json").read_text())
    (path / "params.json").write_text(json.dumps(params | {"vocab_size": -1}))
    assert torch.equal(load_model(path)(tokens(1, 9)), model()(tokens(1, 9)))


@pytest.mark.parametrize("output", ["absent", "equal", "other"])
def test_a_model_is_tied_if_its_output_matrix_is_absent_or_the_embedding(tmp_path, output):
    path, (weights,) = meta(tmp_path, tied=True)
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    if output == "absent":
        del weights["output.weight"]
    elif output == "other":
        weights["output.weight"][-1, -1] += 1
    torch.save(weights, path / "consolidated.00.pth")
    (path / "puna.json").unlink()
    assert open_checkpoint(path).config.tied == (output != "other")


def test_a_folder_without_our_file_has_the_published_choices(tmp_path):
    path, _ = meta(tmp_path, rope_scaling=SCALING)
    (path / "puna.json").unlink()
    config = open_checkpoint(path).config
    assert (config.max_position, config.rope_scaling) == (131_072, SCALING)


@torch.no_grad()
def test_load_model_and_the_tokenizer_take_a_meta_folder(tmp_path):
    path, _ = meta(tmp_path)
    assert torch.equal(load_model(path)(tokens(2, 30)), model()(tokens(2, 30)))
    assert Tokenizer.load(path).fingerprint == tokenizer().fingerprint
    (path / "tokenizer.json").unlink()  # as Meta's own folders are
    assert Tokenizer.load(path).encode("abcab") == [257, 256]


@pytest.mark.parametrize("name", ["nano", "1B", "3B", "8B", "70B", "405B"])
def test_the_formula_gives_each_width_exactly(name):
    config = PRESETS[name]
    assert ffn_dim(config.dim, *solve_ffn(config.dim, config.ffn_dim)) == config.ffn_dim


def test_metas_published_parameters_give_the_published_widths():
    # dim, ffn_dim_multiplier and multiple_of of params.json; width of Hugging Face's config.json
    for dim, multiplier, multiple_of, width in (
        (4096, None, 256, 11008),  # Llama 2 7B
        (4096, 1.3, 1024, 14336),
        (8192, 1.3, 4096, 28672),
        (2048, 1.5, 256, 8192),
        (3072, 1.0, 256, 8192),
    ):
        assert ffn_dim(dim, multiplier, multiple_of) == width


@pytest.mark.parametrize(("dim", "step"), [(2, 1), (96, 7), (4096, 997), (16384, 4999)])
def test_any_width_can_be_said(dim, step):
    for width in range(1, 400 * step, step):
        assert ffn_dim(dim, *solve_ffn(dim, width)) == width


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ({"head_dim": 32}, {}, ArtifactError, "head_dim = dim / heads, which Meta's params.json implies, came 32"),
        ({"rope_scaling": {**SCALING, "factor": 3.0}}, {}, ArtifactError, "Llama 3.1's or 3.2's RoPE scaling"),
        ({}, {"num_shards": 4}, ConfigError, "--shards: expected a divisor of kv_heads = 2, came 4"),
    ],
)
def test_what_meta_has_no_words_for_is_refused(tmp_path, sizes, options, error, message):
    with pytest.raises(error, match=message):
        converted(folder(tmp_path / "hf", **sizes), tmp_path / "meta", "meta", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: [part.pop("norm.weight") for part in parts], "expected tensor norm.weight, found none"),
        (lambda parts: parts[1].pop("norm.weight"), "same tensors in every part, came norm.weight in some only"),
        (lambda parts: [p.update({"layers.0.bias": torch.ones(1)}) for p in parts], "came layers.0.bias as well"),
        (
            lambda parts: parts[1].update({"output.weight": torch.ones(3, 64)}),
            r"expected output.weight of shape \[272, 64\] by params.json, came \[136, 64\]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_in_one_line(tmp_path, change, message):
    path, parts = meta(tmp_path, num_shards=2)
    change(parts)
    for number, part in enumerate(parts):
        torch.save(part, path / f"consolidated.{number:02d}.pth")
    with pytest.raises(ArtifactError, match=message) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_missing_parts_and_entries_are_named(tmp_path):
    path, _ = meta(tmp_path, num_shards=2)
    params = json.loads((path / "params.json").read_text())
    (path / "params.json").write_text(json.dumps({key: params[key] for key in params if key != "n_heads"}))
    with pytest.raises(ArtifactError, match="params.json: expected n_heads, found none"):
        open_checkpoint(path)
    (path / "consolidated.00.pth").unlink()
    with pytest.raises(ArtifactError, match="expected weights at .*consolidated.00.pth, found none"):
        open_checkpoint(path)

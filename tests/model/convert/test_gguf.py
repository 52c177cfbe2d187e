import contextlib
import json

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf.vocab import bytes_to_unicode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from puna.base.errors import ArtifactError, InputError
from puna.model import load_model
from puna.model.convert.layout import open_checkpoint
from puna.tokenizer import Tokenizer
from puna.tokenizer.template import chat_template
from tests.model.convert.example import (
    SCALING,
    converted,
    folder,
    model,
    relative,
    same_files,
    tokenizer,
    tokenizer_of,
    tokens,
)


def made(tmp_path, name="a.gguf", quantize=None, dtype=None, **options):
    if not (tmp_path / "hf").exists():
        folder(tmp_path / "hf", **options)
    report = converted(tmp_path / "hf", tmp_path / name, "gguf", quantize=quantize, dtype=dtype)
    return tmp_path / name, report


def fields(reader):
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def reference(path):
    """The file as transformers reads it. (`from_pretrained(gguf_file=...)` is this behind a demand for accelerate.)"""
    values = load_gguf_checkpoint(path)["config"]
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**values))
    tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=theirs)["tensors"]
    missing, unexpected = theirs.load_state_dict(tensors, strict=False)
    assert not unexpected and missing == ["lm_head.weight"] * theirs.config.tie_word_embeddings
    return theirs.eval()


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_transformers_loads_the_file_and_computes_the_same_logits(tmp_path, tied):
    path, _ = made(tmp_path, tied=tied)
    assert relative(reference(path)(tokens(2, 60)).logits, model(tied=tied)(tokens(2, 60))) <= 1e-5


@pytest.mark.parametrize(("quantize", "least", "most"), [("q8_0", 1e-4, 0.03), ("q4_0", 0.03, 0.6)])
@torch.no_grad()
def test_transformers_and_we_dequantise_alike(tmp_path, quantize, least, most):
    path, _ = made(tmp_path, quantize=quantize)
    theirs = reference(path)(tokens(1, 60)).logits
    converted(path, tmp_path / "back", "hf")
    assert relative(load_model(tmp_path / "back")(tokens(1, 60)), theirs) <= 1e-5
    assert least < relative(theirs, model()(tokens(1, 60))) < most


def test_the_gguf_package_reads_the_metadata(tmp_path):
    path, _ = made(tmp_path, digits=3, max_position=512, norm_eps=1e-6)
    found = fields(gguf.GGUFReader(path))
    tokens_, merges = found.pop("tokenizer.ggml.tokens"), found.pop("tokenizer.ggml.merges")
    kinds, pattern = found.pop("tokenizer.ggml.token_type"), found.pop("puna.tokenizer.pattern")
    fast = json.loads((tmp_path / "hf/tokenizer.json").read_text())
    vocabulary = fast["model"]["vocab"] | {one["content"]: one["id"] for one in fast["added_tokens"]}
    assert tokens_ == sorted(vocabulary, key=vocabulary.get) and len(tokens_) == 272
    assert merges == [" ".join(pair) for pair in fast["model"]["merges"]] == ["a b", "ab c"]
    assert kinds == [1] * 258 + [3] * 14
    assert pattern == fast["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    epsilon = found.pop("llama.attention.layer_norm_rms_epsilon")
    assert np.float32(epsilon) == np.float32(1e-6)
    assert found == {
        "general.architecture": "llama",
        "general.name": "hf",
        "general.file_type": 0,
        "llama.block_count": 2,
        "llama.context_length": 512,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 16,
        "llama.attention.value_length": 16,
        "llama.rope.freq_base": 500_000.0,
        "llama.rope.dimension_count": 16,
        "llama.vocab_size": 272,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.bos_token_id": 258,
        "tokenizer.ggml.eos_token_id": 259,
        "tokenizer.ggml.eot_token_id": 267,
        "tokenizer.ggml.eom_token_id": 266,
        "tokenizer.ggml.padding_token_id": 262,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": chat_template(),
    }


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_the_gguf_package_reads_the_tensors(tmp_path, kind):
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    quantize = None if kind in names else kind.lower()
    path, report = made(tmp_path, quantize=quantize, dtype=names.get(kind))
    reader = gguf.GGUFReader(path)
    found = {tensor.name: tensor for tensor in reader.tensors}
    assert not report.not_quantized and len(found) == report.num_tensors == 21
    assert all(tensor.data_offset % 32 == 0 for tensor in reader.tensors) and path.stat().st_size % 32 == 0
    original = model().state_dict()
    for ours, theirs in (
        ("embedding", "token_embd"),
        ("output", "output"),
        ("layers.1.attention.v", "blk.1.attn_v"),
        ("layers.0.attention.o", "blk.0.attn_output"),
        ("layers.1.feed_forward.down", "blk.1.ffn_down"),
        ("norm", "output_norm"),
    ):
        expected = original[f"{ours}.weight"].to(getattr(torch, names.get(kind, "float32"))).float().numpy()
        tensor = found[f"{theirs}.weight"]
        stored = "F32" if expected.ndim == 1 else kind
        assert tensor.tensor_type.name == stored and list(tensor.shape) == list(expected.shape[::-1])
        assert tensor.data.tobytes() == gguf.quants.quantize(expected, gguf.GGMLQuantizationType[stored]).tobytes()
    q = original["layers.0.attention.q.weight"].numpy()  # head 0, 16 rows: 0, 8, 1, 9, ...
    expected = gguf.quants.quantize(q[[0, 8, 1, 9]], gguf.GGMLQuantizationType[kind])
    assert found["blk.0.attn_q.weight"].data[:4].tobytes() == expected.tobytes()


def test_rows_that_are_no_multiple_of_32_become_float16(tmp_path):
    path, report = made(tmp_path, quantize="int4", ffn_dim=80)
    left = [f"blk.{layer}.ffn_down.weight" for layer in (0, 1)]
    assert report.not_quantized == left
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert [name for name, kind in kinds.items() if kind == "F16"] == left and kinds["output.weight"] == "Q4_0"
    converted(path, tmp_path / "back", "hf")
    assert load_model(tmp_path / "back").config.ffn_dim == 80


def test_scaled_rope_is_a_tensor_of_divisors(tmp_path):
    path, _ = made(tmp_path, rope_scaling=SCALING, head_dim=128, heads=2, kv_heads=1)
    divisors = next(one.data for one in gguf.GGUFReader(path).tensors if one.name == "rope_freqs.weight")
    # Llama 3.1 (its model card's code): waves above 8192 tokens by 8, below 2048 by 1, between them blended.
    expected = []
    for pair in range(64):
        wave = 2 * np.pi * 500_000 ** (pair / 64)
        smooth = (8192 / wave - 1) / 3
        expected.append(8 if wave > 8192 else 1 if wave < 2048 else 1 / ((1 - smooth) / 8 + smooth))
    assert divisors.dtype == np.float32
    np.testing.assert_allclose(divisors, expected, rtol=1e-5)
    assert len({1.0, 8.0} & set(divisors.tolist())) == 2 and len(set(divisors.tolist())) > 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "sizes", [{}, {"tied": True, "rope_scaling": {**SCALING, "factor": 5.0}, "head_dim": 32, "digits": 3}]
)
def test_there_and_back_again_is_the_same_to_the_last_byte(tmp_path, dtype, sizes):
    folder(tmp_path / "hf", dtype, **sizes)
    path, _ = made(tmp_path)
    converted(path, tmp_path / "back", "hf")
    same_files(tmp_path / "hf", tmp_path / "back")


def written_by_the_gguf_package(path, drop=(), **entries):
    """A file as others write it: our entries are not in it."""
    writer = gguf.GGUFWriter(path, "llama")
    one = tokenizer(digits=3)
    spelling = bytes_to_unicode()
    names = ["".join(spelling[byte] for byte in token) for token in one.ranks] + list(one.special)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_rope_dimension_count(16)
    writer.add_tokenizer_model(entries.get("model", "gpt2"))
    writer.add_tokenizer_pre(entries.get("pre", "llama-bpe"))
    writer.add_token_list(names)
    writer.add_token_types([1] * len(one.ranks) + [3] * len(one.special))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(one.eot_id)
    writer.add_chat_template("a template of others")
    for name, tensor in model().state_dict().items():
        parts = name.split(".")
        inner = {"attention": "attn", "attention_norm": "attn_norm", "feed_forward_norm": "ffn_norm"}
        inner |= {"feed_forward": "ffn", "o": "output"}
        theirs = {"embedding": "token_embd", "norm": "output_norm", "output": "output"}.get(parts[0])
        theirs = theirs or f"blk.{parts[1]}." + "_".join(inner.get(part, part) for part in parts[2:-1])
        if parts[-2] in ("q", "k"):
            tensor = tensor.view(-1, 2, 8, 64).transpose(1, 2).reshape(tensor.shape)
        if theirs not in drop:
            writer.add_tensor(f"{theirs}.weight", tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@torch.no_grad()
def test_we_read_what_the_gguf_package_writes(tmp_path):
    path = written_by_the_gguf_package(tmp_path / "theirs.gguf")
    converted(path, tmp_path / "hf", "hf")
    assert load_model(tmp_path / "hf").config == model().config
    assert torch.equal(load_model(tmp_path / "hf")(tokens(1, 30)), model()(tokens(1, 30)))
    assert Tokenizer.load(tmp_path / "hf").fingerprint == tokenizer(digits=3).fingerprint
    described = json.loads((tmp_path / "hf/tokenizer_config.json").read_text())
    assert (described["chat_template"], described["eos_token"]) == ("a template of others", "<|eot_id|>")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"drop": ["blk.1.ffn_up"]}, "expected tensor blk.1.ffn_up.weight, found none"),
        ({"pre": "starcoder"}, "expected tokenizer.ggml.pre llama-bpe .*came 'starcoder'"),
        ({"model": "llama"}, "expected a byte-level BPE .*came 'llama'"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path, entries, message):
    path = written_by_the_gguf_package(tmp_path / "theirs.gguf", **entries)
    with pytest.raises(ArtifactError, match=message) as caught:
        converted(path, tmp_path / "hf", "hf")
    assert "\n" not in str(caught.value) and not (tmp_path / "hf").exists()


def test_other_architectures_and_types_are_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "gemma")
    writer.add_tensor("a", np.ones((1, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArtifactError, match="expected architecture \"llama\" .*came 'gemma'"):
        open_checkpoint(tmp_path / "a.gguf")
    content = bytearray((tmp_path / "a.gguf").read_bytes())
    place = content.index(b"\x01\0\0\0\0\0\0\0a", 24) + 9 + 4 + 16
    content[place] = 14  # Q6_K
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(ArtifactError, match="came a of ggml's type 14; convert from"):
        open_checkpoint(tmp_path / "a.gguf")


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.1, 0.5, 0.99])
def test_a_file_cut_off_is_refused(tmp_path, share):
    path, _ = made(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArtifactError, match="is damaged|found no folder|expected a GGUF file"):
        open_checkpoint(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused(tmp_path, place, byte):
    path = tmp_path / "a.gguf"
    if not path.exists():
        made(tmp_path)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    content[int(place * 9000)] = byte
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        tokenizer_of(open_checkpoint(path))
